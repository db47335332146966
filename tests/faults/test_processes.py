"""The worst that can happen to the queue, with real processes. `make faults` has the rest of processes.py."""

import json
import subprocess
import sys

import pytest

from tests.faults.moments import STEPS, missed_steps

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="What a process waits for stands in /proc."),
]


def test_a_queue_that_hangs_for_ever_is_mended(repository):
    """The idle worker next in line is killed, and takes the lock of the task queue with it (django-q2's issue 23)."""
    command = [sys.executable, "-m", "tests.faults.processes", "--runs", "1"]
    ended = subprocess.run(
        [*command, "--only", "idle worker next in line killed"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    told = json.loads(ended.stdout.splitlines()[-1])
    assert ended.returncode == 0, ended.stdout
    assert told["hung"] == 1
    assert 8 < told["slowest_mend_s"] < 30


def test_a_step_that_no_strike_fell_on_is_a_violation():
    assert missed_steps(dict.fromkeys(STEPS, 5), 200) == []
    assert len(missed_steps(dict.fromkeys(STEPS[1:], 5), 200)) == 1
