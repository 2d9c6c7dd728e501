"""`summary.md`: the means as tables, and under which conditions they arose."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from train.ablation.folder import FINISHED
from train.ablation.grid import CLASS, Ablation, field_of
from train.ablation.results import (
    Findings,
    Key,
    Results,
    Statistic,
    Summary,
    cell,
    compare,
    find,
    sides,
    summarize,
)
from train.configuration.config import flat

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
CONDITIONS = {
    "data": "data.name",
    "root": "data.root",
    "steps": "num_steps",
    "batch": "batch_size",
    "crop": "data.crop_size",
    "learning rate": "optimizer.learning_rate",
    "start weights": "model.pretrained",
}
MACHINE = ("device", "devices", "cores", "jobs", "jax")

Column = tuple[str, dict[Key, str]]
"""Its title, and its text in each line."""


def as_markdown(ablation: Ablation, results: Results) -> str:
    """The means as tables, under which conditions, and what did not end well."""
    found = find(ablation, results)
    finished = sum(result["status"] == FINISHED for result in results.values())
    parts = [
        f"# {ablation.name}",
        f"{len(ablation.runs)} runs, {finished} finished. mIoU and pixel "
        "accuracy of the last step in percent: mean ± sample standard deviation over "
        "n seeds. “against”: the difference of mIoU, seed by seed, mean ± standard "
        "error.",
        conditions(ablation, results),
    ]
    summary = summarize(found, "mean_iou")
    scores = [*_columns(found, SCORES), *_differences(found)]
    costs = [*_columns(found, TRAININGS, swept=False)]
    if ablation.eval_iters:  # a training is one line, however often it is evaluated
        trained = summarize(found, "mean_iou", swept=False)
        parts.append(_table(found.names, scores, summary))
        parts.append(_table(found.axes, costs, trained))
    else:
        parts.append(_table(found.names, [*scores, *costs], summary))
    if len(found.names) == 2:
        parts.append(_cross_table(found.names, summary))
    if found.classes and not ablation.eval_iters:
        parts += ["IoU by class, in percent:", _class_table(found)]
    problems = [
        f"- {run.folder}: {result['status']}: {result['error']}"
        for run in ablation.runs
        if (result := results.get(run.folder)) and result["status"] != FINISHED
    ]
    if problems:
        parts += ["Runs that did not finish:", "\n".join(problems)]
    return "\n\n".join(parts) + "\n"


def conditions(ablation: Ablation, results: Results) -> str:
    """The base config, what its trainings share, the overrides, and the machine.

    A field that the runs do not share has all its values, with "/" between.
    """
    configs = [flat(run.config) for run in ablation.runs]
    machines = [r["machine"] for r in results.values() if "machine" in r]
    found = {"base": ablation.base}
    for title, field in CONDITIONS.items():
        found[title] = distinct(config.get(field) for config in configs)
    found["overrides"] = " ".join(
        text for text in ablation.overrides if field_of(text) not in CONDITIONS.values()
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


def _columns(found: Findings, formats: Formats, swept: bool = True) -> Iterator[Column]:
    """Those that hold a number."""
    for field, (title, text) in formats.items():
        summary = summarize(found, field, swept)
        if any(summary.values()):
            yield title, _texts(summary, text)


def _differences(found: Findings) -> Iterator[Column]:
    """How much mIoU stands above that of the first line, if there are others."""
    first, *others = found.keys
    if others:
        point = [f"{n}={text}" for n, text in zip(found.names, first, strict=True)]
        texts = _texts(compare(found, "mean_iou"), difference)
        yield f"against {', '.join(point)}", texts


def _texts(summary: Summary, text: Callable[[Statistic], str]) -> dict[Key, str]:
    return {key: text(value) if value else "–" for key, value in summary.items()}


def _table(names: Sequence[str], columns: Sequence[Column], counts: Summary) -> str:
    """A line for each of `counts`, which are the last column."""
    lines = [[*names, *(title for title, _ in columns), "n"]]
    for key, count in counts.items():
        texts = [texts[key] for _, texts in columns]
        lines.append([*key, *texts, str(count.n if count else 0)])
    return markdown_table(lines)


def _cross_table(names: Sequence[str], summary: Summary) -> str:
    rows, columns = sides(summary)
    head = [f"mIoU: {names[0]} \\ {names[1]}", *columns]
    body = [[row, *(cell(summary, row, column) for column in columns)] for row in rows]
    return markdown_table([head, *body])


def _class_table(found: Findings) -> str:
    lines = [["class", *map(", ".join, found.keys)]]
    for column in found.classes:
        texts = _texts(summarize(found, column), Statistic.percent)
        lines.append([column.removeprefix(CLASS), *texts.values()])
    return markdown_table(lines)
