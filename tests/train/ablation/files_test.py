"""Files that are there as a whole or not at all."""

import pytest

from train.ablation.folder import read_json, replace, write_json, write_text


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": [1, None]})
    assert read_json(path) == {"a": [1, None]}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", "\0\0"])
def test_what_cannot_be_read_is_not_there(tmp_path, text):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    path.write_text(text)
    assert read_json(path) is None


def test_an_interrupted_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "whole")

    def half(partial):
        partial.write_text("ha")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replace(path, half)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
