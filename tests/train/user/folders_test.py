"""Folders that can be written, and those that cannot."""

import importlib.util
import re

import pytest

from train.user.errors import UserError
from train.user.folders import writable_folder


def test_a_folder_is_made_and_left_empty(tmp_path):
    folder = tmp_path / "deep/down"
    assert writable_folder("output", folder) is folder
    assert list(folder.iterdir()) == []


def test_a_file_in_the_way(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    message = f"--output: {file}/below cannot be written (Not a directory); choose"
    with pytest.raises(UserError, match=f"^{re.escape(message)} another$"):
        writable_folder("output", file / "below")
    assert file.read_text() == "mine"


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="has gcsfs")
def test_object_storage_without_its_package():
    with pytest.raises(
        UserError, match=r"^--workdir: gs://bucket/run is object.*pip install gcsfs"
    ):
        writable_folder("workdir", "gs://bucket/run")
