"""Archives are unpacked whole, or leave nothing."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from train.data import archives
from train.data.archives import Archive, unpack, unpack_found
from train.user.errors import UserError

FILES = {f"set/inner/{i}.bin": np.random.default_rng(i).bytes(3000) for i in range(5)}
KINDS = ["a.tar", "a.tgz", "a.zip"]


def pack(path: Path, files=FILES) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, data in files.items():
                zipped.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def archive(kind, folder="set/inner", **options):
    return Archive(kind, folder, page="https://page", **options)


def refused(root, packed):
    before = (root / packed.file).read_bytes()
    with pytest.raises(UserError) as error:
        unpack(packed, root)
    assert "\n" not in str(error.value)
    assert [path.name for path in root.iterdir()] == [packed.file]
    assert (root / packed.file).read_bytes() == before  # it is the user's
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_is_unpacked(tmp_path, kind):
    pack(tmp_path / kind)
    unpack(archive(kind), tmp_path)
    found = {p.name: p.read_bytes() for p in (tmp_path / "set/inner").iterdir()}
    assert found == {Path(name).name: data for name, data in FILES.items()}
    assert {path.name for path in tmp_path.iterdir()} == {kind, "set"}


@pytest.mark.parametrize("kind", KINDS)
def test_another_folder_than_the_archives(tmp_path, kind):
    pack(tmp_path / kind)
    unpack(archive(kind, "new", member=""), tmp_path)
    assert (tmp_path / "new/set/inner/0.bin").is_file()


def test_siblings_of_an_earlier_archive_stay(tmp_path):
    (tmp_path / "set/other").mkdir(parents=True)
    pack(tmp_path / "a.tar")
    unpack(archive("a.tar"), tmp_path)
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"inner", "other"}


def test_what_is_unpacked_is_left_alone(tmp_path):
    (tmp_path / "set/inner").mkdir(parents=True)
    (tmp_path / "a.tar").write_bytes(b"rubbish")
    unpack_found(tmp_path, [archive("a.tar"), archive("b.tar", "absent")])
    assert list((tmp_path / "set/inner").iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.8])
def test_truncated(tmp_path, kind, share):
    data = pack(tmp_path / kind).read_bytes()
    (tmp_path / kind).write_bytes(data[: int(len(data) * share)])
    message = refused(tmp_path, archive(kind))
    assert message.startswith(f"{tmp_path / kind}: cannot be unpacked (")
    assert message.endswith("it is damaged or truncated, fetch it again")


def test_a_tar_file_that_ends_between_two_members(tmp_path):
    data = pack(tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(data[: 3 * (512 + 3072)])
    assert "no end of archive" in refused(tmp_path, archive("a.tar"))


def test_damaged_in_the_middle(tmp_path):
    data = bytearray(pack(tmp_path / "a.zip").read_bytes())
    data[7000:7100] = bytes(100)
    (tmp_path / "a.zip").write_bytes(data)
    assert "Bad CRC-32" in refused(tmp_path, archive("a.zip"))


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_the_checksum_decides(tmp_path, kind):
    data = pack(tmp_path / "a.tar").read_bytes()
    right = f"{kind}:{hashlib.new(kind, data).hexdigest()}"
    wrong = f"{kind}:{hashlib.new(kind, data[:-1]).hexdigest()}"
    message = refused(tmp_path, archive("a.tar", checksum=wrong, url="https://fetch"))
    assert message.startswith(f"{tmp_path}/a.tar: is damaged, truncated or another ")
    assert message.endswith("fetch it again from https://fetch")
    unpack(archive("a.tar", checksum=right), tmp_path)
    assert (tmp_path / "set/inner").is_dir()


def test_another_archive_of_that_name(tmp_path):
    pack(tmp_path / "a.tar")
    message = refused(tmp_path, archive("a.tar", "set/outer"))
    assert "holds no set/outer; fetch it again from https://page" in message


def test_members_that_would_leave_the_folder(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    pack(root / "a.tar", FILES | {"../stray": b"x"})
    assert "stray" in refused(root, archive("a.tar"))
    assert not (tmp_path / "stray").exists()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def mkdtemp(**_):
        raise PermissionError(13, "Permission denied")

    pack(tmp_path / "a.tar")
    monkeypatch.setattr(archives.tempfile, "mkdtemp", mkdtemp)
    message = refused(tmp_path, archive("a.tar"))
    assert f"{tmp_path}: cannot be written (Permission denied); unpack" in message


def test_a_full_disk_is_not_called_damage(tmp_path, monkeypatch):
    def extractall(*_, **__):
        raise OSError(28, "No space left on device")

    pack(tmp_path / "a.tar")
    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    message = refused(tmp_path, archive("a.tar"))
    assert message.endswith("No space left on device); make room")
