"""`main.py demo`: what it refuses, and what it serves."""

import socket
import sys

import pytest

import main


@pytest.fixture
def demo_refused(refused_at_once, workdir):
    return lambda *given: refused_at_once("demo", f"--workdir={workdir}", *given)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--port=http", "--port=http: give a number from 0 to 65535"),
        ("--port=65536", "--port=65536: give a number from 0 to 65535"),
        ("--max_side=8", "--max_side=8: give a number from 32 to 8192"),
        ("--examples=/no/such", "--examples=/no/such: no such folder"),
        ("--host=no.such.invalid", "--host=no.such.invalid --port=7860: cannot be"),
    ],
)
def test_an_option_that_cannot_be_used(demo_refused, option, said):
    assert demo_refused(option).startswith(said)


def test_a_port_that_is_taken(demo_refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = demo_refused(f"--port={port}")
    assert said.startswith(f"--host=127.0.0.1 --port={port}: cannot be listened at")
    assert said.endswith("or --port=0 for any that is free")


def test_a_workdir_that_is_none(refused_at_once):
    said = refused_at_once("demo", "--workdir=/no/such", "--port=0")
    assert said == "--workdir=/no/such does not exist; train first"


def test_a_package_that_is_missing(demo_refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert demo_refused().startswith("the page needs uvicorn, which is not installed")


def test_the_page_of_a_workdir(workdir, monkeypatch, capsys):
    pytest.importorskip("httpx2")
    uvicorn = pytest.importorskip("uvicorn")
    from starlette.testclient import TestClient

    def ask(server, sockets):
        [listening] = sockets
        assert listening.getsockname()[0] == "127.0.0.1"
        with TestClient(server.config.app, base_url="http://localhost") as client:
            assert client.get("/").status_code == 200
            offered = client.get("/network").json()
        assert (offered["title"], offered["classes"]) == ("small", 2)
        assert (offered["bases"], offered["examples"]) == (4, [])

    monkeypatch.setattr(uvicorn.Server, "run", ask)
    assert main.main(["demo", "--workdir", workdir, "--port=0"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("http://127.0.0.1:")
    assert "--examples FOLDER gives some" in captured.err
