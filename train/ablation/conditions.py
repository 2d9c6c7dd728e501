"""Under which conditions the numbers of an ablation arose, in one line."""

from collections.abc import Iterable, Mapping
from typing import Any

from train.ablation.grid import Ablation, field_of
from train.ablation.results import Results
from train.ablation.specification import value_of

FIELDS = {
    "data": "data.name",
    "root": "data.root",
    "steps": "num_steps",
    "batch": "batch_size",
    "crop": "data.crop_size",
    "learning rate": "optimizer.learning_rate",
    "start weights": "model.pretrained",
}
MACHINE = ("device", "devices", "cores", "jobs", "jax")


def conditions(ablation: Ablation, results: Results) -> str:
    """The base config, what its trainings share, the overrides, and the machine.

    A field that the runs do not share has all its values, with "/" between.
    """
    configs = [run.config for run in ablation.runs]
    machines: list[Mapping[str, Any]] = [
        result["machine"] for result in results.values() if "machine" in result
    ]
    found = {"base": distinct([ablation.base])}
    for title, field in FIELDS.items():
        found[title] = distinct(value_of(config, field) for config in configs)
    found["overrides"] = " ".join(
        text for text in ablation.overrides if field_of(text) not in FIELDS.values()
    )
    for name in MACHINE:
        found[name] = distinct(machine[name] for machine in machines)
    parts = [f"{title} {text}" for title, text in found.items() if text]
    return f"Conditions: {'; '.join(parts)}."


def distinct(values: Iterable[Any]) -> str:
    """Values as text, each once, those that are None or empty left out.

    Example:
        >>> distinct([(97, 97), (65, 65), (97, 97), None])
        '97×97 / 65×65'
    """
    texts = (
        "×".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for value in values
        if value not in (None, "")
    )
    return " / ".join(dict.fromkeys(texts))
