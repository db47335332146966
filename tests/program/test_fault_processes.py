"""Faults of the queue's own processes. `make faults` runs more of them."""

import json
import subprocess
import sys

import pytest

from tests.faults.bugs import SUPERVISOR_BUGS
from tests.faults.moments import STEPS, missed_steps

IDLE = "idle worker next in line killed"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc shows what a process waits for.")


def kill_the_idle_worker(repository, *arguments):
    """Return the output of a run, line by line: its violations, then the summary."""
    command = [sys.executable, "-m", "tests.faults.processes", "--runs", "1", "--only", IDLE, *arguments]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200, check=False)
    assert ended.stdout, ended.stderr
    return ended.stdout.splitlines()


def test_hanging_queue_is_restarted(repository):
    """The killed idle worker holds the lock of the task queue (django-q2's issue 23)."""
    *violations, told = kill_the_idle_worker(repository)
    assert violations == []
    assert json.loads(told)["hung"] == 1
    assert 8 < json.loads(told)["slowest_mend_s"] < 30


def test_supervisor_without_a_watchdog_is_noticed(repository):
    (bug,) = SUPERVISOR_BUGS
    *violations, told = kill_the_idle_worker(repository, "--planted", bug.name)
    assert any("A hanging queue was mended after" in one for one in violations)
    assert json.loads(told)["hung"] == 0


def test_step_without_a_strike_is_a_violation():
    assert missed_steps(dict.fromkeys(STEPS, 5), 200) == []
    assert len(missed_steps(dict.fromkeys(STEPS[1:], 5), 200)) == 1
