"""One training to a workdir, for as long as its process lives."""

import signal
import subprocess
import sys

import pytest

from train.user.errors import UserError
from train.workdir.lock import WorkdirLock

HOLD = """
import sys, time
from train.workdir.lock import WorkdirLock
lock = WorkdirLock(sys.argv[1])
print("held", flush=True)
time.sleep(100)
"""


def test_the_second_is_refused_and_told_who_the_first_is(tmp_path):
    first = WorkdirLock(str(tmp_path))
    with pytest.raises(UserError) as error:
        WorkdirLock(str(tmp_path))
    message = str(error.value)
    assert message.startswith(f"--workdir={tmp_path} is in use by another training (pr")
    assert "\n" not in message
    first.close()
    WorkdirLock(str(tmp_path)).close()


def test_a_killed_process_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {process.pid} on"):
            WorkdirLock(str(tmp_path))
        process.send_signal(signal.SIGKILL)
    WorkdirLock(str(tmp_path)).close()
