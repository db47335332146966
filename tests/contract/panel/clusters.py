"""What the panel contract runs on: the embedded cluster, or a real API server with the stand-ins as its clients."""

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from devcluster.apiserver.http.server import KubeblocksVersion
from devcluster.client.client import CONFIG_MAPS, Connection, KubeClient, NotFoundError
from devcluster.cluster import EmbeddedCluster, Options
from devcluster.controllers.kubeblocks.operator import Timing
from devcluster.controllers.scenarios import CONFIG_MAP, NAMESPACE, Scenario
from devcluster.stand_ins import StandInOptions, run_stand_ins
from tests.contract.controlplane import ControlPlane
from tests.contract.definitions import DEFINITIONS, read_definitions
from tests.support.kubeconfig import load_kubeconfig
from tests.support.rest import Access, Rest

_REDUCED = Path(__file__).resolve().parents[3] / "devcluster" / "crds"
_START_DEADLINE_S = 60.0
RUNNING_AFTER_S, SECRET_AFTER_S = 0.2, 0.1


class PanelCluster(Protocol):
    """A cluster with KubeBlocks or its stand-in."""

    @property
    def kubeconfig(self) -> Path: ...

    @property
    def url(self) -> str: ...

    def set_scenario(self, name: str, scenario: Scenario | None) -> None: ...


class StandInCluster:
    """The stand-ins, in a thread, as clients of the API server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path, access: Access, state_dir: Path, *, has_controllers: bool) -> None:
        self.kubeconfig, self.url = kubeconfig, access.url
        self._options = StandInOptions(
            state_dir=state_dir,
            timing=Timing(RUNNING_AFTER_S, SECRET_AFTER_S),
            is_ephemeral=True,
            with_statefulsets=not has_controllers,
        )
        self._connection = Connection(access.url, access.token or "", access.ssl_context())
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stand-ins", daemon=True)
        self._error: BaseException | None = None

    def _run(self) -> None:
        async def announce(problem: str) -> None:
            self._is_up.set()

        def connect(name: str) -> KubeClient:
            return KubeClient(self._connection, user_agent=f"devcluster-{name}")

        serving = run_stand_ins(self._options, connect, stop_event=self._stop, on_ready=announce)
        try:
            self._loop.run_until_complete(serving)
        except Exception as error:  # noqa: BLE001 - carried over to the thread that waits
            self._error = error
        finally:
            self._is_up.set()

    def __enter__(self) -> "StandInCluster":
        self._thread.start()
        if not self._is_up.wait(_START_DEADLINE_S) or self._error:
            raise RuntimeError("The stand-ins did not start.") from self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_DEADLINE_S)
        self._loop.close()

    def set_scenario(self, name: str, scenario: Scenario | None) -> None:
        asyncio.run_coroutine_threadsafe(self._set_scenario(name, scenario), self._loop).result(10)

    async def _set_scenario(self, name: str, scenario: Scenario | None) -> None:
        data = {name: scenario.to_yaml() if scenario else None}
        async with KubeClient(self._connection, user_agent="contract") as client:
            try:
                await client.merge_patch(CONFIG_MAPS, CONFIG_MAP, NAMESPACE, {"data": data})
            except NotFoundError:
                if scenario:
                    await client.create(CONFIG_MAPS, {"metadata": {"name": CONFIG_MAP}, "data": data}, NAMESPACE)
        # The stand-in receives it through its watch.
        await asyncio.sleep(0.3)


@contextmanager
def open_cluster(state_dir: Path, kubeblocks: KubeblocksVersion) -> Iterator[PanelCluster]:
    """Start or connect to the target of the environment (as targets.py does), with a release of KubeBlocks."""
    kubeconfig, assets = os.environ.get("CONTRACT_KUBECONFIG"), os.environ.get("KUBEBUILDER_ASSETS")
    with contextlib.ExitStack() as stack:
        if kubeconfig:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="contract-"))
            access = load_kubeconfig(Path(kubeconfig), Path(scratch))
            install_definitions(access, kubeblocks)
            yield stack.enter_context(StandInCluster(Path(kubeconfig), access, state_dir, has_controllers=True))
        elif assets:
            plane = stack.enter_context(ControlPlane(Path(assets)))
            access = Access(plane.url, token=plane.admin_token, ca_file=str(plane.ca_file))
            install_definitions(access, kubeblocks)
            yield stack.enter_context(
                StandInCluster(plane.kubeconfig, access, state_dir, has_controllers=plane.has_controllers)
            )
        else:
            options = Options(
                state_dir=state_dir,
                kubeblocks=kubeblocks,
                running_after_s=RUNNING_AFTER_S,
                secret_after_s=SECRET_AFTER_S,
                is_ephemeral=True,
            )
            yield stack.enter_context(EmbeddedCluster(options))


def install_definitions(access: Access, kubeblocks: KubeblocksVersion) -> None:
    """Install KubeBlocks' definitions: the full ones that KUBEBLOCKS_CRDS has, else the project's reduced ones."""
    full = os.environ.get("KUBEBLOCKS_CRDS")
    directory = Path(full) / kubeblocks if full else _REDUCED / kubeblocks
    rest = Rest(access)
    try:
        for definition in read_definitions(directory).values():
            name = definition["metadata"]["name"]
            if rest.get(f"{DEFINITIONS}/{name}").status == 404:
                definition["spec"].pop("conversion", None)  # no webhook here
                rest.create(DEFINITIONS, definition)
        for definition in read_definitions(directory).values():
            spec = definition["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    _wait_until_served(rest, f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}")
    finally:
        rest.close()


def _wait_until_served(rest: Rest, listing: str) -> None:
    from tests.contract.conftest import eventually

    eventually(lambda: rest.get(listing), lambda answer: answer.status == 200)
