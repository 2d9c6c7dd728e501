"""Figures as a person reads them."""

import math


def percent(value: float) -> str:
    """A share in percent; a dash where it is not defined.

    Example:
        >>> percent(0.51234), percent(math.nan)
        ('51.23', '–')
    """
    return f"{100 * value:.2f}" if math.isfinite(value) else "–"


def number(value: float) -> str:
    """A figure of four digits; a dash where it is not defined."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(42.4), duration(184), duration(9000)
        ('42 s', '3 min 4 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def figure_of(value: object, otherwise: float = math.nan) -> float:
    """A figure of a row, where it has it."""
    return float(value) if isinstance(value, int | float) else otherwise


def share_of(value: object) -> float | None:
    found = figure_of(value)
    return min(max(found, 0.0), 1.0) if math.isfinite(found) else None
