"""`manage.py up` on an empty state directory, with all its processes."""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from tests.support.commands import Ran
from tests.support.processes import free_port, hermetic_environment
from tests.support.waiting import wait_for
from tests.support.web import WebSession

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Looks at all processes through /proc.")

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 12.0


def run_to_its_end(command: list[str], environment: dict[str, str], directory: Path | None = None) -> Ran:
    ended = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


class Panel:
    """`manage.py up` in its own session, with its output in a file."""

    def __init__(self, state_dir: Path, repository: Path, directory: Path) -> None:
        self.state_dir, self.port, self._repository = state_dir, free_port(), repository
        self.environment = hermetic_environment(state_dir, PORT=str(self.port))
        self._output = directory / "up.out"
        self._directory = directory

    def start(self) -> None:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self.command("up"),
                # The panel must not depend on its working directory.
                cwd="/",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self._repository / "manage.py"), *arguments]

    def manage(self, *arguments: str, **environment: str) -> Ran:
        return run_to_its_end(self.command(*arguments), {**self.environment, **environment}, self._directory)

    @property
    def said(self) -> str:
        return self._output.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def await_said(self, text: str, timeout_s: float = START_TIMEOUT_S) -> None:
        def is_said() -> bool:
            assert self._process.poll() is None, self.said
            return text in self.said

        wait_for(is_said, timeout_s=timeout_s, explain=lambda: f"{text!r} was not said: {self.said}")

    def descendants(self) -> list[psutil.Process]:
        """Return all processes that the panel has started, in any session."""
        return list(psutil.Process(self._process.pid).children(recursive=True))

    def part(self, name: str) -> psutil.Process:
        return psutil.Process(json.loads((self.state_dir / "run" / f"{name}.json").read_text())["pid"])

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self._process.send_signal(number)
        return self._process.wait(STOP_TIMEOUT_S)

    def clean_up(self) -> None:
        if self._process.poll() is None:
            family = self.descendants()
            self._process.kill()
            self._process.wait()
            for process in family:
                if process.is_running():
                    process.kill()


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(family: list[psutil.Process], timeout_s: float) -> None:
    wait_for(
        lambda: [process for process in family if not is_gone(process)], lambda left: not left, timeout_s=timeout_s
    )


@pytest.fixture
def panel(tmp_path: Path, repository: Path) -> Iterator[Panel]:
    made = Panel(tmp_path / "state", repository, tmp_path)
    made.start()
    yield made
    made.clean_up()


def log_in(panel: Panel, password: str) -> str:
    """Log in through the form; return the text of the page that it leads to."""
    browser = WebSession(panel.url)
    answer = browser.log_in("admin", password, "/admin/projects/project/")
    browser.close()
    return answer.text


@pytest.mark.timeout(240)
def test_first_start_use_and_restart(panel: Panel) -> None:
    # The first start: an administrator, one URL, the sample project with its steps.
    panel.await_said("Press Ctrl-C to stop the panel.")
    first = panel.said
    assert first.count("http://") == 1
    assert f"The panel is ready: {panel.url}" in first
    for step in ("Requested", "Cluster applied", "Database running", "Credentials captured", "Sandbox ready"):
        assert first.count(f"demo  {step}") == 1, first
    given = re.search(r"Administrator: admin, password: (\S+) \(shown only this once\)", first)
    assert given is not None
    health = requests.get(f"{panel.url}healthz", timeout=20)
    assert (health.status_code, health.json()["ok"]) == (200, True)
    assert "demo" in log_in(panel, given[1])
    assert "demo" not in log_in(panel, f"{given[1]}x")

    # The commands work on the same state.
    demo = json.loads(panel.manage("status", "demo", "--json").out)
    assert (demo["phase"], demo["database"]["credentials"], demo["database"]["verified"]) == (
        "Running",
        "captured",
        True,
    )
    check_that_sandbox_gets_no_cookie(panel, given[1], demo["sandbox"]["urls"]["app"])
    assert open_to_others(panel.state_dir) == []
    assert panel.manage("doctor").code == 0
    unknown = panel.manage("status", "nobody")
    assert unknown.code == 1
    assert unknown.err.startswith(
        "No database cluster found for project nobody (k8s name: nobody). "
        f"Available clusters: {demo['database']['cluster']}"
    )
    # The port is in use by this panel, not by another program.
    for port in (panel.port, free_port()):
        second = panel.manage("up", PORT=str(port))
        assert (second.code, second.out) == (1, "")
        assert second.err.startswith(f"The panel is already running on {panel.state_dir} (process ")
    assert panel.manage("status").err == ""
    revealed = panel.manage("credentials", "demo", "--reveal", "--reason", "a test", "--format", "url")
    url = revealed.out.strip()
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_user").fetchone()
        assert row == ("postgres",)

    # Killed processes are restarted, and no secret is in the files.
    for name in ("queue", "watcher", "web"):
        panel.part(name).kill()
    done = panel.manage("provision", "aaa", "--wait", "--json", "--timeout-s", "60")
    assert done.code == 0, done.err
    assert json.loads(done.out)["phase"] == "Running"
    wait_for(
        lambda: panel.said.count("ended unexpectedly (killed by SIGKILL)") == 3,
        timeout_s=10,
        explain=lambda: panel.said,
    )
    wait_for(lambda: is_healthy(panel), timeout_s=30)
    password = url.split(":")[2].rpartition("@")[0]
    assert len(password) >= 8
    for path in [*panel.state_dir.glob("panel.sqlite3*"), *panel.state_dir.glob("logs/*")]:
        assert password.encode() not in path.read_bytes(), path

    # Ctrl-C ends all processes, and the next start uses the same state.
    family = panel.descendants()
    assert len(family) > 8
    assert panel.stop() == 0
    wait_until_gone(family, timeout_s=5)
    assert not list((panel.state_dir / "run").glob("*.json"))
    # No component counts as alive after the stop.
    doctor = panel.manage("doctor")
    assert doctor.code == 1
    silent = panel.manage("alive", "queue")
    assert (silent.code, silent.err) == (1, "No worker is running. Requests wait until `manage.py qcluster` runs.\n")
    assert re.search(r"^failed +queue +No queue worker is running\. Start one with `make run`", doctor.out, re.M)
    assert re.search(r"^warning +watcher +No watcher is running\. Start one with `make run`", doctor.out, re.M)
    assert "Start the embedded cluster with `make run`." in doctor.out
    assert panel.manage("status").err.startswith("No queue worker is running, so this status may be out of date. ")
    panel.start()
    panel.await_said("The panel is ready")
    panel.await_said("Press Ctrl-C to stop the panel.")
    assert "Administrator: admin. To reset a lost password, run `manage.py changepassword admin`." in panel.said
    assert given[1] not in panel.said
    assert panel.said.replace("changepassword", "").count("password") == 1
    assert "demo" not in panel.said
    wait_for(lambda: is_reachable(url), timeout_s=30)

    # After SIGKILL all processes end too, and the next start works.
    family = panel.descendants()
    panel.stop(signal.SIGKILL)
    wait_for(
        lambda: all(map(is_gone, family)), timeout_s=15, explain=lambda: str([p for p in family if not is_gone(p)])
    )
    panel.start()
    panel.await_said("The panel is ready")
    family = panel.descendants()
    assert panel.stop(signal.SIGTERM) == 0
    wait_until_gone(family, timeout_s=5)


def check_that_sandbox_gets_no_cookie(panel: Panel, password: str, url: str) -> None:
    """Cookies ignore ports: what a browser sends to the panel, it sends to each server on the panel's address."""
    browser = WebSession(panel.url)
    browser.log_in("admin", password)
    answer = browser.visit(url)
    assert answer.status_code == 200
    assert "Cookie" not in answer.request.headers
    assert f"panel_session_{panel.port}" in browser.cookies_for(url.replace("127.0.0.2", "127.0.0.1"))
    browser.close()


def open_to_others(directory: Path) -> list[tuple[str, str]]:
    """Return what other users could read, list or write, with its mode; passing through a directory is no right."""
    found = []
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & (0o066 if path.is_dir() else 0o077):
            found.append((str(path), oct(status.st_mode)))
    return found


def is_healthy(panel: Panel) -> bool:
    try:
        return requests.get(f"{panel.url}healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


def is_reachable(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def up(repository: Path, state_dir: Path, *arguments: str, **environment: str) -> Ran:
    """Try to start a panel that can't start."""
    command = [sys.executable, str(repository / "manage.py"), "up", *arguments]
    return run_to_its_end(command, hermetic_environment(state_dir, **environment))


def test_port_in_use_is_one_sentence(tmp_path: Path, repository: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ran = up(repository, tmp_path / "state", PORT=str(port))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"Port {port} is in use by another program. Stop it, or choose another: PORT={port + 1}\n"


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_invalid_port_is_one_sentence(tmp_path: Path, repository: Path, port: str) -> None:
    ran = up(repository, tmp_path / "state", "--port", port)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"There is no port {port}. Choose one from 1 to 65535 with PORT or --port.\n"
    ran = up(repository, tmp_path / "state", PORT=port)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"The panel can't start: PORT is '{port}'. Set it to a whole number from 1 to 65535.\n"


def test_missing_kubeconfig_is_one_sentence(tmp_path: Path, repository: Path) -> None:
    missing = tmp_path / "gone"
    ran = up(repository, tmp_path / "state", PORT=str(free_port()), KUBECONFIG=str(missing))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"There is no kubeconfig {missing}. Set KUBECONFIG to the file of your cluster, or leave it unset to use the "
        "embedded cluster.\n"
    )
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "panel.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    directory = up(repository, tmp_path / "state", PORT=str(free_port()), KUBECONFIG=str(tmp_path))
    assert directory.code == 1
    assert directory.err.startswith(f"The kubeconfig {tmp_path} can't be read: Is a directory. ")


def test_invalid_database_file_is_one_sentence(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "panel.sqlite3").write_bytes(os.urandom(8192))
    ran = up(repository, tmp_path, PORT=str(free_port()))
    assert ran.code == 1
    assert ran.err.splitlines()[0].startswith("The panel's database is damaged, or its disk has errors.")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("name", ["run", "logs"])
def test_unusable_state_directory_is_one_sentence(tmp_path: Path, repository: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    ran = up(repository, tmp_path, PORT=str(free_port()))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"The state directory {tmp_path} can't be used: ")
    assert len(ran.err.splitlines()) == 1
