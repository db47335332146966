"""A stand-in for the kubelet and the scheduler: runs the panel's Pods as local processes, or simulates them.

It runs only Pods with the label `app.kubernetes.io/managed-by: controlpanel`. The process is sandbox_app.py, whatever
image the Pod names, with exactly the environment of the Pod, a separate user and a port on 127.0.0.2. Services that
select such a Pod get annotations with the address of each port. Simulated Pods run nothing, become Ready after a delay,
and are annotated as simulated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import tempfile
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import aiohttp

from devcluster.apiserver.http.certificates import write_private
from devcluster.client.client import CONFIG_MAPS, PODS, SECRETS, SERVICES, ApiError, KubeClient, NotFoundError, Object
from devcluster.client.reflector import Key, Reflector, Workqueue, key_of
from devcluster.node.pod_environment import MissingSourceError, resolve_environment
from devcluster.node.pod_status import NODE, ContainerView, build_status
from devcluster.node.ports import choose_port, is_free, join_address
from devcluster.node.private_files import make_private, remove_tree
from devcluster.node.probes import follow_readiness
from devcluster.node.processes import Child, Children, end_stray
from devcluster.node.registration import Node
from devcluster.node.tenants import Tenant, Tenants

log = logging.getLogger(__name__)

SELECTOR = "app.kubernetes.io/managed-by=controlpanel"
ENDPOINT_ANNOTATION = "controlpanel.fullstackagent.io/endpoint."
SIMULATED_ANNOTATION = "devcluster/simulated"
PORTS = range(11000, 21000)
STARTER = Path(__file__).with_name("sandbox_start.py")
# Of a previous run, this version's or that of 0.1.0.
STRAYS = (str(STARTER), "devcluster.node.sandbox_app")
TENANT_PREFIX = "pod/"
REFUSED_AGAIN_S = 5.0
# The real kubelet waits 10 s to 5 min before a restart.
FIRST_BACK_OFF_S, MAX_BACK_OFF_S = 2.0, 30.0

Mode = Literal["process", "simulated"]


@dataclass
class _Run:
    """A Pod on this node, identified by its uid."""

    uid: str
    folder: Path
    tenant: Tenant | None = None
    child: Child | None = None
    port: int = 0
    is_ready: bool = False
    has_environment: bool = False
    started_at: str = ""
    due_at: float = 0.0
    restarts: int = 0
    last_exit: int | None = None
    last_finished_at: str = ""
    problem: str = ""
    probing: asyncio.Task[None] | None = None
    ended: bool = False


class Kubelet:
    """Runs the Pods of an API server on the address `host`. Each is a tenant, with a directory for its home and log.

    `pod_logs` gets the log file of each Pod that runs, by the Pod's uid.
    """

    def __init__(
        self,
        client: KubeClient,
        children: Children,
        tenants: Tenants,
        pod_logs: MutableMapping[str, Path],
        *,
        host: str,
        mode: Mode,
        ready_after_s: float,
    ) -> None:
        self._client = client
        self._children = children
        self._tenants = tenants
        self._pod_logs = pod_logs
        self._host = host
        self._mode = mode
        self._ready_after_s = ready_after_s
        self._runs: dict[Key, _Run] = {}
        self._probe_session: aiohttp.ClientSession | None = None
        self.queue = Workqueue("kubelet", self._reconcile, workers=32)
        self._service_queue = Workqueue("kubelet services", self._annotate_service, workers=8)
        self._pods = Reflector(client, PODS, labels=SELECTOR, on_change=self._pod_changed)
        self._services = Reflector(client, SERVICES, labels=SELECTOR, on_change=self._service_changed)
        self._node = Node(client)
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled. `close()` or `Children.close()` end the processes."""
        await self._end_strays()
        async with aiohttp.ClientSession(trust_env=False) as self._probe_session, asyncio.TaskGroup() as group:
            group.create_task(self._node.run())
            group.create_task(self._pods.run())
            await self._pods.synced.wait()
            await self._forget_others()
            group.create_task(self._services.run())
            group.create_task(self.queue.run())
            group.create_task(self._service_queue.run())
            await self._services.synced.wait()
            self.ready.set()

    @property
    def _root(self) -> Path:
        return self._tenants.sandboxes

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(self._stop(run, grace_s=2.0) for run in self._runs.values()))

    async def _end_strays(self) -> None:
        for note in self._root.glob("*/pid"):
            for command in STRAYS:
                with contextlib.suppress(OSError, ValueError):
                    await end_stray(int(note.read_text()), belongs_to=command, grace_s=1.0)
            note.unlink(missing_ok=True)

    async def _forget_others(self) -> None:
        keep = {_folder_name(pod) for pod in self._pods}
        for folder in self._root.iterdir():
            if folder.name not in keep:
                await asyncio.to_thread(remove_tree, folder)
        owners = {TENANT_PREFIX + pod["metadata"]["uid"] for pod in self._pods}
        await asyncio.to_thread(self._tenants.retain, TENANT_PREFIX, owners)

    def _pod_changed(self, key: Key, old: Object | None, new: Object | None) -> None:
        self.queue.add(key)

    def _service_changed(self, key: Key, old: Object | None, new: Object | None) -> None:
        self._service_queue.add(key)

    # --- reconciliation of a Pod ---

    async def _reconcile(self, key: Key) -> float | None:
        pod, run = self._pods.get(key), self._runs.get(key)
        if run is not None and (pod is None or pod["metadata"]["uid"] != run.uid):
            await self._end(key, run, grace_s=1.0)
            run = None
        if pod is None:
            return None
        if pod["metadata"].get("deletionTimestamp"):
            grace_s = pod["metadata"].get("deletionGracePeriodSeconds") or 0
            if run is not None:
                await self._end(key, run, grace_s=grace_s)
            await self._client.delete(PODS, key.name, key.namespace, uid=pod["metadata"]["uid"], grace_period_s=0)
            return None
        if run is None:
            run = self._runs[key] = self._adopt(pod)
        if run.ended:
            return None
        await self._bind(pod)
        again_s = await (self._run_process if self._mode == "process" else self._simulate)(key, pod, run)
        await self._write_status(pod, run)
        return again_s

    def _adopt(self, pod: Object) -> _Run:
        """Return the state of a Pod that is new to this kubelet. The restart count continues after a restart."""
        run = _Run(pod["metadata"]["uid"], self._root / _folder_name(pod))
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        if statuses and self._mode == "process":
            has_run = "running" in statuses[0].get("state", {})
            run.restarts = statuses[0].get("restartCount", 0) + (1 if has_run else 0)
        if self._mode == "simulated" and (pod.get("status") or {}).get("phase") != "Running":
            run.due_at = time.time() + self._ready_after_s
        return run

    async def _bind(self, pod: Object) -> None:
        """Bind the Pod to this node, as the scheduler does."""
        if pod["spec"].get("nodeName"):
            return
        namespace, name = key_of(pod)
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        try:
            await self._client.request("POST", PODS.path(namespace, name, "binding"), body=body)
        except NotFoundError:
            log.debug("Pod %s/%s was deleted before it was bound.", namespace, name)
        except ApiError as error:
            if error.status != 409:  # already bound: the cache is stale
                raise

    async def _simulate(self, key: Key, pod: Object, run: _Run) -> float | None:
        if not run.has_environment:
            try:
                await self._environment(pod)
            except MissingSourceError as error:
                run.problem, run.is_ready = str(error), False
                return 1.0
            run.problem, run.has_environment = "", True
        await self._annotate_pod(pod, SIMULATED_ANNOTATION, "true")
        if (left_s := run.due_at - time.time()) > 0:
            return left_s
        run.is_ready = True
        run.started_at = run.started_at or _now()
        return None

    async def _annotate_pod(self, pod: Object, name: str, value: str) -> None:
        if (pod["metadata"].get("annotations") or {}).get(name) != value:
            key = key_of(pod)
            await self._client.merge_patch(PODS, key.name, key.namespace, {"metadata": {"annotations": {name: value}}})

    async def _environment(self, pod: Object) -> dict[str, str]:
        resources = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}

        async def fetch(kind: str, namespace: str, name: str) -> Object | None:
            return await self._client.get_or_none(resources[kind], name, namespace)

        cache: dict[tuple[str, str, str], Object | None] = {}

        async def fetch_once(kind: str, namespace: str, name: str) -> Object | None:
            asked = (kind, namespace, name)
            if asked not in cache:
                cache[asked] = await fetch(kind, namespace, name)
            return cache[asked]

        return await resolve_environment(pod, pod["spec"]["containers"][0], fetch_once)

    async def _run_process(self, key: Key, pod: Object, run: _Run) -> float | None:
        if run.child is not None and run.child.is_running:
            return None
        if (left_s := run.due_at - time.time()) > 0:
            return left_s
        if refused := await self._tenants.refusal(pod["metadata"].get("labels") or {}):
            run.problem = refused
            return REFUSED_AGAIN_S
        try:
            environment = await self._environment(pod)
        except MissingSourceError as error:
            run.problem = str(error)
            return 1.0
        run.problem = ""
        try:
            if run.tenant is None:
                run.tenant = self._tenants.of(TENANT_PREFIX + run.uid)
            elif not await self._tenants.end(run.tenant):
                run.problem = "a process of the last container can't be killed"
                return 5.0
            await self._start(key, pod, run, run.tenant, environment)
        except OSError as error:
            run.problem = f"the container can't be started: {error}"
            return 5.0
        return None

    async def _start(self, key: Key, pod: Object, run: _Run, tenant: Tenant, environment: dict[str, str]) -> None:
        home, log = run.folder / "home", run.folder / "sandbox.log"
        make_private(run.folder, passable=tenant.uid is not None)
        make_private(home, passable=False)
        await asyncio.to_thread(tenant.give, home)
        run.port = self._port(run)
        # Variables that an image sets, then those of the Pod. The interpreter reads them after it has dropped its
        # rights; it starts with none of them.
        image = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        rights = [] if tenant.uid is None else ["--uid", str(tenant.uid)]
        listen = join_address(self._host, run.port)
        with tempfile.TemporaryFile(dir=run.folder) as data:
            data.write(json.dumps({**image, **environment}).encode())
            data.seek(0)
            child = self._children.start(
                [sys.executable, "-I", str(STARTER), "--listen", listen, "--home", str(home), *rights],
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                cwd=Path("/"),
                log=log,
                stdin=data,
            )
        self._pod_logs[run.uid] = log
        write_private(run.folder / "pid", str(child.pid).encode())
        run.child, run.started_at, run.is_ready = child, _now(), False

        def report(is_ready: bool) -> None:
            run.is_ready = is_ready
            self.queue.add(key)
            self._wake_services(key.namespace)

        if self._probe_session is None:
            raise RuntimeError("The kubelet starts processes only while it runs.")
        probe = pod["spec"]["containers"][0].get("readinessProbe")
        run.probing = asyncio.create_task(follow_readiness(self._probe_session, probe, self._host, run.port, report))
        policy = pod["spec"].get("restartPolicy") or "Always"
        child.exited.add_done_callback(lambda _: self._exited(key, run, child, policy))
        self._wake_services(key.namespace)

    def _port(self, run: _Run) -> int:
        """Return the last port of the Pod if it is free, or another free port."""
        note = run.folder / "port"
        with contextlib.suppress(OSError, ValueError):
            if is_free(port := int(note.read_text()), self._host):
                return port
        port = choose_port(PORTS, {other.port for other in self._runs.values()}, self._host)
        write_private(note, str(port).encode())
        return port

    def _exited(self, key: Key, run: _Run, child: Child, policy: str) -> None:
        if run.child is not child:  # _stop() has already removed it
            return
        run.child, run.is_ready, run.last_exit, run.last_finished_at = None, False, child.exited.result(), _now()
        if run.probing is not None:
            run.probing.cancel()
        if policy == "Never" or (policy == "OnFailure" and run.last_exit == 0):
            run.ended = True
        else:
            back_off_s = min(FIRST_BACK_OFF_S * 2 ** (run.restarts - 1), MAX_BACK_OFF_S) if run.restarts else 0.0
            run.due_at = time.time() + back_off_s
            run.restarts += 1
        self.queue.add(key)
        self._wake_services(key.namespace)

    async def _stop(self, run: _Run, *, grace_s: float) -> None:
        child, run.child, run.is_ready = run.child, None, False
        if run.probing is not None:
            run.probing.cancel()
        if child is not None:
            await child.stop(signal.SIGTERM, grace_s=max(grace_s, 0.1))

    async def _end(self, key: Key, run: _Run, *, grace_s: float) -> None:
        self._runs.pop(key, None)
        await self._stop(run, grace_s=grace_s)
        has_ended = run.tenant is None or await self._tenants.end(run.tenant)
        self._pod_logs.pop(run.uid, None)
        await asyncio.to_thread(remove_tree, run.folder)
        if has_ended and run.tenant is not None:
            self._tenants.release(run.tenant)
        self._wake_services(key.namespace)

    # --- status and annotations ---

    def _view(self, run: _Run) -> ContainerView:
        left_s = max(run.due_at - time.time(), 0)
        state: Literal["waiting", "running", "ended"] = "waiting"
        reason, message = "ContainerCreating", ""
        if run.problem:
            reason, message = "CreateContainerConfigError", run.problem
        elif run.ended:
            state = "ended"
        elif run.child is not None or (self._mode == "simulated" and run.is_ready):
            state = "running"
        elif run.last_exit is not None and left_s > 0:
            reason, message = "CrashLoopBackOff", f"back-off {left_s:.0f}s restarting failed container"
        return ContainerView(
            state,
            is_ready=run.is_ready,
            reason=reason,
            message=message,
            started_at=run.started_at,
            restarts=run.restarts,
            last_exit=run.last_exit,
            last_finished_at=run.last_finished_at,
        )

    async def _write_status(self, pod: Object, run: _Run) -> None:
        old = pod.get("status") or {}
        status = build_status(pod, self._view(run), self._host, _now())
        if any(old.get(name) != value for name, value in status.items()):
            namespace, name = key_of(pod)
            with contextlib.suppress(NotFoundError):
                await self._client.patch_status(PODS, name, namespace, status)

    def _wake_services(self, namespace: str) -> None:
        self._service_queue.add_all(
            key_of(service) for service in self._services if key_of(service).namespace == namespace
        )

    async def _annotate_service(self, key: Key) -> float | None:
        service = self._services.get(key)
        if service is None or service["metadata"].get("deletionTimestamp") or self._mode != "process":
            return None
        selector = service["spec"].get("selector") or {}
        address = self._address(key.namespace, selector) if selector else None
        wanted = {
            f"{ENDPOINT_ANNOTATION}{port.get('name') or port['port']}": address
            for port in service["spec"].get("ports") or []
        }
        known = service["metadata"].get("annotations") or {}
        if any(known.get(name) != value for name, value in wanted.items()):
            with contextlib.suppress(NotFoundError):
                await self._client.merge_patch(SERVICES, key.name, key.namespace, {"metadata": {"annotations": wanted}})
        return None

    def _address(self, namespace: str, selector: dict[str, str]) -> str | None:
        """Return the address of a running Pod with these labels, ready ones first; None if there is none."""
        found: list[tuple[bool, str, int]] = []
        for key, run in self._runs.items():
            pod = self._pods.get(key)
            if key.namespace != namespace or pod is None or run.child is None:
                continue
            labels = pod["metadata"].get("labels") or {}
            if all(labels.get(name) == value for name, value in selector.items()):
                found.append((not run.is_ready, key.name, run.port))
        return join_address(self._host, min(found)[2]) if found else None


def _folder_name(pod: Object) -> str:
    metadata = pod["metadata"]
    return f"{metadata['namespace']}_{metadata['name']}_{metadata['uid'][:8]}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
