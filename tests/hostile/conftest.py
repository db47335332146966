"""A hostile API server, to which the panel is connected."""

from collections.abc import Iterator

import pytest

from tests.hostile.server import HostileServer, hostile_server
from tests.support.kubeconfig import write_kubeconfig


@pytest.fixture(scope="session")
def _hostile() -> Iterator[HostileServer]:
    with hostile_server() as server:
        yield server


@pytest.fixture
def hostile(_hostile: HostileServer, use_cluster, tmp_path, settings) -> HostileServer:
    settings.KUBE_REQUEST_TIMEOUT_S, _hostile.keeps_open = 0.5, False
    use_cluster(write_kubeconfig(tmp_path / "kubeconfig", {"server": _hostile.url}, {"token": "canary-token"}))
    return _hostile
