"""The classes a network tells apart, as its checkpoints keep them."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Classes:
    """Names and colours of the classes.

    Attributes:
        names: one for each class.
        palette: RGB, uint8 (num_classes, 3).
    """

    names: tuple[str, ...]
    palette: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {"names": list(self.names), "palette": self.palette.tolist()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Classes":
        """The inverse of `to_json`."""
        palette = np.array(values["palette"], np.uint8).reshape(-1, 3)
        return cls(tuple(values["names"]), palette)
