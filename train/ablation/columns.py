"""The columns of `results.csv`, whose names no axis can have."""

COLUMNS = (
    "seed",
    "eval_iters",
    "status",
    "mean_iou",
    "pixel_accuracy",
    "images_per_second",
    "parameters",
    "multiply_adds",
    "training_memory",
    "error",
)

CLASS = "iou/"
"""Before the name of a class, the column of its IoU."""

SWEPT = "T_eval"
"""In tables and figures, EM iterations in evaluation where they are varied."""


def is_column(name: str) -> bool:
    """Whether the tables have a column of that name.

    Example:
        >>> is_column("mean_iou"), is_column("iou/sky"), is_column("K")
        (True, True, False)
    """
    return name in (*COLUMNS, SWEPT, "n") or name.startswith(CLASS)
