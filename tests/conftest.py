"""Fixtures for all tests: an embedded cluster with real databases, and a project on it; markers and the distribution to
workers.
"""

import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from devcluster.cluster import EmbeddedCluster, Options
from devcluster.controllers.scenarios import CONFIG_MAP, NAMESPACE
from projects.models import Project
from projects.services import queue as scheduling
from projects.services.provisioning import add_project, request_provision
from provisioning import heartbeats, proxy_reports
from provisioning.kube.client import disconnect
from tests.support.passes import follow, is_running

TESTS = Path(__file__).resolve().parent
# With pytest -n, folders with slow files run first, so that no worker gets a slow file at the end.
SLOW_FOLDERS = frozenset({"program", "faults", "cluster", "contract", "browser"})
_numbers = itertools.count(1)


def folder_of(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives whole files to each worker. The tests of tests/program go to one worker, so they never run at the same
    time.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # xdist would begin with the files that have most tests

    def _split_scope(self, nodeid: str) -> str:
        return "tests/program" if nodeid.startswith("tests/program/") else super()._split_scope(nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Mark each test with the name of its folder: `-m "not cluster"` leaves out tests/cluster."""
    for item in items:
        item.add_marker(folder_of(item))
    yield
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: folder_of(item) not in SLOW_FOLDERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def forget_other_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own database rows, so a process must not remember those of another test."""
    monkeypatch.setattr(heartbeats, "_beaten_at", None)
    monkeypatch.setattr(proxy_reports, "_counter", proxy_reports.Counter())
    scheduling.pk_of.cache_clear()


@pytest.fixture(scope="session")
def repository() -> Path:
    return TESTS.parent


@pytest.fixture(scope="session")
def embedded_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """An embedded cluster with KubeBlocks 1.0.2, real PostgreSQL and real sandboxes, for the whole session."""
    options = Options(
        state_dir=tmp_path_factory.mktemp("cluster"), running_after_s=0.2, secret_after_s=0.1, is_ephemeral=True
    )
    with EmbeddedCluster(options) as cluster:
        yield cluster


@pytest.fixture
def use_cluster(settings) -> Iterator[Callable[[Path], None]]:
    """Return a function that connects the panel to the cluster of a kubeconfig."""

    def use(kubeconfig: Path) -> None:
        settings.KUBECONFIG = str(kubeconfig)
        disconnect()

    yield use
    disconnect()


@pytest.fixture
def cluster(embedded_cluster: EmbeddedCluster, use_cluster) -> Iterator[EmbeddedCluster]:
    """The embedded cluster of the session. Scenarios and faults that a test sets are removed after it."""
    use_cluster(embedded_cluster.kubeconfig)
    yield embedded_cluster
    embedded_cluster.faults.clear()
    scenarios = embedded_cluster.server.store.get("configmaps", NAMESPACE, CONFIG_MAP)
    for name in (scenarios.parse().get("data") or {}) if scenarios else ():
        embedded_cluster.set_scenario(name, None)


@pytest.fixture
def unique_name() -> str:
    """A project name that no other test uses. Names of objects contain it in full."""
    return f"p{next(_numbers)}x"


@pytest.fixture
def provisioned(cluster: EmbeddedCluster, db, unique_name: str) -> Project:
    """A project whose database and sandbox run on the embedded cluster."""
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    return follow(project, is_running)
