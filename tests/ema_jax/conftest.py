"""Modules run as one program each: by operation they would be compiled by operation."""

import pytest

from tests import quick


@pytest.fixture(scope="module", autouse=True)
def whole_modules():
    """`init` and `apply` of every module are compiled."""
    with quick.whole_modules():
        yield
