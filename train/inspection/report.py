"""What splits hold, as text: whole for a person who asks, in short for a training."""

from collections.abc import Sequence

import numpy as np

from train.data.statistics import Statistics
from train.inspection.findings import Finding, Split


def in_short(split: Split) -> str:
    """One line.

    Example: "train: 450 images of 720x960, PNG, 8-bit RGB, 4.0% of the pixels
    ignored".
    """
    statistics = split.statistics
    return (
        f"{split.name}: {len(statistics)} images of {_sizes(statistics)}, "
        f"{_kinds(statistics)}, {statistics.ignored:.1%} of the pixels ignored"
    )


def in_full(
    splits: Sequence[Split], names: Sequence[str], found: Sequence[Finding]
) -> str:
    """The splits, the shares and images of each class, and what is suspicious."""
    lines = [in_short(split) for split in splits]
    width = max(len("class"), *map(len, names))
    heading = "".join(f"  {split.name + ' pixels':>14}  images" for split in splits)
    lines += ["", f"{'class':<{width}}{heading}"]
    for c, name in enumerate(names):
        cells = "".join(_cell(split.statistics, c) for split in splits)
        lines.append(f"{name:<{width}}{cells}")
    lines += ["", *map(marked, found)]
    return "\n".join(lines if found else lines[:-1])


def marked(finding: Finding) -> str:
    """A finding as a line."""
    return f"{'suspicious' if finding.stops else 'note'}: {finding.text}"


def _cell(statistics: Statistics, c: int) -> str:
    share = statistics.pixels[c] / max(1, statistics.pixels.sum())
    return f"  {100 * share:>13.3f}%  {statistics.images[c]:>6}"


def _sizes(statistics: Statistics) -> str:
    """Height x width, the smallest and the largest."""
    order = np.argsort(statistics.sizes.prod(1))
    small, large = (f"{h}x{w}" for h, w in statistics.sizes[order[[0, -1]]])
    return small if small == large else f"{small} to {large}"


def _kinds(statistics: Statistics) -> str:
    counts = statistics.kind_counts
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{count} {kind}" for kind, count in counts.items())
