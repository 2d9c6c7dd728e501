"""Modules run as one program each: by operation they would be compiled by operation."""

import pytest

from tests.quick import whole_modules


@pytest.fixture(scope="module", autouse=True)
def modules(request):
    """The same, and each is compiled where it says nothing."""
    with getattr(request.module, "MODULES", whole_modules)():
        yield
