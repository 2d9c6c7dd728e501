"""Modules run as one program each: by operation they would be compiled by operation."""

import flax.linen as nn
import pytest

from tests.quick import whole


@pytest.fixture(scope="module", autouse=True)
def whole_modules():
    """`init` and `apply` of every module are compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("init", "init_with_output", "apply"):
            patch.setattr(nn.Module, name, whole(getattr(nn.Module, name)))
        yield
