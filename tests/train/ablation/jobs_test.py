"""Processes side by side: how many, how they end, and that none stays behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from train.ablation.jobs import ROOT, Job, check_jobs, cores, run_jobs
from train.user.errors import UserError

WATCHING = textwrap.dedent(
    """
    import os, sys
    sys.path.insert(0, {root!r})
    from train.ablation.jobs import end_with_parent
    end_with_parent()
    open({pid!r}, "w").write(str(os.getpid()))
    import time
    time.sleep(60)
    """
)


def shell(command, log):
    return Job(["sh", "-c", command], log)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_is_run_once_and_two_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("X", "here")

    def command(i):
        return f"echo began $X >> {tmp_path}/all; sleep 0.3; echo ended; exit {i}"

    jobs = [shell(command(i), tmp_path / str(i) / "log") for i in range(3)]
    ended = []
    run_jobs(
        jobs,
        2,
        lambda index, status: ended.append(
            (index, status, len((tmp_path / "all").read_text().splitlines()))
        ),
    )
    assert sorted((index, status) for index, status, _ in ended) == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    begun = [count for *_, count in ended]
    assert begun[0] == 2  # the third waited for the first end
    assert begun[-1] == 3
    assert "began here" in (tmp_path / "all").read_text()
    assert (tmp_path / "2" / "log").read_text() == "ended\n"


@pytest.mark.parametrize(
    ("count", "slots", "shares"),
    [
        (4, 2, [[2, 3], [4, 5]]),
        (3, 2, [[2], [3]]),  # as fast as each other
        (5, 2, [[2, 3], [4, 5]]),
        (3, 1, [[2, 3, 4]]),
    ],
)
def test_cores_are_shared_equally(monkeypatch, count, slots, shares):
    mine = set(range(2, 2 + count))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: mine)
    assert [cores(slot, slots) for slot in range(slots)] == shares


@pytest.mark.parametrize("jobs", [0, 4])
def test_more_jobs_than_cores(monkeypatch, jobs):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    check_jobs(1)
    check_jobs(3)
    with pytest.raises(UserError) as error:
        check_jobs(jobs)
    wanted = f"--jobs={jobs} cannot be used; give 1 to 3, the number of cores"
    assert str(error.value) == wanted


def test_an_error_of_ours_ends_them(tmp_path):
    jobs = [
        shell("true", tmp_path / "a"),
        shell(f"echo $$ > {tmp_path}/pid; exec sleep 60", tmp_path / "b"),
    ]

    def fail(index, status):
        wait_for(lambda: (tmp_path / "pid").exists())
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        run_jobs(jobs, 2, fail)
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.fixture
def supervisor(tmp_path):
    """A process that runs one job, which watches it; (process, pid of the job)."""
    job = WATCHING.format(root=str(ROOT), pid=str(tmp_path / "pid"))
    script = tmp_path / "supervisor.py"
    script.write_text(
        f"import signal, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        # a shell starts what it puts in the background with the signal ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from train.ablation.jobs import Job, run_jobs\n"
        f"job = Job([sys.executable, '-c', {job!r}], Path({str(tmp_path / 'log')!r}))\n"
        "try:\n"
        "    run_jobs([job], 1, print)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)])
    path = tmp_path / "pid"
    wait_for(lambda: path.exists() and path.read_text())
    yield process, int(path.read_text())
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_jobs_first(supervisor, number):
    process, child = supervisor
    assert alive(child)
    process.send_signal(number)
    assert process.wait(20) == 130
    assert not alive(child)


def test_a_job_does_not_outlive_a_killed_parent(supervisor):
    process, child = supervisor
    process.kill()
    process.wait()
    wait_for(lambda: not alive(child))
