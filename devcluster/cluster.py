"""The embedded cluster: API server, KubeBlocks stand-in, StatefulSet controller and kubelet in one event loop.

`run_cluster` serves until an event is set; `EmbeddedCluster` does so in a thread, for tests and benchmarks. The
controllers and the kubelet are clients with their own users, so requests can be counted by client.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import fcntl
import json
import logging
import secrets
import sqlite3
import ssl
import stat
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

import uvloop
import yaml

from devcluster.apiserver.auth.identity import MASTERS, Identity
from devcluster.apiserver.http.certificates import Certificates, write_private
from devcluster.apiserver.http.faults import Faults
from devcluster.apiserver.http.server import ApiServer, KubeblocksVersion
from devcluster.client.client import CONFIG_MAPS, Connection, KubeClient, NotFoundError
from devcluster.client.local import LocalClient
from devcluster.controllers.kubeblocks.operator import Timing
from devcluster.controllers.scenarios import CONFIG_MAP, NAMESPACE, Scenario
from devcluster.node.ports import LOOPBACK, is_free
from devcluster.node.tenants import Refuse
from devcluster.stand_ins import STAND_INS, StandInOptions, run_stand_ins

log = logging.getLogger(__name__)

ADMIN = "admin"


class ClusterError(Exception):
    """The embedded cluster can't start. The message says why and what to do."""


@dataclass(frozen=True)
class Options:
    """Options of the embedded cluster. Times are in seconds.

    `port` 0 takes the last port, or a free one. `running_after_s` and `secret_after_s` count from the creation of a
    Cluster. `postgres` "none": Clusters become Running without a server. `sandboxes` "simulated": Pods run nothing and
    become Ready after `ready_after_s`; "none": no Pod is run. `is_ephemeral` removes the databases at the end.
    `refuse` is asked where tenants share a user, with the labels of a Pod or Cluster, and returns why it must not run.
    """

    state_dir: Path
    port: int = 0
    kubeblocks: KubeblocksVersion = "v1.0.2"
    running_after_s: float = 4.0
    secret_after_s: float = 0.5
    postgres: Literal["real", "none"] = "real"
    sandboxes: Literal["process", "simulated", "none"] = "process"
    ready_after_s: float = 0.5
    is_ephemeral: bool = False
    refuse: Refuse | None = None

    @property
    def kubeconfig(self) -> Path:
        return self.state_dir / "kubeconfig"


@dataclass
class Running:
    """A running cluster."""

    server: ApiServer
    url: str
    token: str
    kubeconfig: Path
    authority_file: Path
    """The certificate of the authority that signs the server's."""
    client: KubeClient
    problem: str = ""

    async def set_scenario(self, name: str, scenario: Scenario | None) -> None:
        """Set the scenario rule `name` of the KubeBlocks stand-in, or remove it (None)."""
        data = {name: scenario.to_yaml() if scenario else None}
        try:
            await self.client.merge_patch(CONFIG_MAPS, CONFIG_MAP, NAMESPACE, {"data": data})
        except NotFoundError:
            if scenario:
                await self.client.create(CONFIG_MAPS, {"metadata": {"name": CONFIG_MAP}, "data": data}, NAMESPACE)


def _lock(state_dir: Path) -> IO[str]:
    """Lock the state directory for this process until the file is closed."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if state_dir.stat().st_mode & stat.S_ISVTX:
            raise ClusterError(
                f"All users may write to {state_dir}, so it can't be the state directory. Choose another."
            )
        state_dir.chmod(0o700)
        handle = (state_dir / "lock").open("a+")
    except OSError as error:
        raise ClusterError(
            f"The state directory {state_dir} cannot be used: {error.strerror}. Choose another or repair it."
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise ClusterError(
            f"Another embedded cluster runs on {state_dir}. Stop it, or give this one another directory."
        ) from error
    return handle


def _saved_identity(state_dir: Path) -> dict[str, Any]:
    """Return what is kept over restarts: the administrator's token and the last port."""
    path = state_dir / "identity.json"
    try:
        saved = json.loads(path.read_text())
        return {"token": str(saved["token"]), "port": int(saved["port"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"token": secrets.token_urlsafe(32), "port": 0}


def build_kubeconfig(url: str, token: str, authority_pem: str = "") -> str:
    """Return a kubeconfig for one user. `authority_pem` is the certificate authority of an https server."""
    name = "devcluster"
    cluster = {"server": url}
    if authority_pem:
        cluster["certificate-authority-data"] = base64.b64encode(authority_pem.encode()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
        },
        sort_keys=False,
    )


async def _start_server(
    options: Options, certificates: Certificates, tokens: dict[str, Identity], last_port: int
) -> tuple[ApiServer, int]:
    port = options.port or (last_port if last_port and is_free(last_port) else 0)
    server = ApiServer(
        state_dir=options.state_dir / "apiserver",
        tokens=tokens,
        kubeblocks=options.kubeblocks,
        certificates=certificates,
    )
    try:
        return server, await server.start(LOOPBACK, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ClusterError(
                f"Port {port} of {LOOPBACK} is in use by another program. Stop that program or choose another port."
            ) from error
        raise ClusterError(
            f"The state directory {options.state_dir} cannot be used: {error.strerror or error}."
        ) from error
    except sqlite3.Error as error:
        raise ClusterError(
            f"The state in {options.state_dir} is damaged ({error}). Remove it to begin with an empty cluster."
        ) from error


async def run_cluster(
    options: Options, *, stop_event: asyncio.Event, on_ready: Callable[[Running], Awaitable[None] | None] | None = None
) -> None:
    """Serve until `stop_event` is set. Calls `on_ready` when everything runs and the kubeconfig is written.

    Raises ClusterError if the cluster can't start.
    """
    with _lock(options.state_dir):
        identity = _saved_identity(options.state_dir)
        tokens = {identity["token"]: Identity(ADMIN, (MASTERS,))}
        stand_in_tokens = {name: secrets.token_urlsafe(16) for name in STAND_INS}
        tokens |= {token: Identity(f"system:{name}", (MASTERS,)) for name, token in stand_in_tokens.items()}
        certificates = Certificates(options.state_dir / "pki")
        server, port = await _start_server(options, certificates, tokens, identity["port"])
        url = f"https://{LOOPBACK}:{port}"
        try:
            authority_pem = certificates.authority_pem
            trust = ssl.create_default_context(cadata=authority_pem)
            write_private(options.state_dir / "identity.json", json.dumps({**identity, "port": port}).encode())
            connection = Connection(url, identity["token"], trust)
            async with KubeClient(connection, user_agent=f"devcluster-{ADMIN}") as admin:
                running = Running(
                    server, url, identity["token"], options.kubeconfig, certificates.authority_file, admin
                )

                async def announce(problem: str) -> None:
                    running.problem = problem
                    write_private(options.kubeconfig, build_kubeconfig(url, running.token, authority_pem).encode())
                    if on_ready and (waiting := on_ready(running)) is not None:
                        await waiting

                await run_stand_ins(
                    _stand_in_options(options),
                    lambda name: LocalClient(
                        server, Connection(url, stand_in_tokens[name], trust), user_agent=f"devcluster-{name}"
                    ),
                    stop_event=stop_event,
                    on_ready=announce,
                    pod_logs=server.pod_logs,
                )
        finally:
            await server.stop()


def _stand_in_options(options: Options) -> StandInOptions:
    return StandInOptions(
        state_dir=options.state_dir,
        timing=Timing(options.running_after_s, options.secret_after_s),
        postgres=options.postgres,
        sandboxes=options.sandboxes,
        ready_after_s=options.ready_after_s,
        is_ephemeral=options.is_ephemeral,
        refuse=options.refuse,
    )


class EmbeddedCluster:
    """An embedded cluster in its own thread: `with EmbeddedCluster(Options(state_dir=…)) as cluster: …`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_event: asyncio.Event | None = None
        self._is_up = threading.Event()
        self._running: Running | None = None
        self._errors: list[Exception] = []

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the cluster and wait until it serves. Raises ClusterError or TimeoutError."""
        self._is_up.clear()
        self._errors.clear()
        self._thread = threading.Thread(target=self._serve, name="embedded-cluster", daemon=True)
        self._thread.start()
        if not self._is_up.wait(timeout_s):
            self.stop()
            raise TimeoutError(f"The embedded cluster did not start within {timeout_s} s.")
        if self._errors:
            self._thread.join()
            raise self._errors[0]
        return self

    def stop(self, timeout_s: float = 60.0) -> None:
        """Stop the cluster. The state is kept."""
        if self._loop is not None and self._stop_event is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stop_event.set)
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise TimeoutError(f"The embedded cluster did not stop within {timeout_s} s.")
        self._running = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except Exception as error:  # noqa: BLE001 - start() raises it in its thread
            self._errors.append(error)
        finally:
            self._is_up.set()

    async def _main(self) -> None:
        self._loop, self._stop_event = asyncio.get_running_loop(), asyncio.Event()

        def note(running: Running) -> None:
            self._running = running
            self._is_up.set()

        await run_cluster(self.options, stop_event=self._stop_event, on_ready=note)

    @property
    def running(self) -> Running:
        if self._running is None:
            raise RuntimeError("The embedded cluster is not running.")
        return self._running

    @property
    def kubeconfig(self) -> Path:
        return self.options.kubeconfig

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def token(self) -> str:
        return self.running.token

    @property
    def authority_file(self) -> Path:
        """The certificate of the authority that clients have to trust, in PEM."""
        return self.running.authority_file

    @property
    def server(self) -> ApiServer:
        return self.running.server

    @property
    def faults(self) -> Faults:
        """The faults of the API server; see apiserver/http/faults.py."""
        return self.server.faults

    def set_scenario(self, name: str, scenario: Scenario | None) -> None:
        """Set a scenario rule of the KubeBlocks stand-in, or remove it (None). It takes effect shortly afterwards."""
        if self._loop is None:
            raise RuntimeError("The embedded cluster is not running.")
        asyncio.run_coroutine_threadsafe(self.running.set_scenario(name, scenario), self._loop).result(10)
