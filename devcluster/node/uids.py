"""Numeric users for tenants: each sandbox and each PostgreSQL server gets a uid that nothing else on the machine has.

A state directory owns a block of uids, which a registry of the machine keeps apart from those of other state
directories. The uids need no entry in /etc/passwd. A uid is given again only when the whole block has been used.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.apiserver.http.certificates import write_private

NOTE = "uids.json"
REGISTRY = "controlpanel-devcluster-uids"
# (uids, size of a block). systemd and the distributions leave the first range unused. A container without root on its
# host usually has the uids below 65,536 only.
RANGES = ((range(1_900_000_000, 2_100_000_000), 10_000), (range(20_000, 60_000), 2_000))


class NoUidsError(Exception):
    """This process can't give tenants separate users. The message says why."""


@dataclass
class Uids:
    """The uids of one state directory, by owner, such as "pod/UID". Thread-safe."""

    note: Path
    base: int
    size: int
    _next: int = 1
    _owners: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def guard(self) -> int:
        """A user that owns nothing and only ends the processes of the others."""
        return self.base

    @property
    def block(self) -> range:
        return range(self.base, self.base + self.size)

    def of(self, owner: str) -> int:
        """Return the uid of an owner, which the first call chooses. OSError if it can't be saved or none is left."""
        with self._lock:
            known = self._owners.get(owner)
            if known is not None:
                return known
            taken = set(self._owners.values())
            for offset in range(self.size - 1):
                uid = self.base + 1 + (self._next - 1 + offset) % (self.size - 1)
                if uid not in taken:
                    break
            else:
                raise OSError(f"All {self.size - 1} users of this cluster are in use.")
            self._owners[owner], self._next = uid, uid - self.base + 1
            self._save()
            return uid

    def release(self, owner: str) -> None:
        """Forget an owner. Its processes must have ended, and its files must be gone."""
        with self._lock:
            if self._owners.pop(owner, None) is not None:
                self._save()

    def owners(self) -> dict[str, int]:
        with self._lock:
            return dict(self._owners)

    def _save(self) -> None:
        saved = {"base": self.base, "size": self.size, "next": self._next, "owners": self._owners}
        write_private(self.note, json.dumps(saved).encode())


def open_uids(state_dir: Path) -> Uids:
    """Return the uids of a state directory: its block of the last run, or a new one. Raises NoUidsError. Blocks."""
    if os.geteuid() != 0:
        raise NoUidsError("this process doesn't run as root")
    try:
        with _registry() as blocks:
            saved = _read(state_dir)
            uids = saved if saved is not None and _is_free(saved, blocks, state_dir) else _new(blocks, state_dir)
            _prove(uids.guard)
            blocks[str(uids.base)] = str(state_dir.resolve())
            with uids._lock:
                uids._save()
    except OSError as error:
        raise NoUidsError(f"the users of tenants can't be recorded: {error}") from None
    return uids


def _read(state_dir: Path) -> Uids | None:
    """Return the uids that the note records; None if there is no note or it is damaged."""
    path = state_dir / NOTE
    try:
        saved = json.loads(path.read_text())
        base, size, following = int(saved["base"]), int(saved["size"]), int(saved["next"])
        owners = {str(owner): int(uid) for owner, uid in saved["owners"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    is_known = any(base in uids and size == step and (base - uids.start) % step == 0 for uids, step in RANGES)
    inside = set(owners.values()) <= set(range(base + 1, base + size)) and len(set(owners.values())) == len(owners)
    return Uids(path, base, size, following, owners) if is_known and inside and following > 0 else None


def _is_free(uids: Uids, blocks: dict[str, str], state_dir: Path) -> bool:
    holder = blocks.get(str(uids.base), "")
    is_held = holder not in ("", str(state_dir.resolve())) and _holds(holder, uids.base)
    return _is_mapped(uids.block) and not is_held


def _holds(state_dir: str, base: int) -> bool:
    """Whether the state directory still exists and has this block."""
    found = _read(Path(state_dir))
    return found is not None and found.base == base


def _new(blocks: dict[str, str], state_dir: Path) -> Uids:
    for name, holder in list(blocks.items()):
        if not _holds(holder, int(name)):
            del blocks[name]
    existing = {entry.pw_uid for entry in pwd.getpwall()}
    for uids, size in RANGES:
        starts = range(uids.start, uids.stop, size)
        for _ in range(1000):
            base = starts[secrets.randbelow(len(starts))]
            block = range(base, base + size)
            if not _is_mapped(block):
                break
            if str(base) not in blocks and not any(uid in block for uid in existing):
                return Uids(state_dir / NOTE, base, size)
    raise NoUidsError("this process may not use enough numeric users (see /proc/self/uid_map)")


def _is_mapped(block: range) -> bool:
    """Whether the user namespace of this process has all these uids and gids. Systems without namespaces have all."""
    for name in ("uid_map", "gid_map"):
        try:
            lines = Path(f"/proc/self/{name}").read_text().splitlines()
        except OSError:
            continue
        spans = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
        if not any(first <= block.start and block.stop <= first + count for first, count in spans):
            return False
    return True


def _prove(uid: int) -> None:
    """Become the user in a child process, and give it a file. Raises NoUidsError."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            os.chown(file.fileno(), uid, uid)
        subprocess.run(["/bin/sh", "-c", ":"], user=uid, group=uid, extra_groups=[], cwd="/", env={}, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoUidsError(f"this process runs as root but may not become another user ({error})") from None


@contextmanager
def _registry() -> Iterator[dict[str, str]]:
    """Lock the blocks of this machine, by base, with their state directories; save changes at the end. OSError."""
    path = _registry_folder() / "blocks.json"
    with (path.with_name("lock")).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        blocks: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            blocks = {str(int(base)): str(holder) for base, holder in json.loads(path.read_text()).items()}
        yield blocks
        write_private(path, json.dumps(blocks).encode())


def _registry_folder() -> Path:
    """Return a directory that only root can write. OSError if there is none."""
    problem: OSError | None = None
    for parent in (Path("/run"), Path("/var/run"), Path(tempfile.gettempdir())):
        folder = parent / REGISTRY
        try:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            status = folder.lstat()
        except OSError as error:
            problem = error
            continue
        if folder.is_dir() and not folder.is_symlink() and status.st_uid == 0 and not status.st_mode & 0o022:
            return folder
    raise problem or OSError(f"another user owns {REGISTRY}")
