"""`summary.md`: the means as tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from train.ablation.folder import value_of
from train.ablation.grid import CLASS, SWEPT, Ablation, field_of
from train.ablation.results import (
    FINISHED,
    Grid,
    Key,
    Results,
    Statistic,
    cells,
    class_columns,
    compare,
    keys,
    summarize,
)

Formats = dict[str, tuple[str, Callable[[Statistic], str]]]
"""Column of the results to its title, and the text of its statistic."""

SCORES: Formats = {
    "mean_iou": ("mIoU", Statistic.percent),
    "pixel_accuracy": ("pixel accuracy", Statistic.percent),
}

TRAININGS: Formats = {
    "images_per_second": ("images/s", lambda value: value.text(1, 1)),
    "parameters": ("parameters", lambda v: f"{v.mean / 1e6:.3f} M"),
    "multiply_adds": ("multiply-adds", lambda v: f"{v.mean / 1e9:.3f} G"),
    "training_memory": ("training memory", lambda v: f"{v.mean / 2**20:.0f} MiB"),
}

Column = tuple[str, dict[Key, str]]
"""Its title, and its text in each line."""

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


def as_markdown(ablation: Ablation, results: Results) -> str:
    """The means as tables, under which conditions, and what did not end well."""
    parts = [
        f"# {ablation.name}",
        f"{len(ablation.runs)} runs, {_finished(results)} finished. mIoU and pixel "
        "accuracy of the last step in percent: mean ± sample standard deviation over "
        "n seeds. “against”: the difference of mIoU, seed by seed, mean ± standard "
        "error.",
        conditions(ablation, results),
    ]
    scores = [
        *_columns(ablation, results, SCORES),
        *_differences(ablation, results),
    ]
    if ablation.eval_iters:  # a training is one line, however often it is evaluated
        parts += [_table(ablation, results, scores), _trainings(ablation, results)]
    else:
        costs = _columns(ablation, results, TRAININGS)
        parts.append(_table(ablation, results, [*scores, *costs]))
    if grid := cells(ablation, summarize(ablation, results, "mean_iou")):
        parts.append(_cross_table(grid))
    if not ablation.eval_iters and (classes := class_columns(results)):
        parts += ["IoU by class, in percent:", _class_table(ablation, results, classes)]
    problems = [
        f"- {run.folder}: {result['status']}: {result['error']}"
        for run in ablation.runs
        if (result := results.get(run.folder)) and result["status"] != FINISHED
    ]
    if problems:
        parts += ["Runs that did not finish:", "\n".join(problems)]
    return "\n\n".join(parts) + "\n"


def _columns(
    ablation: Ablation, results: Results, formats: Formats
) -> Iterator[Column]:
    """Those that hold a number."""
    for field, (title, text) in formats.items():
        values = summarize(ablation, results, field)
        if any(value is not None for value in values.values()):
            yield title, _texts(values, text)


def _differences(ablation: Ablation, results: Results) -> Iterator[Column]:
    """How much mIoU stands above that of the first line, if there are others."""
    (first, iters), *others = keys(ablation)
    if others:
        names = [axis.name for axis in ablation.axes]
        point = [f"{name}={text}" for name, text in zip(names, first, strict=True)]
        swept = [] if iters is None else [f"{SWEPT}={iters}"]
        values = compare(ablation, results, "mean_iou")
        yield f"against {', '.join([*point, *swept])}", _texts(values, difference)


def difference(value: Statistic) -> str:
    """A mean of differences and its standard error, in percent points.

    Example:
        >>> difference(Statistic(0.0123, 0.002, 4)), difference(Statistic(0.0, 0.0, 4))
        ('+1.23 ± 0.10', '0')
    """
    if not value.mean and not value.std:
        return "0"
    error = value.error()
    spread = "" if error is None else f" ± {100 * error:.2f}"
    return f"{100 * value.mean:+.2f}{spread}"


def _texts(
    values: Mapping[Key, Statistic | None], text: Callable[[Statistic], str]
) -> dict[Key, str]:
    return {key: "–" if v is None else text(v) for key, v in values.items()}


def _table(ablation: Ablation, results: Results, columns: Iterable[Column]) -> str:
    """A line for each point, and each number of iterations it was seen at."""
    names = [axis.name for axis in ablation.axes]
    sweep = [SWEPT] if ablation.eval_iters else []
    counts = summarize(ablation, results, "mean_iou")
    shown = list(columns)
    lines = [[*names, *sweep, *(title for title, _ in shown), "n"]]
    for key in keys(ablation):
        labels, iters = key
        count = counts[key]
        lines.append(
            [
                *labels,
                *([str(iters)] if sweep else []),
                *(texts[key] for _, texts in shown),
                str(count.n if count else 0),
            ]
        )
    return markdown_table(lines)


def _trainings(ablation: Ablation, results: Results) -> str:
    """What the evaluations of a training share."""
    first = {
        folder: {**result, "scores": [{**scores, "eval_iters": None}]}
        for folder, result in results.items()
        for scores in result.get("scores", ())[:1]
    }
    ablation = replace(ablation, eval_iters=())
    return _table(ablation, first, _columns(ablation, first, TRAININGS))


def _cross_table(grid: Grid) -> str:
    lines = [[f"mIoU: {grid.names[0]} \\ {grid.names[1]}", *grid.columns]]
    for row in grid.rows:
        lines.append([row, *(grid.text(row, column) for column in grid.columns)])
    return markdown_table(lines)


def _class_table(ablation: Ablation, results: Results, classes: Sequence[str]) -> str:
    lines = [["class", *(", ".join(labels) for labels, _ in keys(ablation))]]
    for column in classes:
        found = summarize(ablation, results, column).values()
        texts = ("–" if value is None else value.percent() for value in found)
        lines.append([column.removeprefix(CLASS), *texts])
    return markdown_table(lines)


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is the head.

    Example:
        >>> print(markdown_table([["a", "b"], ["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


def _finished(results: Results) -> int:
    return sum(result["status"] == FINISHED for result in results.values())


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
