"""The worst that can happen to the queue, with real processes. `make faults` has the rest of processes.py."""

import json
import subprocess
import sys

import pytest

from tests.faults.bugs import SUPERVISOR_BUGS
from tests.faults.moments import STEPS, missed_steps

IDLE = "idle worker next in line killed"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="What a process waits for stands in /proc.")


def kill_the_idle_worker(repository, *arguments):
    """Return what a run has told, line by line: its violations, then the summary."""
    command = [sys.executable, "-m", "tests.faults.processes", "--runs", "1", "--only", IDLE, *arguments]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200, check=False)
    assert ended.stdout, ended.stderr
    return ended.stdout.splitlines()


def test_a_queue_that_hangs_for_ever_is_mended(repository):
    """The idle worker next in line is killed, and takes the lock of the task queue with it (django-q2's issue 23)."""
    *violations, told = kill_the_idle_worker(repository)
    assert violations == []
    assert json.loads(told)["hung"] == 1
    assert 8 < json.loads(told)["slowest_mend_s"] < 30


def test_a_supervisor_that_does_not_watch_over_the_queue_is_noticed(repository):
    (bug,) = SUPERVISOR_BUGS
    *violations, told = kill_the_idle_worker(repository, "--planted", bug.name)
    assert any("A hanging queue was mended after" in one for one in violations)
    assert json.loads(told)["hung"] == 0


def test_a_step_that_no_strike_fell_on_is_a_violation():
    assert missed_steps(dict.fromkeys(STEPS, 5), 200) == []
    assert len(missed_steps(dict.fromkeys(STEPS[1:], 5), 200)) == 1
