"""A command asks for large pages once, and only where nothing is lost by it."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from train.devices import pages
pages.OFFER, pages.ACCELERATORS = Path({offer!r}), [{accelerator!r}]
print("started", flush=True)
pages.take_large_pages()
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.orig_argv[1:])
"""


@pytest.fixture
def start(tmp_path, request):
    """start(*command, tunables=…, offer=…, accelerator=…): how often, and with what."""

    def run(*command, tunables=None, offer="always [madvise] never", accelerator=False):
        enabled, device = tmp_path / "enabled", tmp_path / "nvidia0"
        enabled.write_text(offer)
        if accelerator:
            device.touch()
        names = {"offer": str(enabled), "accelerator": str(device)}
        root = str(request.config.rootpath)
        (tmp_path / "script.py").write_text(SCRIPT.format(root=root, **names))
        environment = dict(os.environ)
        environment.pop("GLIBC_TUNABLES", None)
        if tunables is not None:
            environment["GLIBC_TUNABLES"] = tunables
        arguments = [*(command or ["script.py"]), "--a", "b c"]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        *starts, last = process.communicate()[0].splitlines()
        assert process.returncode == 0
        pid, _, said = last.partition(" ")
        assert int(pid) == process.pid
        assert said.endswith(f" {arguments}")
        return len(starts), said.removesuffix(f" {arguments}")

    return run


@pytest.mark.parametrize("command", [(), ("-u", "script.py")])
def test_it_starts_anew_with_its_arguments(start, command):
    assert start(*command) == (2, "glibc.malloc.hugetlb=1")


def test_other_options_of_the_library_stay(start):
    wanted = "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"
    assert start(tunables="glibc.malloc.arena_max=2") == (2, wanted)


def test_who_decides_otherwise_is_obeyed(start):
    assert start(tunables="glibc.malloc.hugetlb=0") == (1, "glibc.malloc.hugetlb=0")


@pytest.mark.parametrize("offer", ["[always] madvise never", "always madvise [never]"])
def test_where_asking_changes_nothing(start, offer):
    assert start(offer=offer) == (1, "None")


def test_a_machine_with_an_accelerator_is_left_alone(start):
    assert start(accelerator=True) == (1, "None")


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "cProfile", "-o", "profile", "script.py"),
        ("-c", "import runpy, sys; sys.argv[0] = 'script.py'; "
         "runpy.run_path('script.py', run_name='__main__')"),
    ],
)  # fmt: skip
def test_a_process_of_something_else_goes_on(start, command):
    assert start(*command) == (1, "None")
