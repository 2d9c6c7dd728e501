"""Suggestions for mistyped names."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str]) -> str:
    """ "did you mean …?" with the closest name, or the list of all.

    Example:
        >>> nearest("folders", ["shapes", "folder"])
        "did you mean 'folder'? There are: folder, shapes"
    """
    choices = sorted(names)
    close = get_close_matches(name, choices, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? There are: " if close else "there are: "
    return guess + ", ".join(choices)
