"""An API server that a whole panel can run on: KubeBlocks' kinds, and stand-ins for its operator and for the kubelet.

The stand-ins are clients of whatever server the suite runs on, with real PostgreSQL servers and real sandbox processes.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioning.devcluster.client import Connection
from provisioning.devcluster.kubeblocks import Timing
from provisioning.devcluster.pod_status import NODE
from provisioning.devcluster.stand_ins import StandInOptions, connect_to, run_stand_ins
from tests.contract.conftest import eventually
from tests.contract.definitions import DEFINITIONS, read_definitions
from tests.contract.kubeblocks import REDUCED, Release
from tests.contract.rest import Access, Rest
from tests.contract.targets import Target

START_TIMEOUT_S = 30.0


def install_kubeblocks(api: Rest, release: Release) -> None:
    """Install the reduced definitions of a release unless the server has them, and wait until all are served."""
    for definition in read_definitions(REDUCED / release).values():
        answer = api.post(DEFINITIONS, definition)
        assert answer.status in (201, 409), answer.text[:500]
        spec = definition["spec"]
        for version in (version["name"] for version in spec["versions"] if version["served"]):
            listing = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
            eventually(lambda listing=listing: api.get(listing), lambda answer: answer.status == 200)  # type: ignore[misc]


@contextmanager
def stand_ins(target: Target, api: Rest, state_dir: Path) -> Iterator[None]:
    """Run the operator and the kubelet on `target`; skip where there are nodes: real kubelets run Pods there."""
    if not target.has_controllers:
        pytest.skip(f"{target.name} has no controller manager, so nothing makes Pods of StatefulSets")
    names = {str(node["metadata"]["name"]) for node in api.read("/api/v1/nodes")["items"]}
    nodes = sorted(names - {NODE})
    if nodes:
        pytest.skip(f"{target.name} has nodes ({', '.join(nodes[:3])}): stand-ins would get in the way of theirs")
    # The embedded server is alone; a real one comes with the controller manager.
    is_embedded = api.get("/devcluster/faults").status == 200
    options = StandInOptions(
        state_dir=state_dir, timing=Timing(0.2, 0.1), is_ephemeral=True, with_statefulsets=is_embedded
    )
    loop_ready, is_up = threading.Event(), threading.Event()
    control: dict[str, object] = {}

    async def serve() -> None:
        stop_event = asyncio.Event()
        control.update(loop=asyncio.get_running_loop(), stop=stop_event)
        loop_ready.set()

        async def announce(problem: str) -> None:
            control["problem"] = problem
            is_up.set()

        await run_stand_ins(options, connect_to(_connection(target.access)), stop_event=stop_event, on_ready=announce)

    def run() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:  # noqa: BLE001 - carried over to the test's thread
            control["problem"] = f"{type(error).__name__}: {error}"
        finally:
            loop_ready.set()
            is_up.set()

    thread = threading.Thread(target=run, name="stand-ins", daemon=True)
    thread.start()
    try:
        assert is_up.wait(START_TIMEOUT_S), "the stand-ins are not up"
        if control["problem"]:
            pytest.fail(str(control["problem"]))
        yield
    finally:
        loop_ready.wait(START_TIMEOUT_S)
        loop, stop_event = control.get("loop"), control.get("stop")
        if isinstance(loop, asyncio.AbstractEventLoop) and isinstance(stop_event, asyncio.Event) and thread.is_alive():
            loop.call_soon_threadsafe(stop_event.set)
        thread.join(START_TIMEOUT_S)


def _connection(access: Access) -> Connection:
    context: ssl.SSLContext | None = None
    if access.url.startswith("https"):
        context = ssl.create_default_context(cafile=access.ca_file)
        if not access.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if access.client_certificate:
            context.load_cert_chain(access.client_certificate, access.client_key)
    return Connection(access.url, access.token or "", context)
