"""The cost of the context modules against the number of pixels, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from train.profile.growth import COSTS, series
from train.profile.table import Row

LABELS = {
    "multiply_adds": ("multiply-adds (G)", 1e9),
    "memory": ("peak memory (MiB)", 2**20),
    "latency_median": ("time (ms)", 1e-3),
}


def save_plot(rows: Sequence[Row], path: Path) -> None:
    """One panel for each measured cost, axes logarithmic, a line for each module."""
    from matplotlib.figure import Figure  # slow, and no other command needs it

    modules = list(dict.fromkeys(row["module"] for row in rows))
    lines = {cost: {m: series(rows, m, cost) for m in modules} for cost in COSTS}
    sides = {row["pixels"]: row["side"] for row in rows}
    measured = [cost for cost in COSTS if any(lines[cost].values())]
    figure = Figure(figsize=(4.2 * len(measured), 4.5), layout="constrained")
    panels = figure.subplots(1, len(measured), squeeze=False)[0]
    for panel, cost in zip(panels, measured, strict=True):
        label, unit = LABELS[cost]
        for index, (module, points) in enumerate(lines[cost].items()):
            panel.plot(
                [pixels for pixels, _ in points],
                [value / unit for _, value in points],
                marker="o",
                color=f"C{index}",
                linewidth=2.5 if index == 0 else 1.2,
                label=module,
            )
        panel.set(xscale="log", yscale="log", xlabel="pixels", ylabel=label)
        panel.set_xticks(list(sides), [f"{side}²" for side in sides.values()])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120, bbox_inches="tight")
