"""Files of the hub, from a server that answers as it does."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading

import pytest
from huggingface_hub import constants, file_download

from train.model import hub
from train.model.hub import HubFile, fetch, named
from train.user.errors import UserError

CONTENT = bytes(range(256)) * 400
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "a" * 40


class Handler(http.server.BaseHTTPRequestHandler):
    """The address of one file, with the headers of a large one."""

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        server = self.server
        if self.path.endswith(server.file):
            server.sent.append(self.path)
        content = server.content
        start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=")
        self.answer(content[int(start.split("-")[0]) : server.stops_at])

    def answer(self, body):
        server = self.server
        if self.path != f"/org/net/resolve/main/{server.file}":
            missing = "EntryNotFound" if "/org/net/" in self.path else "RepoNotFound"
            self.send_response(404)
            self.send_header("X-Error-Code", missing)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{server.etag}"')
        self.send_header("X-Linked-Size", str(len(server.content)))
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The hub as every process sees it that is started here."""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.file, running.content, running.etag = "model.safetensors", CONTENT, CHECKSUM
    running.sent, running.stops_at = [], None
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{running.server_address[1]}"
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):
        monkeypatch.setattr(
            module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False
        )
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    yield running
    running.shutdown()
    running.server_close()


def refused(wanted) -> str:
    with pytest.raises(UserError) as error:
        fetch(wanted)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once(server):
    path = fetch(named("hf:org/net"))
    assert path.read_bytes() == CONTENT
    assert path.parts[-4:] == ("models--org--net", "snapshots", COMMIT, server.file)
    server.shutdown()
    assert fetch(named("hf:org/net/model.safetensors")) == path
    assert len(server.sent) == 1


def test_the_older_name_is_tried_too(server):
    server.file = "pytorch_model.bin"
    assert fetch(named("hf:org/net")).name == "pytorch_model.bin"


def test_what_is_not_there_is_one_line(server):
    message = refused(named("hf:org/net/other.pth"))
    assert message == (
        "hf:org/net/other.pth: org/net has no other.pth; give the file's name, "
        "hf:org/net/FILE"
    )
    message = refused(named("hf:nobody/net"))
    assert message.startswith("hf:nobody/net: the hub has no repository nobody/net, or")
    refused(named("hf:org/a..b--c"))


@pytest.mark.parametrize("source", ["hf:", "hf:net", "hf:org//file", "hf:org/"])
def test_a_name_of_another_form(source):
    with pytest.raises(UserError, match=f"^{source} names no file of the hub; give hf"):
        named(source)


def test_no_network_is_one_line(server):
    server.shutdown()
    server.server_close()
    message = refused(HubFile("org/net", server.file))
    assert message == (
        "hf:org/net/model.safetensors is not on this machine, and the hub cannot be "
        "reached; fetch https://huggingface.co/org/net/resolve/main/model.safetensors "
        "where it can, and give the path of the file, or 'random'"
    )


def test_a_broken_download_is_no_file_and_goes_on(server):
    server.stops_at = 50_000
    message = refused(named("hf:org/net"))
    assert message.startswith("hf:org/net cannot be fetched (")
    assert message.endswith("; run again to go on")
    assert hub.cached(named("hf:org/net")) is None
    server.stops_at = None
    assert fetch(named("hf:org/net")).read_bytes() == CONTENT


def test_another_content_is_refused(server):
    server.etag = "0" * 64
    message = refused(named("hf:org/net"))
    assert f" has the SHA-256 {CHECKSUM}, not {'0' * 64}; delete it, and" in message
    known = HubFile("org/net", server.file, "1" * 64)
    assert f", not {'1' * 64}; delete it" in refused(known)


def test_one_of_two_processes_fetches(server):
    program = "from train.model import hub; print(hub.fetch(hub.named('hf:org/net')))"
    command = [sys.executable, "-c", program]
    options = {"stdout": subprocess.PIPE, "text": True, "env": os.environ}
    both = [subprocess.Popen(command, **options) for _ in range(2)]
    first, second = (process.communicate(timeout=60)[0] for process in both)
    assert first == second
    assert [process.returncode for process in both] == [0, 0]
    assert len(server.sent) == 1
