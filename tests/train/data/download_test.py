"""Downloads: from a file URL, and from a server that knows ranges or drops us."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from tests.train.data.archives_test import pack
from train import data
from train.data import open_dataset
from train.data.archives import Archive
from train.data.download import fetch, provide
from train.user.errors import UserError

BODY = np.random.default_rng(0).bytes(5000)


class Server(HTTPServer):
    """Serves BODY; keeps the ranges it was asked for; may break off after a while."""

    ranges = True
    breaks_after: int | None = None

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/a.tar"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(asked[6:-1]) if asked and self.server.ranges else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        body = BODY[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def archive(url, data=BODY, **options):
    checksum = f"md5:{hashlib.md5(data).hexdigest()}"
    return Archive("a.tar", "set", "https://page", url, checksum=checksum, **options)


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".lock"}


def test_a_whole_file(tmp_path, server):
    assert fetch(archive(server.url), tmp_path) == tmp_path / "a.tar"
    assert files(tmp_path) == {"a.tar": BODY}
    fetch(archive(server.url), tmp_path)
    assert server.asked == [None]  # it was there already


@pytest.mark.parametrize("done", [1, 1234, 5000])
def test_it_goes_on_where_it_stopped(tmp_path, server, done):
    (tmp_path / "a.tar.part").write_bytes(BODY[:done])
    fetch(archive(server.url), tmp_path)
    assert server.asked == [f"bytes={done}-"]
    assert files(tmp_path) == {"a.tar": BODY}


def test_a_server_without_ranges_starts_again(tmp_path, server):
    server.ranges = False
    (tmp_path / "a.tar.part").write_bytes(b"x" * 1234)
    fetch(archive(server.url), tmp_path)
    assert files(tmp_path) == {"a.tar": BODY}


def test_a_connection_that_breaks_off(tmp_path, server):
    server.breaks_after = 2000
    with pytest.raises(UserError) as error:
        fetch(archive(server.url), tmp_path)
    assert f"{server.url}: cannot be fetched into {tmp_path} (" in str(error.value)
    assert "run again to go on" in str(error.value)
    assert files(tmp_path) == {"a.tar.part": BODY[:2000]}
    server.breaks_after = None
    fetch(archive(server.url), tmp_path)
    assert files(tmp_path) == {"a.tar": BODY}


def test_another_file_than_the_published(tmp_path, server):
    with pytest.raises(UserError, match="is damaged, truncated or another file"):
        fetch(archive(server.url, data=b"published"), tmp_path)
    assert files(tmp_path) == {}


def test_nobody_answers(tmp_path):
    with pytest.raises(UserError, match=r"file:///none/a\.tar: cannot be fetched"):
        fetch(archive("file:///none/a.tar"), tmp_path)
    assert files(tmp_path) == {}


def test_provide_fetches_and_unpacks_once(tmp_path):
    packed = pack(tmp_path / "published.tar")
    wanted = archive(packed.as_uri(), packed.read_bytes())
    home = provide("mine", [wanted], None, str(tmp_path / "records"))
    assert home == tmp_path / "records/downloads"
    assert len(list((home / "set/inner").iterdir())) == 5
    assert not list(home.glob("a.tar*"))  # not kept twice
    packed.unlink()
    assert provide("mine", [wanted], None, str(tmp_path / "records")) == home


def test_provide_unpacks_what_lies_in_root(tmp_path):
    packed = pack(tmp_path / "a.tar")
    wanted = archive(None, packed.read_bytes())
    assert provide("mine", [wanted], str(tmp_path), None) == tmp_path
    assert (tmp_path / "set/inner/0.bin").is_file()
    assert packed.is_file()


def test_sets_behind_a_registration_say_what_to_put_where(tmp_path):
    with pytest.raises(UserError) as error:
        open_dataset("cityscapes", root=None, data_dir=str(tmp_path))
    message = str(error.value)
    assert "data set 'cityscapes' cannot be fetched without registration" in message
    assert "leftImg8bit_trainvaltest.zip from https://www.cityscapes-" in message
    assert "gtFine_trainvaltest.zip" in message
    assert "--config.data.root=" in message
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"downloads: cannot be written.*data_dir="):
        open_dataset("voc2012", root=None, data_dir=str(tmp_path / "file"))


@pytest.mark.parametrize("name", sorted(data.ARCHIVES))
def test_every_published_set_has_archives(name):
    kinds = {"md5": 32, "sha1": 40, "sha256": 64}
    for packed in data.ARCHIVES[name]:
        assert packed.page.startswith("http")
        assert packed.url is None or packed.url.endswith(f"/{packed.file}")
        if packed.checksum is not None:
            kind, digest = packed.checksum.split(":")
            assert len(digest) == kinds[kind]
            int(digest, 16)
