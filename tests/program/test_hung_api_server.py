"""The API server hangs (SIGSTOP): the panel says so within the limit, nothing false in between, and recovers."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, Panel, hermetic_environment
from tests.support.waiting import wait_for

NOTICED_WITHIN_S = 20.0
HUNG = "SELECT count(*) FROM provisioning_processlease WHERE name = 'watcher' AND details LIKE '%has not answered%'"
IN_STEP = "SELECT count(*) FROM provisioning_processlease WHERE name = 'watcher' AND details LIKE '%\"in_step\": true%'"


@pytest.fixture
def api_server(tmp_path):
    """A process with the embedded cluster."""
    state = tmp_path / "cluster"
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "devcluster",
            "--state-dir",
            str(state),
            "--postgres",
            "none",
            "--sandboxes",
            "simulated",
        ],
        cwd=ROOT,
        env=hermetic_environment(state),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for((state / "kubeconfig").exists, timeout_s=30)
        yield child
    finally:
        child.send_signal(signal.SIGCONT)
        child.terminate()
        child.wait(20)


def test_hung_api_server_is_noticed_and_forgotten(api_server, tmp_path):
    with Panel(tmp_path / "panel", tmp_path / "cluster" / "kubeconfig", VERIFY_CONNECTIONS="false") as panel:
        panel.start("qcluster")
        panel.start("watch")
        panel.run("provision", "web", "--wait")
        panel.wait_until(lambda: panel.count(IN_STEP) == 1, "the watcher in step", 20)
        events = panel.count("SELECT count(*) FROM projects_event")

        os.kill(api_server.pid, signal.SIGSTOP)
        panel.wait_until(lambda: panel.count(HUNG) == 1, "the hang noticed", NOTICED_WITHIN_S)
        assert panel.count(IN_STEP) == 0
        assert "can't watch" in panel.run("doctor", check=False).stdout
        assert panel.running() == 1

        os.kill(api_server.pid, signal.SIGCONT)
        panel.wait_until(lambda: panel.count(IN_STEP) == 1, "the watcher in step again", 60)
        assert panel.running() == 1
        assert panel.count("SELECT count(*) FROM projects_event") == events
