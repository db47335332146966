"""Users and directories of tenants: the sandboxes and the PostgreSQL servers of an embedded cluster.

As root, each tenant has its own uid (uids.py), and its directory belongs to that uid. Otherwise all tenants run as the
user of this process, who can read everything that belongs to the cluster; `shared_reason` then says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.apiserver.http.certificates import write_private
from devcluster.node.private_files import change_owner, make_private, remove_tree, tighten
from devcluster.node.processes import RunAs
from devcluster.node.tenant_process import running_in
from devcluster.node.uids import NoUidsError, Uids, open_uids

log = logging.getLogger(__name__)

# An interpreter that other users' variables, directories and packages don't affect.
_PYTHON = (sys.executable, "-I", "-S", str(Path(__file__).with_name("tenant_process.py")))
TEMPORARY_PREFIX = "controlpanel-postgres-"
OWNER_NOTE = "state-directory"


Refuse = Callable[[Mapping[str, str]], str]
"""Returns why an object with these labels must not run where tenants share a user; "" if it may. It may block."""


class UnreachableError(Exception):
    """No directory can be reached by the tenants' users. The message says what to do."""


@dataclass(frozen=True)
class Tenant:
    """The user of a tenant: a separate uid, or None for the user of this process."""

    owner: str
    uid: int | None

    def command(self, program: Sequence[str]) -> list[str]:
        """Return the command that runs `program` with the rights of the tenant only."""
        rights = [] if self.uid is None else ["--uid", str(self.uid)]
        return [*_PYTHON, "exec", *rights, "--", *program]

    def give(self, directory: Path) -> None:
        """Make the directory and all that its owner has in it the tenant's, closed to other users. Blocks."""
        directory.chmod(0o700)
        if self.uid is not None and (old := directory.lstat().st_uid) != self.uid:
            change_owner(directory, old, self.uid)


@dataclass
class _Ending:
    """Users whose processes one command ends, and those of them that still have a process afterwards."""

    uids: set[int] = field(default_factory=set)
    left: set[int] | None = None


class Tenants:
    """The tenants of a state directory."""

    def __init__(self, state_dir: Path, refuse: Refuse | None = None) -> None:
        """`refuse` None: where tenants share a user, everything runs."""
        self._state_dir = state_dir
        self._refuse = refuse
        self._uids: Uids | None = None
        self._ending = threading.Lock()
        self._asking = threading.Lock()
        self._next = _Ending()
        self.shared_reason = ""
        self.problem = ""
        """Why no directory can be reached by the tenants; "" if one can."""
        self.databases = state_dir / "postgres"
        self.sandboxes = state_dir / "sandboxes"
        self.is_elsewhere = False

    def open(self) -> None:
        """Choose users and directories, and end processes of a run that was killed. Blocks. OSError if the state
        directory can't be written."""
        try:
            self._uids = open_uids(self._state_dir)
        except NoUidsError as error:
            self.shared_reason = str(error)
        if self._uids is not None:
            self._run_end(self.end_command())
        has_uids = self._uids is not None
        make_private(self._state_dir, passable=has_uids)
        tighten(self._state_dir, passable=has_uids)
        for directory in (self.databases, self.sandboxes):
            make_private(directory, passable=has_uids)
        if self._uids is not None and not self._can_enter(self.databases, self._uids.guard):
            try:
                self._move(self._uids)
            except UnreachableError as error:
                self.problem = str(error)

    @property
    def has_uids(self) -> bool:
        return self._uids is not None

    def of(self, owner: str) -> Tenant:
        """Return the tenant of an owner, such as "pod/UID". OSError if its uid can't be saved, or none is left."""
        if self._uids is None:
            return Tenant(owner, None)
        return Tenant(owner, self._uids.of(owner))

    async def refusal(self, labels: Mapping[str, str]) -> str:
        """Return why an object with these labels must not run; "" if it may. With uids everything may."""
        if self._uids is not None or self._refuse is None:
            return ""
        return await asyncio.to_thread(self._refuse, labels)

    def explain_shared_user(self) -> str:
        """Return a sentence about tenants that share a user; "" if each has its own."""
        if self._uids is not None:
            return ""
        return (
            f"All sandboxes and databases run as the user of this process ({os.geteuid()}), because "
            f"{self.shared_reason}. Each of them can read what that user can read."
        )

    # --- directories ---

    @staticmethod
    def _can_enter(directory: Path, uid: int) -> bool:
        return RunAs(uid, uid).run(["test", "-x", str(directory)]).returncode == 0

    def _move(self, uids: Uids) -> None:
        """Use a directory outside the state directory, which is below one that only its owner can enter (/root). Its
        path is kept in the state directory. Raises UnreachableError."""
        note = self._state_dir / "postgres-location"
        elsewhere: Path | None = None
        with contextlib.suppress(OSError):
            recorded = Path(note.read_text().strip())
            holder = (recorded / OWNER_NOTE).read_text()
            # The state directory may have been renamed, but a copy of it must not share the data.
            if _is_ours(recorded) and (holder == str(self._state_dir) or not Path(holder).exists()):
                elsewhere = recorded
                write_private(elsewhere / OWNER_NOTE, str(self._state_dir).encode())
        if elsewhere is None:
            _remove_forsaken()
            elsewhere = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
            write_private(elsewhere / OWNER_NOTE, str(self._state_dir).encode())
            write_private(note, f"{elsewhere}\n".encode())
        make_private(elsewhere, passable=True)
        if not self._can_enter(elsewhere, uids.guard):
            raise UnreachableError(
                f"Databases and sandboxes run as separate users, which have no access to {self._state_dir} and "
                f"{elsewhere}. Choose a state directory that all users can enter."
            )
        tighten(elsewhere, passable=True)
        self.databases, self.sandboxes, self.is_elsewhere = elsewhere, elsewhere / "sandboxes", True
        make_private(self.sandboxes, passable=True)
        make_private(self._state_dir, passable=False)

    def discard(self) -> None:
        """Delete all databases. The servers have to be stopped."""
        remove_tree(self.databases)

    # --- processes ---

    async def end(self, tenant: Tenant) -> bool:
        """Kill every process of a tenant, also those that left its session, and return whether none is left.

        Without uids nothing tells a tenant's processes from others: none is killed, and the answer is True.
        """
        if tenant.uid is None:
            return True
        with self._asking:
            ending = self._next
            ending.uids.add(tenant.uid)
        if tenant.uid not in await asyncio.to_thread(self._end, ending):
            return True
        log.warning("A process of %s (user %d) can't be killed; its user stays reserved.", tenant.owner, tenant.uid)
        return False

    def release(self, tenant: Tenant) -> None:
        """Forget a tenant. Its processes must have ended, and its files must be gone."""
        if self._uids is not None:
            self._uids.release(tenant.owner)

    def retain(self, prefix: str, owners: Collection[str]) -> None:
        """Forget the owners with this prefix that are not in `owners`, unless one of their processes lives. Blocks."""
        if self._uids is not None:
            alive = set(running_in(self._uids.block).values())
            for owner, uid in self._uids.owners().items():
                if owner.startswith(prefix) and owner not in owners and uid not in alive:
                    self._uids.release(owner)

    def end_command(self) -> list[str]:
        """Return the command that ends the processes of all tenants; [] without uids."""
        if self._uids is None:
            return []
        block = self._uids.block
        return self._end_command(f"{block.start}-{block.stop - 1}")

    def _end_command(self, uids: str) -> list[str]:
        return [*_PYTHON, "end", "--uids", uids, "--guard", str(self._uids.guard if self._uids else 0)]

    @staticmethod
    def _run_end(command: list[str]) -> bool:
        ended = subprocess.run(command, cwd="/", env={"PATH": os.defpath}, stdin=subprocess.DEVNULL, check=False)
        return ended.returncode == 0

    def _end(self, ending: _Ending) -> set[int]:
        """Kill the processes of the users, and return those who still have one. Only one command may run at a time.
        All who ask meanwhile share the next one: a command for each would take minutes on a busy machine."""
        with self._ending:
            if ending.left is None:
                with self._asking:
                    self._next = _Ending()
                has_ended = self._run_end(self._end_command(",".join(map(str, sorted(ending.uids)))))
                ending.left = set() if has_ended else set(running_in(ending.uids).values())
            return ending.left


def _is_ours(directory: Path) -> bool:
    return directory.is_dir() and not directory.is_symlink() and directory.lstat().st_uid == os.geteuid()


def _remove_forsaken() -> None:
    """Remove data in the system's temporary directory whose state directory no longer exists."""
    for note in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*/{OWNER_NOTE}"):
        with contextlib.suppress(OSError):
            if _is_ours(note.parent) and not Path(note.read_text()).exists():
                remove_tree(note.parent)
