"""What the pipelines read from and yield."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from train.user.errors import UserError

Batch = dict[str, np.ndarray]

IGNORE_LABEL = 255
"""Of pixels that count nowhere."""


class DamagedRecordError(UserError):
    """A record that cannot be read or decoded."""


class RandomAccess(Protocol):
    """A length, and an example for every index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True)
class Selection:
    """Some examples of a source, any as often as its index stands there."""

    source: RandomAccess
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.source[self.indices[index]]
