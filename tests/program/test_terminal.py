"""`manage.py up` when its terminal closes, or its output is not read."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from devcluster.cluster import build_kubeconfig
from tests.support.processes import free_port, hermetic_environment
from tests.support.waiting import wait_for

START_TIMEOUT_S, STOP_TIMEOUT_S = 90.0, 20.0


@contextmanager
def up(
    tmp_path: Path, repository: Path, ignored: tuple[signal.Signals, ...], **more: str
) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Start the panel for an unreachable cluster, by a parent that ignores these signals."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(build_kubeconfig("http://127.0.0.1:9", "token"))
    port = free_port()

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    environment = hermetic_environment(tmp_path / "state", PORT=str(port), KUBECONFIG=str(kubeconfig), **more)
    process = subprocess.Popen(
        [sys.executable, str(repository / "manage.py"), "up"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=ignore,
    )
    try:
        yield port, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()


def is_served(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/livez", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def await_served(port: int) -> None:
    wait_for(lambda: is_served(port), timeout_s=START_TIMEOUT_S, explain=lambda: "The panel is not served.")


def test_panel_under_nohup_survives_its_terminal(tmp_path: Path, repository: Path) -> None:
    with up(tmp_path, repository, (signal.SIGHUP, signal.SIGINT), PYTHONIOENCODING="latin-1") as (port, process):
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        await_served(port)
        # The terminal closes, and Ctrl-C is pressed for the processes in the foreground.
        for number in (signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        assert is_served(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_TIMEOUT_S) == 0
        assert not is_served(port)


def test_panel_without_nohup_ends_with_its_terminal(tmp_path: Path, repository: Path) -> None:
    with up(tmp_path, repository, ()) as (port, process):
        await_served(port)
        process.send_signal(signal.SIGHUP)
        assert process.wait(STOP_TIMEOUT_S) == 0
