"""Fixtures that several parts of the suite share: an embedded cluster with real databases, and a project on it."""

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster.cluster import EmbeddedCluster, Options
from devcluster.controllers.scenarios import Scenario
from projects.domain.states import Phase
from projects.models import Project
from projects.services import queue as scheduling
from projects.services.provisioning import add_project, request_provision
from provisioning import heartbeats
from provisioning.inventory.adoption import list_clusters
from provisioning.kube.client import disconnect
from provisioning.reconcile.loop import run_pass

_numbers = itertools.count(1)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the browser tests out where there is no browser, and say so."""
    if CHROMIUM is None:
        skip = pytest.mark.skip(reason="There is no Chromium on the PATH: apt install chromium.")
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def forget_other_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a database of its own: what a process remembers of another one is not true of it."""
    monkeypatch.setattr(heartbeats, "_beaten_at", None)
    scheduling.pk_of.cache_clear()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def embedded_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """An embedded cluster with KubeBlocks 1.0.2, real PostgreSQL and real sandboxes, for the whole run."""
    options = Options(
        state_dir=tmp_path_factory.mktemp("cluster"), running_after_s=0.2, secret_after_s=0.1, is_ephemeral=True
    )
    with EmbeddedCluster(options) as cluster:
        yield cluster


@pytest.fixture
def use_cluster(settings) -> Iterator[Callable[[Path], None]]:
    """Point the panel at the cluster of a kubeconfig."""

    def use(kubeconfig: Path) -> None:
        settings.KUBECONFIG = str(kubeconfig)
        disconnect()

    yield use
    disconnect()


@pytest.fixture
def cluster(embedded_cluster: EmbeddedCluster, use_cluster) -> Iterator[EmbeddedCluster]:
    """The shared embedded cluster, in its usual mood: scenarios and faults of a test end with it."""
    use_cluster(embedded_cluster.kubeconfig)
    names = []
    set_scenario = embedded_cluster.set_scenario

    def remember(name: str, scenario: Scenario | None) -> None:
        names.append(name)
        set_scenario(name, scenario)

    embedded_cluster.set_scenario = remember  # type: ignore[method-assign]
    yield embedded_cluster
    embedded_cluster.set_scenario = set_scenario  # type: ignore[method-assign]
    embedded_cluster.faults.clear()
    for name in names:
        set_scenario(name, None)


@pytest.fixture
def unique_name() -> str:
    """A project name that no other test uses; its objects' names hold it whole."""
    return f"p{next(_numbers)}x"


def follow(project: Project, until: Callable[[Project], object], timeout_s: float = 30.0) -> Project:
    """Run passes of the project, as the queue would, until `until` says so; fail with its last words otherwise."""
    end = time.monotonic() + timeout_s
    while True:
        run_pass(project.pk)
        project = Project.objects.with_resources().get(pk=project.pk)
        if until(project):
            return project
        if time.monotonic() > end:
            pytest.fail(f"{project.name} is {project.phase} after {timeout_s} s: {project.message}")
        time.sleep(0.05)


def is_running(project: Project) -> bool:
    return project.phase == Phase.RUNNING


def available_clusters() -> str:
    """Return what a message says of the clusters that there are: of a shared one, the first six and how many more."""
    names = sorted(cluster.name for cluster in list_clusters("default"))
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"Available clusters: {', '.join(names[:6])}{more}"


@pytest.fixture
def provisioned(cluster: EmbeddedCluster, db, unique_name: str) -> Project:
    """A project whose database and sandbox run on the embedded cluster."""
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    return follow(project, is_running)
