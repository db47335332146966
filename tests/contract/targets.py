"""What the contract runs on: the embedded cluster, any cluster with a kubeconfig, or a control plane from binaries.

The suite sees only `Target`. Which one it gets is decided by the environment, in `open_target`.
"""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.contract.controlplane import ControlPlane
from tests.contract.throttling import Throttle, fault_throttle, flow_schema_throttle
from tests.support.rest import Access

EMBEDDED_TOKEN = "contract-admin"
START_DEADLINE_S = 30.0


class TargetError(Exception):
    """The target named by the environment can't be used; the text says why."""


@dataclass(frozen=True)
class Target:
    """One API server, as its administrator (group system:masters) reaches it."""

    name: str
    access: Access
    has_controllers: bool
    """Whether garbage collection, namespace deletion and default ServiceAccounts happen."""
    throttle: Throttle


@contextmanager
def open_target() -> Iterator[Target]:
    """Start or reach what CONTRACT_KUBECONFIG, else KUBEBUILDER_ASSETS name; by default the embedded cluster."""
    kubeconfig = os.environ.get("CONTRACT_KUBECONFIG")
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if kubeconfig:
        with tempfile.TemporaryDirectory(prefix="contract-") as scratch:
            access = load_kubeconfig(Path(kubeconfig), Path(scratch))
            yield Target(f"the cluster of {kubeconfig}", access, True, flow_schema_throttle(access))
    elif assets:
        with ControlPlane(Path(assets)) as plane:
            access = Access(plane.url, token=plane.admin_token, ca_file=str(plane.ca_file))
            yield Target(f"the binaries in {assets}", access, plane.has_controllers, flow_schema_throttle(access))
    else:
        with open_embedded_target() as target:
            yield target


@contextmanager
def open_embedded_target() -> Iterator[Target]:
    """An embedded API server of its own, in a thread, on a state directory that goes away with it."""
    from devcluster.apiserver.auth.identity import Identity  # the other targets do not need it
    from devcluster.apiserver.http.server import ApiServer

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="embedded-api-server", daemon=True)
    thread.start()

    def wait_for(awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, loop).result(START_DEADLINE_S)

    try:
        with tempfile.TemporaryDirectory(prefix="contract-") as directory:
            server = ApiServer(
                state_dir=Path(directory), tokens={EMBEDDED_TOKEN: Identity("admin", ("system:masters",))}
            )
            port = wait_for(server.start())
            try:
                access = Access(f"http://127.0.0.1:{port}", token=EMBEDDED_TOKEN)
                yield Target("the embedded cluster", access, True, fault_throttle(access))
            finally:
                wait_for(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_DEADLINE_S)
        loop.close()


def load_kubeconfig(path: Path, scratch: Path) -> Access:
    """Read the current context of a kubeconfig; certificates given inline are written below `scratch`.

    Tokens, token files and client certificates are understood. Raises TargetError for logins by a plugin.
    """
    config = yaml.safe_load(path.read_text())
    context = _named(config, "contexts", config["current-context"])["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    if "exec" in user or "auth-provider" in user:
        raise TargetError(
            f"The current user of {path} logs in by a plugin, which the contract suite does not run: "
            "give it a kubeconfig with a token or a client certificate."
        )
    token = user.get("token")
    if "tokenFile" in user:
        token = (path.parent / user["tokenFile"]).read_text().strip()

    def file_of(section: dict[str, Any], key: str) -> str | None:
        inline = section.get(f"{key}-data")
        if inline is not None:
            written = scratch / key
            written.touch(mode=0o600)
            written.write_bytes(base64.b64decode(inline))
            return str(written)
        return str(path.parent / section[key]) if key in section else None

    return Access(
        url=str(cluster["server"]).rstrip("/"),
        token=token,
        ca_file=file_of(cluster, "certificate-authority"),
        client_certificate=file_of(user, "client-certificate"),
        client_key=file_of(user, "client-key"),
        verify=not cluster.get("insecure-skip-tls-verify", False),
    )


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in config.get(section, []):
        if entry["name"] == name:
            return dict(entry)
    raise TargetError(f"The kubeconfig names {name!r}, which is not among its {section}.")
