"""What the pipelines read from and yield."""

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
