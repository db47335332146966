"""The panel contract's cluster: the same tests on the embedded one and on a real API server."""

from collections.abc import Iterator

import pytest

from tests.contract.panel.clusters import PanelCluster, open_cluster


@pytest.fixture(scope="session")
def panel_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PanelCluster]:
    with open_cluster(tmp_path_factory.mktemp("panel"), "v1.0.2") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def legacy_panel_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PanelCluster]:
    with open_cluster(tmp_path_factory.mktemp("panel-legacy"), "v0.9.5") as cluster:
        yield cluster


@pytest.fixture
def scenarios() -> list[str]:
    """Names of the scenarios that a test has set, to be removed after it."""
    return []


@pytest.fixture
def cluster(panel_cluster: PanelCluster, use_cluster, scenarios: list[str]) -> Iterator[PanelCluster]:
    """The contract's cluster, in its usual mood after each test."""
    use_cluster(panel_cluster.kubeconfig)
    yield panel_cluster
    for name in scenarios:
        panel_cluster.set_scenario(name, None)


@pytest.fixture
def set_scenario(cluster: PanelCluster, scenarios: list[str]):
    """Make the KubeBlocks stand-in late, wrong or stuck for the Clusters that match, until the end of the test."""

    def set_it(name, scenario):
        scenarios.append(name)
        cluster.set_scenario(name, scenario)

    return set_it
