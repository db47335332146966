"""Runs the stand-ins as clients of an API server: the embedded one, or a real kube-apiserver.

Set `with_statefulsets` only for the embedded server: a real control plane has its own StatefulSet controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devcluster.client.client import KubeClient
from devcluster.controllers.kubeblocks.operator import KubeBlocksStandIn, Timing
from devcluster.controllers.stateful_sets import StatefulSetController
from devcluster.node.kubelet import Kubelet
from devcluster.node.ports import choose_sandbox_host
from devcluster.node.postgres import PostgresServers
from devcluster.node.processes import Children
from devcluster.node.tenants import Refuse, Tenants

STAND_INS = ("kubeblocks", "statefulsets", "kubelet")


@dataclass(frozen=True)
class StandInOptions:
    """Options of the stand-ins; see cluster.Options.

    Without real databases, KubeBlocks writes only the objects of a Cluster that a panel reads: it costs half as much.
    """

    state_dir: Path
    timing: Timing
    postgres: Literal["real", "none"] = "real"
    sandboxes: Literal["process", "simulated", "none"] = "process"
    ready_after_s: float = 0.5
    is_ephemeral: bool = False
    with_statefulsets: bool = True
    refuse: Refuse | None = None


async def run_stand_ins(
    options: StandInOptions,
    connect: Callable[[str], KubeClient],
    *,
    stop_event: asyncio.Event,
    on_ready: Callable[[str], Awaitable[None]],
    pod_logs: MutableMapping[str, Path] | None = None,
) -> None:
    """Run until `stop_event` is set, then end all processes.

    `connect(name)` returns the client of each of STAND_INS. `on_ready(problem)` is called after the first list of all
    resources. `problem` says, in sentences, that this machine can't run PostgreSQL or that tenants share a user; else
    it is "". `pod_logs` gets the log file of each Pod, by the Pod's uid. OSError if the state directory can't be used.
    """
    async with AsyncExitStack() as stack:
        tenants = Tenants(options.state_dir, options.refuse)
        await asyncio.to_thread(tenants.open)
        children = Children()
        await children.open(tenants.end_command())
        stack.push_async_callback(children.close)
        clients = {name: await stack.enter_async_context(connect(name)) for name in STAND_INS}
        postgres: PostgresServers | None = None
        if options.postgres == "real":
            postgres = PostgresServers(tenants, children, on_exit=lambda name: operator.server_exited(name))
            await postgres.open()
            stack.push_async_callback(_close_servers, postgres, tenants, is_ephemeral=options.is_ephemeral)
        operator = KubeBlocksStandIn(
            clients["kubeblocks"], postgres, options.timing, has_all_objects=options.postgres == "real"
        )
        parts: list[KubeBlocksStandIn | StatefulSetController | Kubelet] = [operator]
        if options.with_statefulsets:
            parts.append(StatefulSetController(clients["statefulsets"]))
        if options.sandboxes != "none":
            kubelet = Kubelet(
                clients["kubelet"],
                children,
                tenants,
                {} if pod_logs is None else pod_logs,
                host=choose_sandbox_host(),
                mode=options.sandboxes,
                ready_after_s=options.ready_after_s,
            )
            stack.push_async_callback(kubelet.close)
            parts.append(kubelet)
        problems = [postgres.unavailable if postgres else "", tenants.explain_shared_user()]
        await _run_parts(parts, stop_event, lambda: on_ready("\n".join(filter(None, problems))))


async def _close_servers(postgres: PostgresServers, tenants: Tenants, *, is_ephemeral: bool) -> None:
    await postgres.close()
    if is_ephemeral:
        tenants.discard()


async def _run_parts(
    parts: list[KubeBlocksStandIn | StatefulSetController | Kubelet],
    stop_event: asyncio.Event,
    on_ready: Callable[[], Awaitable[None]],
) -> None:
    tasks = [asyncio.create_task(part.run(), name=type(part).__name__) for part in parts]
    stopping = asyncio.create_task(_wait_for_all([stop_event]))
    readying = asyncio.create_task(_wait_for_all([part.ready for part in parts]))
    try:
        await asyncio.wait({readying, stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if readying.done():
            await on_ready()
            await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                await task  # it has failed: raise its exception
    finally:
        for task in (stopping, readying, *tasks):
            task.cancel()
        await asyncio.gather(stopping, readying, *tasks, return_exceptions=True)


async def _wait_for_all(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
