"""Commands as their users run them: in this process for rows, as programs for streams and exit codes."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.node.ports import LOOPBACK, choose_port
from provisioning.management.supervisor import Supervisor
from tests.support.commands import Program, Ran
from tests.support.processes import hermetic_environment

REDIS = shutil.which("redis-server")


@pytest.fixture(scope="session")
def migrated_state(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A state directory with an empty panel, to be copied."""
    state_dir = tmp_path_factory.mktemp("state")
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=repository,
        env=hermetic_environment(state_dir),
        check=True,
    )
    return state_dir


@pytest.fixture
def state_dir(migrated_state: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(migrated_state, tmp_path / "state"))


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of the test's own."""
    if REDIS is None:
        pytest.skip("There is no redis-server on the PATH: apt install redis-server.")
    port = choose_port(range(32000, 32700), set())
    command = [REDIS, "--bind", LOOPBACK, "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until_s = time.monotonic() + 20
            while server.poll() is None and not _listens(port):
                assert time.monotonic() < until_s, "redis-server has not started"
                time.sleep(0.02)
            assert server.poll() is None, "redis-server has ended"
            yield f"redis://{LOOPBACK}:{port}/0"
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


@pytest.fixture
def program(migrated_state: Path, tmp_path: Path, repository: Path) -> Program:
    """Run `manage.py …` as a program, on a separate panel without queue, watcher and cluster."""
    state_dir = tmp_path / "state"
    shutil.copytree(migrated_state, state_dir)

    def run_program(*arguments: str, terminal: int | None = None, **environment: str) -> Ran:
        """`terminal`: file descriptor that replaces all three streams; then no output is captured."""
        ended = subprocess.run(
            [sys.executable, str(repository / "manage.py"), *arguments],
            cwd=tmp_path,
            env=hermetic_environment(state_dir, **environment),
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout or "", ended.stderr or "")

    return run_program


@pytest.fixture
def said() -> list[str]:
    """What the supervisor says."""
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    """A supervisor of a separate directory. Its "part" and "queue" end with the test."""
    made = Supervisor(tmp_path / "state", dict(os.environ), tmp_path, said.append)
    made.prepare()
    yield made
    made.stop(("part", "queue"), is_urgent=lambda: True)
