"""The numbers that a request asks for, each in its range."""

import math
from collections.abc import Mapping

from train.user.errors import UserError


class Query:
    """The numbers of a query string.

    Example:
        >>> Query({"x": "7"}).whole("x", 0, 9)
        7
    """

    def __init__(self, given: Mapping[str, str]):
        self._given = given

    def has(self, name: str) -> bool:
        """Whether a number is given."""
        return name in self._given

    def number(
        self, name: str, low: float, high: float, default: float | None = None
    ) -> float:
        """A number in a range; a UserError for any other."""
        text = self._given.get(name)
        if text is None and default is not None:
            return default
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise UserError(f"{name}={text}: give a number from {low} to {high}")
        return value

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in a range; fractions are cut off."""
        return int(self.number(name, low, high, default))
