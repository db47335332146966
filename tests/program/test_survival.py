"""The panel's processes are killed at random moments: in the end, every project is Running, with one database each."""

import contextlib
import random
import time

import psutil
import psycopg
import pytest

from devcluster.cluster import EmbeddedCluster, Options
from projects.domain.connection import parse_url
from provisioning.kube.client import connect
from provisioning.kube.kinds import STATEFULSET, cluster_kind
from provisioning.objects.names import PROJECT_ID_LABEL
from tests.support.processes import Panel

PROJECTS = [f"s{number}" for number in range(4)]


@pytest.fixture
def slow_cluster(tmp_path, use_cluster):
    """Databases become Running after three seconds, their Secrets follow half a second later."""
    options = Options(state_dir=tmp_path / "cluster", running_after_s=3.0, secret_after_s=3.5, is_ephemeral=True)
    with EmbeddedCluster(options) as cluster:
        use_cluster(cluster.kubeconfig)
        yield cluster


@pytest.fixture
def panel(tmp_path, slow_cluster):
    with Panel(tmp_path / "panel", slow_cluster.kubeconfig) as panel:
        yield panel


def assert_one_of_each(panel):
    """Assert that each project has exactly one Cluster and one sandbox, with rows, and that the credentials connect."""
    client = connect()
    clusters = client.list_objects(cluster_kind(client.cluster_api_version()), "default", labels=PROJECT_ID_LABEL)
    sandboxes = client.list_objects(STATEFULSET, "default", labels=PROJECT_ID_LABEL)
    rows = panel.status()
    assert sorted(row["project"] for row in rows) == sorted(PROJECTS)
    assert sorted(item["metadata"]["name"] for item in clusters) == sorted(row["database"]["cluster"] for row in rows)
    assert sorted(item["metadata"]["name"] for item in sandboxes) == sorted(row["sandbox"]["name"] for row in rows)
    assert {row["database"]["credentials"] for row in rows} == {"captured"}
    assert all(row["database"]["verified"] for row in rows)


def test_projects_run_within_a_minute_without_a_watcher(panel):
    panel.start("qcluster")
    panel.run("provision", *PROJECTS)
    took_s = panel.wait_until(lambda: panel.running() == len(PROJECTS), "all Running", 75)
    assert took_s < 3.5 + 60
    assert_one_of_each(panel)
    doctor = panel.run("doctor", check=False)
    assert "watch" in doctor.stdout


@pytest.mark.parametrize("victims", [("qcluster",), ("watch",), ("qcluster", "watch")], ids="+".join)
def test_killed_panel_continues_after_a_restart(panel, victims):
    children = {name: panel.start(name) for name in ("qcluster", "watch")}
    panel.run("provision", *PROJECTS)
    panel.wait_until(
        lambda: panel.count("SELECT count(*) FROM projects_databasecluster WHERE applied_at IS NOT NULL") > 1,
        "a few Clusters applied",
        30,
    )
    for name in victims:
        panel.kill(children[name])
    for name in victims:
        panel.start(name)
    panel.wait_until(lambda: panel.running() == len(PROJECTS), "all Running", 100)
    assert_one_of_each(panel)


def test_killed_queue_processes_lose_no_project(panel):
    """Processes of the queue are killed at random (with a seed): their tasks are delivered again, and no work is done
    twice.
    """
    chance = random.Random(20261122)
    queue = panel.start("qcluster")
    panel.start("watch")
    panel.run("provision", *PROJECTS)
    for _ in range(4):
        children = psutil.Process(queue.pid).children(recursive=True)
        if children:
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(children).kill()
        time.sleep(chance.uniform(0.2, 1.5))
    # A killed process may keep the lock of the task queue, so that django-q waits forever: restart it, as the
    # supervisor does.
    panel.kill(queue)
    panel.start("qcluster")
    panel.wait_until(lambda: panel.running() == len(PROJECTS), "all Running", 100)
    assert_one_of_each(panel)


def test_no_password_is_in_database_queue_or_logs(panel, tmp_path):
    panel.start("qcluster")
    panel.start("watch")
    assert panel.run("provision", *PROJECTS, "--wait", "--json").returncode == 0
    name = PROJECTS[0]
    url = panel.run("credentials", name, "--reveal", "--reason", "test", "--format", "url").stdout.strip()
    with psycopg.connect(url) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
    urls = [
        panel.run("credentials", project, "--reveal", "--reason", "test", "--format", "url").stdout.strip()
        for project in PROJECTS
    ]
    written = panel.everything_written()
    assert PROJECTS[0].encode() in written
    for url in urls:
        password = parse_url(url).password
        assert len(password) > 8
        assert password.encode() not in written
