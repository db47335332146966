"""Drops the rights of a process before a tenant's program runs in it, and ends every process of a tenant.

It is a script that uses only the standard library and starts with `python -I -S` and an environment that no tenant has
written. `tenant_process.py exec [--uid N] -- PROGRAM …` becomes the program, and `tenant_process.py end --uids A-B,C
--guard M` ends the processes of these users. sandbox_start.py calls `drop_rights` itself, because it can't execute the
interpreter again after the drop: only root may be able to reach it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

# Enough for a PostgreSQL server and for the application in a sandbox; a fork bomb ends there. Files are limited so that
# a log can't fill the disk; a relation of PostgreSQL is split into files of 1 GB.
MAX_PROCESSES = 256
MAX_OPEN_FILES = 1024
MAX_FILE_BYTES = 2 * 1024**3
_PR_SET_NO_NEW_PRIVS = 38
_TRIES = 60
_PAUSE_S = 0.05


class RightsError(Exception):
    """The rights of this process can't be dropped. The message says why."""


def drop_rights(uid: int | None) -> None:
    """Become user and group `uid`, without other groups, without a way back. None keeps the user and limits the rest.

    Raises RightsError, also if the process could take its rights back.
    """
    os.umask(0o077)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    if uid is not None:
        _limit(resource.RLIMIT_NPROC, MAX_PROCESSES)  # counts the processes of the user
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        except (OSError, OverflowError) as error:
            raise RightsError(f"The rights of this process can't be dropped to user {uid}: {error}.") from None
        _check_dropped(uid)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise RightsError("The kernel can't forbid this process to gain rights (PR_SET_NO_NEW_PRIVS).")


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some limits
        resource.setrlimit(kind, (least, least))


def _check_dropped(uid: int) -> None:
    if {os.getuid(), os.geteuid(), os.getgid(), os.getegid()} != {uid} or set(os.getgroups()) - {uid}:
        raise RightsError(f"This process still has rights of another user than {uid}.")
    with contextlib.suppress(PermissionError):
        os.setuid(0)
        raise RightsError(f"This process can take its rights back from user {uid}.")


def kill_all(uid: int, guard: int) -> None:
    """Send SIGKILL to every process of user `uid` at the same moment, so that none of them can fork away.

    The kernel sends it to all processes that this one may signal. The real user is `guard`, which runs nothing else, so
    that the tenant can't signal this process first.
    """
    os.setgroups([])
    os.setgid(guard)
    if hasattr(os, "setresuid"):
        os.setresuid(guard, uid, guard)
    else:  # macOS
        os.setuid(uid)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # there is none
        os.kill(-1, signal.SIGKILL)


def running_in(uids: Collection[int]) -> dict[int, int]:
    """Return the process ids with a real, effective, saved or file-system uid among these, and that uid.

    Zombies don't count.
    """
    found: dict[int, int] = {}
    if not Path("/proc/self/status").exists():
        listed = subprocess.run(["ps", "-axo", "pid=,uid=,stat="], capture_output=True, text=True, check=False)
        for pid, uid, state in map(str.split, listed.stdout.splitlines()):
            if int(uid) in uids and not state.startswith("Z"):
                found[int(pid)] = int(uid)
        return found
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "status").read_text(errors="replace")
        except OSError:  # it has ended
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("State:", "Uid:")))
        owners = [int(uid) for uid in fields.get("Uid", "").split() if int(uid) in uids]
        if owners and fields.get("State", "Z").split()[0] not in ("Z", "X"):
            found[int(process.name)] = owners[0]
    return found


def end_all(uids: Collection[int], guard: int) -> bool:
    """Kill every process of the users, and return whether none is left. Two calls at once would kill each other's
    children, because both use the guard."""
    targets = set(uids) if len(uids) == 1 else set(running_in(uids).values())
    for _ in range(_TRIES):
        for uid in targets:
            child = os.fork()
            if child == 0:
                try:
                    kill_all(uid, guard)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
        targets = set(running_in(uids).values())
        if not targets:
            return True
        time.sleep(_PAUSE_S)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["exec", "end"])
    parser.add_argument("--uid", type=int)
    parser.add_argument("--uids", metavar="FIRST-LAST,…")
    parser.add_argument("--guard", type=int)
    arguments, program = sys.argv[1:], []
    if "--" in arguments:
        end = arguments.index("--")
        arguments, program = arguments[:end], arguments[end + 1 :]
    chosen = parser.parse_args(arguments)
    if chosen.action == "end":
        spans = [span.partition("-") for span in chosen.uids.split(",")]
        uids = {uid for first, _, last in spans for uid in range(int(first), int(last or first) + 1)}
        if min(*uids, chosen.guard) < 1:
            parser.error("root is no tenant")
        return 0 if end_all(uids, chosen.guard) else 1
    try:
        drop_rights(chosen.uid)
        os.execv(program[0], program)  # noqa: S606 - a program of this machine, without a shell  # nosec B606
    except (RightsError, OSError) as error:
        sys.stderr.write(f"{program[0]} can't be run: {error}\n")
        return 126


if __name__ == "__main__":
    sys.exit(main())
