"""A page by hand."""

import pytest

from tests.train.report.by_hand import ROWS, about, evaluated


@pytest.fixture
def page():
    """Arguments of `render`, and what reads its text."""
    return about(), ROWS, evaluated()
