"""The panel contract's cluster: the same tests on the embedded one and on a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from provisioning.kube.client import Kube, connect
from provisioning.kube.config import load_access
from provisioning.kube.kinds import POD
from tests.contract.conftest import eventually
from tests.contract.panel import steps
from tests.contract.panel.account import install, token_of, write_account
from tests.contract.panel.clusters import PanelCluster, open_cluster
from tests.support.kubeconfig import load_kubeconfig
from tests.support.rest import Access, Rest


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
    """Names of the scenarios that a test has set. They are removed after it."""
    return []


@pytest.fixture(scope="session")
def access(panel_cluster: PanelCluster, tmp_path_factory: pytest.TempPathFactory) -> Access:
    return load_kubeconfig(panel_cluster.kubeconfig, tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="session")
def api(access: Access) -> Iterator[Rest]:
    """A client with the permissions of an administrator."""
    rest = Rest(access)
    yield rest
    rest.close()


@pytest.fixture(scope="session")
def account_kubeconfig(panel_cluster: PanelCluster, api: Rest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the panel's ServiceAccount, with the Roles of deploy/ in the namespace `default`."""
    namespace = api.create("/api/v1/namespaces", {"metadata": {"generateName": "contract-account-"}})
    panel = namespace["metadata"]["name"]
    install(api, panel, "default")
    config = yaml.safe_load(panel_cluster.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    authority = cluster.get("certificate-authority")
    if authority:
        cluster["certificate-authority"] = str(panel_cluster.kubeconfig.parent / authority)
    return write_account(tmp_path_factory.mktemp("account"), cluster, token_of(api, panel))


@pytest.fixture
def cluster(
    panel_cluster: PanelCluster, account_kubeconfig: Path, use_cluster, settings, scenarios: list[str]
) -> Iterator[PanelCluster]:
    """The contract's cluster, for the panel's ServiceAccount. After each test, its scenarios are removed."""
    settings.KUBECONFIG = str(panel_cluster.kubeconfig)
    steps.administrator = Kube(load_access())
    use_cluster(account_kubeconfig)
    # On a real server, a new Role takes effect after a moment.
    eventually(lambda: connect().may("list", POD, "default"), bool)
    yield panel_cluster
    for name in scenarios:
        panel_cluster.set_scenario(name, None)


@pytest.fixture
def set_scenario(cluster: PanelCluster, scenarios: list[str]):
    """Set a scenario of the KubeBlocks stand-in for matching Clusters, until the end of the test."""

    def set_it(name, scenario):
        scenarios.append(name)
        cluster.set_scenario(name, scenario)

    return set_it
