"""Ends the child processes of the embedded cluster when the cluster has ended, also after kill -9.

It is a separate process that uses only the standard library. It reads lines from standard input: `+PID SIGNAL` adds a
child, `-PID` removes one. At the end of the input, the parent has ended: every child gets its signal, and SIGKILL after
GRACE_S. Its arguments, if there are any, are a command that it runs last: it ends all that the children have started.
Unlike PR_SET_PDEATHSIG, this works on every Unix, needs no code between fork and exec, and does not depend on the
thread that started the child.
"""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE_S = 3.0


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def watch() -> None:
    """Read until standard input ends, then end the children."""
    children: dict[int, int] = {}
    for line in sys.stdin:
        pid_text, _, signal_text = line[1:].strip().partition(" ")
        if line.startswith("+"):
            children[int(pid_text)] = int(signal_text)
        else:
            children.pop(int(pid_text), None)
    for pid, number in children.items():
        _signal(pid, number)
    deadline = time.monotonic() + GRACE_S
    while children and time.monotonic() < deadline:
        children = {pid: number for pid, number in children.items() if _signal(pid, 0)}
        time.sleep(0.05)
    for pid in children:
        _signal(pid, signal.SIGKILL)


if __name__ == "__main__":
    # Ctrl-C and a supervisor's SIGTERM are for the parent. This process waits until the parent has ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch()
    if command := sys.argv[1:]:
        os.execv(command[0], command)  # noqa: S606 - from the parent, without a shell  # nosec B606
