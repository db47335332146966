"""PostgreSQL servers on this machine, one for each database of the embedded cluster.

Each server listens on 127.0.0.1 with its own port and password (scram-sha-256, no Unix socket). A data directory is
created by initdb once and copied for each database, which takes 0.1 s instead of 1.2 s. Settings are for development:
with `fsync=off` a crash of the machine can lose data, and there are 16 MB of shared buffers and 20 connections.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import shutil
import signal
import string
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.apiserver.http.certificates import write_private
from devcluster.node.ports import choose_port, is_free
from devcluster.node.postgres_binaries import (
    SUPERUSER,
    Binaries,
    PostgresUnavailableError,
    find_binaries,
    make_template,
)
from devcluster.node.private_files import change_owner, make_private, read_end, read_regular, remove_tree
from devcluster.node.processes import Child, Children, RunAs, end_stray
from devcluster.node.tenants import Tenant, Tenants

log = logging.getLogger(__name__)

STARTS_AT_ONCE = 3
READY_TIMEOUT_S = 30.0
STOP_GRACE_S = 2.0
# Below the ephemeral ports of Linux, so that outgoing connections do not occupy them.
PORTS = range(21000, 31000)
TENANT_PREFIX = "postgres/"


@dataclass
class _Instance:
    name: str
    folder: Path
    port: int
    password: str
    tenant: Tenant
    is_known: bool = False
    child: Child | None = None
    is_answering: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def is_running(self) -> bool:
        return self.child is not None and self.child.is_running

    def save(self) -> None:
        saved = {"port": self.port, "password": self.password, "is_known": self.is_known}
        write_private(self.folder / "instance.json", json.dumps(saved).encode())


class PostgresServers:
    """The servers of an embedded cluster, by instance name (letters, digits, `-`, `_` and `.`)."""

    def __init__(self, tenants: Tenants, children: Children, *, on_exit: Callable[[str], None]) -> None:
        """`on_exit(name)` is called when a server ends unexpectedly. Each server is a tenant."""
        self._tenants = tenants
        self._children = children
        self._on_exit = on_exit
        self._run_as = RunAs.unprivileged()
        self._instances: dict[str, _Instance] = {}
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._binaries: Binaries | None = None
        self._template = tenants.databases
        self.unavailable = ""

    @property
    def _root(self) -> Path:
        return self._tenants.databases

    async def open(self) -> None:
        """Find binaries, create the template, and end servers of a previous run that was killed.

        If this machine can't run PostgreSQL, `unavailable` is a sentence that says why, and every start raises it.
        """
        try:
            self._check_user()
            self._binaries = await asyncio.to_thread(find_binaries, self._run_as)
            await self._end_strays()
            self._template = await asyncio.to_thread(make_template, self._root, self._binaries, self._run_as)
        except PostgresUnavailableError as error:
            self.unavailable = str(error)
            log.warning("%s", error)

    def _check_user(self) -> None:
        if self._tenants.problem:
            raise PostgresUnavailableError(self._tenants.problem)
        if self._run_as.uid is not None and not self._tenants.has_uids:
            raise PostgresUnavailableError(f"PostgreSQL must not run as root, and {self._tenants.shared_reason}.")

    async def _end_strays(self) -> None:
        for pid_file in self._root.glob("*/data/postmaster.pid"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(read_regular(pid_file).splitlines()[0])
                if await end_stray(pid, belongs_to=str(pid_file.parent), number=signal.SIGQUIT):
                    log.info("Ended a PostgreSQL server of a previous run (process %d).", pid)

    def port_of(self, name: str) -> int:
        """Return the port of the instance. Adds the instance if it is unknown."""
        return self._instance(name).port

    def password_of(self, name: str) -> str:
        """Return the password with which the data of the instance is made. Adds the instance if it is unknown."""
        return self._instance(name).password

    def is_known(self, name: str) -> bool:
        """Return whether a Secret has been given the password of the instance."""
        return self._instance(name).is_known

    def make_known(self, name: str, *, is_known: bool = True) -> None:
        """Note whether a Secret has the password of the instance, over restarts of the cluster."""
        instance = self._instance(name)
        if instance.is_known != is_known:
            instance.is_known = is_known
            instance.save()

    def is_answering(self, name: str) -> bool:
        """Return whether the server accepts connections."""
        instance = self._instances.get(name)
        return instance is not None and instance.is_running and instance.is_answering

    def _instance(self, name: str) -> _Instance:
        if self._binaries is None or self.unavailable:
            raise PostgresUnavailableError(self.unavailable or "PostgreSQL was not opened.")
        known = self._instances.get(name)
        if known is None:
            known = self._instances[name] = self._load(name)
        return known

    def _load(self, name: str) -> _Instance:
        folder, tenant = self._root / name, self._tenants.of(TENANT_PREFIX + name)
        make_private(folder, passable=tenant.uid is not None)
        try:
            saved = json.loads((folder / "instance.json").read_text())
            is_known = bool(saved.get("is_known"))
            return _Instance(name, folder, int(saved["port"]), str(saved["password"]), tenant, is_known)
        except (OSError, ValueError, KeyError):
            instance = _Instance(name, folder, self._free_port(), new_password(), tenant)
            instance.save()
            return instance

    def _free_port(self) -> int:
        return choose_port(PORTS, {instance.port for instance in self._instances.values()})

    async def ensure_running(self, name: str, password: str = "", labels: Mapping[str, str] | None = None) -> None:
        """Create the data of the instance if necessary, start it, and wait until it accepts connections.

        New data gets `password` ("": the one of the instance). Data that exists keeps its own. `labels` are those of
        its Cluster. Raises PostgresUnavailableError if the Cluster must not run here, and that or OSError, with the end
        of the log, if the server does not start.
        """
        instance = self._instance(name)
        if refused := await self._tenants.refusal(labels or {}):
            raise PostgresUnavailableError(refused)
        async with instance.lock:
            if self.is_answering(name):
                return
            async with self._starts:
                if password and password != instance.password and not instance.data.exists():
                    instance.password = password
                    instance.save()
                if instance.data.exists():  # processes of an earlier server may still use it
                    await self._tenants.end(instance.tenant)
                await asyncio.to_thread(self._ensure_data, instance)
                await self._start(instance)

    def _ensure_data(self, instance: _Instance) -> None:
        if instance.data.exists():
            instance.tenant.give(instance.data)
            return
        draft = instance.folder / "data.draft"
        shutil.rmtree(draft, ignore_errors=True)
        copied = RunAs().run(["cp", "-a", str(self._template), str(draft)])
        if copied.returncode != 0:
            raise OSError(f"The data of {instance.name} cannot be copied: {copied.stderr.strip()[-200:]}")
        if self._run_as.uid is not None:  # postgres --single needs a user with a name
            change_owner(draft, 0, self._run_as.uid)
        assert self._binaries is not None  # noqa: S101 - _instance() has checked it  # nosec B101
        statement = f"ALTER ROLE {SUPERUSER} PASSWORD '{_scram_verifier(instance.password)}';\n"
        single = self._run_as.run(
            [self._binaries.path("postgres"), "--single", "-D", str(draft), "postgres"], stdin=statement
        )
        if single.returncode != 0 or "ERROR" in single.stderr:
            raise OSError(f"The password of {instance.name} cannot be set: {single.stderr.strip()[-200:]}")
        instance.tenant.give(draft)
        draft.rename(instance.data)

    async def _start(self, instance: _Instance) -> None:
        assert self._binaries is not None  # noqa: S101 - _instance() has checked it  # nosec B101
        if not is_free(instance.port):
            instance.port = self._free_port()
            instance.save()
        (instance.data / "postmaster.pid").unlink(missing_ok=True)
        instance.is_answering = False
        child = self._children.start(
            instance.tenant.command(
                [self._binaries.path("postgres"), "-D", str(instance.data), "-p", str(instance.port)]
            ),
            env={"PATH": str(self._binaries.folder), "LC_ALL": "C", "TZ": "UTC"},
            cwd=instance.folder,
            log=instance.folder / "postgres.log",
            stop_signal=signal.SIGINT,
        )
        instance.child = child
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_TIMEOUT_S
        while not _says_ready(instance.data):
            if not child.is_running or loop.time() > deadline:
                instance.child = None
                await child.stop(signal.SIGQUIT, grace_s=STOP_GRACE_S)
                tail = read_end(instance.folder / "postgres.log", 300)
                raise OSError(f"PostgreSQL of {instance.name} did not start. The end of its log: {tail}")
            await asyncio.sleep(0.02)
        instance.is_answering = True
        child.exited.add_done_callback(lambda _: self._exited(instance, child))

    def _exited(self, instance: _Instance, child: Child) -> None:
        if instance.child is child:  # stop() has already removed it
            instance.child = None
            instance.is_answering = False
            log.warning("The PostgreSQL server of %s ended unexpectedly.", instance.name)
            self._on_exit(instance.name)

    async def stop(self, name: str) -> None:
        """Stop the server with a fast shutdown, if it runs. The data is kept."""
        instance = self._instances.get(name)
        if instance is not None:
            async with instance.lock:
                await self._stop(instance, signal.SIGINT)

    async def _stop(self, instance: _Instance, number: int) -> bool:
        """Stop the server and all that it has started; return whether no process is left."""
        child, instance.child, instance.is_answering = instance.child, None, False
        if child is not None and child.is_running:
            child.send(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_GRACE_S):
                    await asyncio.shield(child.exited)
            await child.stop(signal.SIGQUIT, grace_s=STOP_GRACE_S)
        return await self._tenants.end(instance.tenant)

    async def remove(self, name: str) -> None:
        """Stop the server and delete its data, if there is any."""
        if self.unavailable or self._binaries is None:
            return
        instance = self._instances.get(name)
        if instance is not None:
            async with instance.lock:
                has_ended = await self._stop(instance, signal.SIGQUIT)
                self._instances.pop(name, None)
                await asyncio.to_thread(remove_tree, instance.folder)
                if has_ended:
                    self._tenants.release(instance.tenant)
        await asyncio.to_thread(remove_tree, self._root / name)

    async def remove_except(self, names: Collection[str]) -> None:
        """Delete the data of every instance whose name is not among `names`."""
        if self._binaries is None or self.unavailable:
            return
        for note in self._root.glob("*/instance.json"):
            if note.parent.name not in names:
                await self.remove(note.parent.name)
        owners = {TENANT_PREFIX + name for name in names}
        await asyncio.to_thread(self._tenants.retain, TENANT_PREFIX, owners)

    async def close(self) -> None:
        """Stop all servers concurrently."""
        await asyncio.gather(*(self.stop(name) for name in list(self._instances)))


def _says_ready(data: Path) -> bool:
    """Return whether the eighth line of the postmaster's lock file is "ready", as pg_ctl does."""
    try:
        lines = read_regular(data / "postmaster.pid").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def new_password() -> str:
    """Return a password of ten characters, five of them digits, without symbols, as KubeBlocks' addon does."""
    digits = [secrets.choice(string.digits) for _ in range(5)]
    letters = [secrets.choice(string.ascii_letters) for _ in range(5)]
    return "".join(sorted(digits + letters, key=lambda _: secrets.randbits(32)))


def _scram_verifier(password: str, iterations: int = 4096) -> str:
    """Return the SCRAM verifier of a password (RFC 5803), so that no statement contains the password."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    salt_text, stored, server = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored}:{server}"
