"""Attacks by tenants of the embedded cluster: on root, on each other, and on what is left of them."""

import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from devcluster.cluster import EmbeddedCluster, Options
from devcluster.node import tenants
from devcluster.node.private_files import change_owner
from devcluster.node.tenant_process import running_in
from devcluster.node.tenants import Tenants
from devcluster.node.uids import NoUidsError
from tests.cluster.devcluster.node.test_sandboxes import (
    container_status,
    create_sandbox,
    create_secret,
    fetch,
    folder_of,
    process_of,
    tenants_root,
    wait_ready,
)
from tests.support.event_loop import run_in_loop
from tests.support.rest import RefusedError
from tests.support.standin_api import APPS, CLUSTERS, CORE, Api, administrator_of
from tests.support.waiting import wait_for

NOBODY = 65534
needs_uids = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give tenants separate users")


def quick(state_dir: Path, **changes: Any) -> Options:
    return Options(state_dir=state_dir, **{"running_after_s": 0, "secret_after_s": 0, **changes})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with EmbeddedCluster(quick(tmp_path_factory.mktemp("tenants"), is_ephemeral=True)) as cluster:
        found = Api(cluster)
        for name in ("mine", "theirs"):
            found.create_cluster(name)
        for name in ("mine", "theirs"):
            found.wait_phase(name, "Running")
            wait_for(partial(found.secret, f"{name}-postgresql-account-postgres"), bool)
        yield found


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can write to."""
    directory = Path(tempfile.mkdtemp(prefix="attack-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def run_in_database(api: Api, name: str, script: str) -> list[str]:
    """Return the lines that a shell of the PostgreSQL server prints, as its superuser can have it."""
    statement = "COPY shell FROM PROGRAM " + sql.Literal(f"PATH=/usr/bin:/bin; {script}; true").as_string(None)
    with psycopg.connect(api.database_url(name)) as connection:
        connection.execute("CREATE TEMPORARY TABLE shell (line text)")
        connection.execute(statement.encode())
        return [str(line) for (line,) in connection.execute("SELECT line FROM shell")]


def data_of(api: Api, name: str) -> Path:
    root = tenants_root(api)
    root = root / "postgres" if (root / "postgres").is_dir() else root
    return next(root.glob(f"default_{name}_*")) / "data"


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def start_sandbox(api: Api, name: str, variables: dict[str, str]) -> None:
    create_secret(api, name, DATABASE_URL=api.database_url("mine").partition("?")[0], **variables)
    create_sandbox(api, name, env=[], envFrom=[{"secretRef": {"name": f"{name}-env"}}])


def some_library() -> str:
    return str(next(path for path in Path("/lib").glob("*-linux-gnu/libanl.so*") if path.exists()))


@pytest.mark.parametrize("attack", ["warnings", "path", "startup", "home", "user-base"])
def test_variable_starts_no_program(api, open_directory, attack):
    trace, package = open_directory / "trace", open_directory / "python"
    package.mkdir()
    code = f"open({str(trace)!r}, 'a').write('seen')\n"
    for name in ("sitecustomize.py", "usercustomize.py", "psycopg.py", "json.py", "antigravity.py", "startup.py"):
        (package / name).write_text(code)
    (package / "lib/python3.11/site-packages").mkdir(parents=True)
    (package / "lib/python3.11/site-packages/usercustomize.py").write_text(code)
    variables = {
        "warnings": {"PYTHONWARNINGS": "all:0:antigravity.x::", "BROWSER": f"/bin/sh -c 'id > {trace}' #%s"},
        "path": {"PYTHONPATH": str(package)},
        "startup": {"PYTHONSTARTUP": str(package / "startup.py"), "PYTHONINSPECT": "1"},
        "home": {"PYTHONHOME": str(package)},
        "user-base": {"PYTHONUSERBASE": str(package)},
    }[attack]
    start_sandbox(api, attack, variables)
    wait_ready(api, attack)
    assert not trace.exists()
    assert set(variables) <= set(fetch(api, attack, "/env")[1].split())


def test_library_of_the_tenant_is_not_loaded_by_root(api):
    library = some_library()
    start_sandbox(api, "preload", {"LD_PRELOAD": library})
    wait_ready(api, "preload")
    assert Path(library).name not in Path(f"/proc/{process_of(api, 'preload')}/maps").read_text()


@needs_uids
def test_every_tenant_has_its_own_user_without_rights(api):
    for name in ("first", "second"):
        start_sandbox(api, name, {})
        wait_ready(api, name)
    postmasters = [int((data_of(api, name) / "postmaster.pid").read_text().split()[0]) for name in ("mine", "theirs")]
    uids = set()
    for pid in (process_of(api, "first"), process_of(api, "second"), *postmasters):
        status = status_of(pid)
        found = set(status["Uid"].split()) | set(status["Gid"].split()) | set(status["Groups"].split())
        assert len(found) == 1
        assert not found & {"0", str(NOBODY)}
        assert (status["NoNewPrivs"], int(status["CapPrm"], 16), int(status["CapEff"], 16)) == ("1", 0, 0)
        uids |= found
    assert len(uids) == 4


@needs_uids
def test_database_superuser_reads_nobody_elses_files(api):
    state_dir, victim = api.cluster.options.state_dir, data_of(api, "theirs")
    start_sandbox(api, "neighbor", {})
    wait_ready(api, "neighbor")
    private = [
        victim / "pg_hba.conf",
        victim.parent / "instance.json",
        victim.parent / "postgres.log",
        data_of(api, "mine").parent / "instance.json",
        folder_of(api, "neighbor") / "sandbox.log",
        folder_of(api, "neighbor") / "home",
        state_dir / "kubeconfig",
        state_dir / "uids.json",
        state_dir / "identity.json",
        state_dir / "pki" / "ca.key",
        state_dir / "apiserver" / "objects.sqlite3",
        Path(f"/proc/{os.getpid()}/environ"),
        Path(f"/proc/{process_of(api, 'neighbor')}/environ"),
        Path(f"/proc/{process_of(api, 'neighbor')}/mem"),
        Path(f"/proc/{(victim / 'postmaster.pid').read_text().split()[0]}/environ"),
        next(victim.parent.parent.glob("template-*")) / "pg_hba.conf",
    ]
    assert all(path.exists() for path in private)
    script = "; ".join(f"(ls {path} && head -c 1 {path}) >/dev/null 2>&1 && echo {path}" for path in private)
    assert run_in_database(api, "mine", f"echo started; {script}") == ["started"]


@needs_uids
def test_database_superuser_writes_no_template_and_no_parent(api):
    template = next(data_of(api, "mine").parent.parent.glob("template-*"))
    folders = [template, template / "base", data_of(api, "mine").parent, template.parent, template.parent / "sandboxes"]
    script = "; ".join(f"touch {folder}/x 2>/dev/null && echo {folder}" for folder in folders)
    written = f"(echo 'host all all 0.0.0.0/0 trust' > {template}/pg_hba.conf) 2>/dev/null && echo template"
    assert run_in_database(api, "mine", f"echo started; {script}; {written}") == ["started"]
    assert "trust" not in (template / "pg_hba.conf").read_text()
    assert {path.lstat().st_uid for path in template.rglob("*")} == {0}


@needs_uids
def test_database_superuser_signals_no_neighbor(api):
    start_sandbox(api, "target", {})
    wait_ready(api, "target")
    pid = process_of(api, "target")
    assert run_in_database(api, "mine", f"echo started; kill -9 {pid} {os.getpid()} 2>/dev/null && echo yes") == [
        "started"
    ]
    assert process_of(api, "target") == pid


@needs_uids
@pytest.mark.parametrize("trap", ["ln -s /etc/passwd postmaster.pid", "mkfifo postmaster.pid"])
def test_server_starts_whatever_its_superuser_left_in_the_data(api, trap):
    name = f"trap-{trap.split()[0]}"
    api.create_cluster(name)
    api.wait_phase(name, "Running")
    before = Path("/etc/passwd").stat()
    data = data_of(api, name)
    assert run_in_database(api, name, f"cd {data}; rm postmaster.pid; {trap}; echo done") == ["done"]
    assert api.operate(f"{name}-restart", "Restart", name) == "Succeed"
    assert api.query(name, "SELECT 1") == 1
    after = Path("/etc/passwd").stat()
    assert (after.st_uid, after.st_mode, after.st_mtime) == (before.st_uid, before.st_mode, before.st_mtime)


@needs_uids
def test_deletion_follows_no_link_of_the_tenant(api, tmp_path):
    api.create_cluster("linked")
    api.wait_phase("linked", "Running")
    data = data_of(api, "linked")
    (tmp_path / "kept").write_text("kept")
    run_in_database(api, "linked", f"cd {data}; ln -s {tmp_path} link; ln -s {tmp_path}/kept base/link")
    api.delete(CLUSTERS, "clusters", "linked")
    api.wait_phase("linked", "gone")
    wait_for(data.parent.exists, lambda seen: not seen)
    assert (tmp_path / "kept").read_text() == "kept"


@needs_uids
def test_process_that_left_its_session_ends_with_its_cluster(api):
    api.create_cluster("daemon")
    api.wait_phase("daemon", "Running")
    run_in_database(api, "daemon", "(setsid sh -c 'sleep 1000 & exec sleep 1001' >/dev/null 2>&1 </dev/null &)")
    uid = data_of(api, "daemon").stat().st_uid
    users = range(uid, uid + 1)
    wait_for(lambda: sum(b"sleep" in command_of(pid) for pid in running_in(users)), lambda seen: seen == 2)
    api.delete(CLUSTERS, "clusters", "daemon")
    api.wait_phase("daemon", "gone")
    assert running_in(users) == {}
    owners = json.loads((api.cluster.options.state_dir / "uids.json").read_text())["owners"]
    assert uid not in owners.values()


@needs_uids
def test_process_that_left_its_session_ends_with_its_pod(api):
    start_sandbox(api, "forker", {})
    wait_ready(api, "forker")
    uid = int(status_of(process_of(api, "forker"))["Uid"].split()[0])
    left = subprocess.Popen(["/bin/sleep", "1000"], user=uid, group=uid, extra_groups=[], start_new_session=True)
    assert left.pid in running_in(range(uid, uid + 1))
    before = process_of(api, "forker")
    api.delete(APPS, "statefulsets", "forker")
    wait_for(lambda: api.get(CORE, "pods", "forker-0"), lambda seen: seen is None)
    left.wait(5)
    assert running_in(range(uid, uid + 1)) == {}
    assert not Path(f"/proc/{before}").exists()
    start_sandbox(api, "after", {})
    wait_ready(api, "after")
    assert int(status_of(process_of(api, "after"))["Uid"].split()[0]) != uid


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_log_is_no_path_of_an_annotation(api, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("not for you")
    create_sandbox(api, "annotated")
    pod = wait_for(lambda: api.get(CORE, "pods", "annotated-0"), bool)
    api.patch(CORE, "pods", "annotated-0", {"metadata": {"annotations": {"devcluster/log-file": str(secret)}}})
    path = f"{CORE}/namespaces/default/pods/annotated-0/log"
    with pytest.raises(RefusedError, match="is waiting to start"):
        api.call("GET", path)
    create_secret(api, "annotated", DATABASE_URL=api.database_url("mine").partition("?")[0])
    wait_ready(api, "annotated")
    assert api.get(CORE, "pods", "annotated-0")["metadata"]["uid"] == pod["metadata"]["uid"]
    rest = administrator_of(api.cluster)
    assert rest.get(path).text.startswith("Listening on ")
    rest.close()


@needs_uids
def test_state_of_an_earlier_version_is_migrated(open_directory):
    """Version 0.1.0 ran every server as nobody, in directories that others may list."""
    state_dir = open_directory / "cluster"
    with EmbeddedCluster(quick(state_dir)) as cluster:
        api = Api(cluster)
        api.create_cluster("old")
        api.wait_phase("old", "Running")
        with psycopg.connect(api.database_url("old")) as connection:
            connection.execute("CREATE TABLE notes AS SELECT 'still here' AS note")
        data = data_of(api, "old")
    change_owner(data, data.stat().st_uid, NOBODY)
    (state_dir / "uids.json").unlink()
    for path in (state_dir, state_dir / "pki", state_dir / "apiserver", data.parent, data.parent.parent):
        path.chmod(0o755)
    for path in (state_dir / "kubeconfig", state_dir / "identity.json", data.parent / "postgres.log"):
        path.chmod(0o644)
    with EmbeddedCluster(quick(state_dir, is_ephemeral=True)) as cluster:
        api = Api(cluster)
        wait_for(lambda: note_in(api), lambda seen: seen == "still here")
        owners = {path.lstat().st_uid for path in data.rglob("*")}
        assert owners == {data.stat().st_uid}
        assert not owners & {0, NOBODY}
        assert list(open_to_others(state_dir)) == []


def note_in(api: Api) -> object:
    try:
        return api.query("old", "SELECT note FROM notes")
    except psycopg.OperationalError:
        return None


def open_to_others(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield what other users could read, list or write; passing through a directory is no right."""
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & (0o066 if path.is_dir() else 0o077):
            yield str(path), oct(status.st_mode)


def test_nothing_in_the_state_directory_is_open_to_others(api):
    start_sandbox(api, "closed", {})
    wait_ready(api, "closed")
    assert list(open_to_others(api.cluster.options.state_dir)) == []
    assert list(open_to_others(tenants_root(api))) == []


@needs_uids
def test_two_clusters_share_no_user(api, tmp_path):
    with EmbeddedCluster(quick(tmp_path / "one", postgres="none")) as cluster:
        other = Api(cluster)
        base = json.loads((other.cluster.options.state_dir / "uids.json").read_text())["base"]
    assert base != json.loads((api.cluster.options.state_dir / "uids.json").read_text())["base"]


@pytest.fixture
def without_uids(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user who isn't root."""

    def refuse(state_dir: Path) -> None:
        raise NoUidsError("this process doesn't run as root")

    monkeypatch.setattr(tenants, "open_uids", refuse)


def test_pods_of_other_people_are_refused_where_the_user_is_shared(tmp_path, without_uids):
    def refuse(labels: Mapping[str, str]) -> str:
        return "not on a shared user" if labels["app.kubernetes.io/instance"] == "others" else ""

    with EmbeddedCluster(quick(tmp_path, postgres="none", refuse=refuse)) as cluster:
        api = Api(cluster)
        assert "Each of them can read what that user can read" in cluster.running.problem
        for name in ("own", "others"):
            create_secret(api, name, DATABASE_URL="postgresql://u:p@127.0.0.1:9/d")
            create_sandbox(api, name)
        waiting = wait_for(
            lambda: container_status(api, "others-0").get("state", {}).get("waiting", {}),
            lambda seen: seen.get("message"),
        )
        assert waiting == {"reason": "CreateContainerConfigError", "message": "not on a shared user"}
        wait_for(lambda: container_status(api, "own-0").get("state", {}), lambda seen: "running" in seen)
        assert list((tenants_root(api) / "sandboxes").glob("default_others-0_*")) == []


def test_database_of_other_people_does_not_start_where_the_user_is_shared(tmp_path, without_uids):
    sharing = Tenants(tmp_path, lambda labels: "not on a shared user" if labels else "")
    sharing.open()
    assert run_in_loop(lambda: sharing.refusal({"project": "others"})) == "not on a shared user"
    assert run_in_loop(lambda: sharing.refusal({})) == ""


@needs_uids
def test_root_without_the_right_to_change_users_runs_no_database(tmp_path, without_uids):
    with EmbeddedCluster(quick(tmp_path)) as cluster:
        assert cluster.running.problem.startswith("PostgreSQL must not run as root, and this process doesn't")
