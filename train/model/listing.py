"""The known weights as a table."""

from collections.abc import Iterable

from ema_jax import MODELS
from train.model.published import PUBLISHED, here

HEADER = ("weights", "licence", "size", "models", "from", "here")
NOTE = """\
--config.model.pretrained=imagenet takes those of the model's backbone, and fetches them
if need be; others are a file, or hf:ORG/REPO/FILE of the Hugging Face hub."""


def list_weights() -> str:
    """What is known, and what of it is on this machine."""
    rows = [HEADER]
    for name, weights in PUBLISHED.items():
        first, *others = _models(name)
        models = f"{first} and {len(others)} more" if others else first
        place = str(here(weights.source) or "no")
        size = f"{weights.megabytes} MB"
        source = str(weights.source)
        rows.append((name, weights.licence, size, models, source, place))
    return f"{_aligned(rows)}\n\n{NOTE}"


def _models(weights: str) -> list[str]:
    """The models whose backbone can start from weights."""
    backbones = {name: make().backbone for name, make in MODELS.items()}
    return [
        name
        for name, backbone in backbones.items()
        if getattr(backbone, "imagenet_weights", None) == weights
    ]


def _aligned(rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
