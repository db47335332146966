"""Ends the embedded cluster's child processes when the cluster itself is gone, however it went (kill -9 included).

Runs as a process of its own, by path, with the standard library only. Reads lines on standard input: `+PID SIGNAL` to
take a child under watch, `-PID` to forget one. The end of the input means that the parent is gone: every child still
listed gets its signal, and SIGKILL if it is there GRACE_S later. Works on every Unix and, unlike PR_SET_PDEATHSIG,
needs no code between fork and exec and does not depend on the thread that started the child.
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
    """Until standard input ends; then end the children."""
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
    # The terminal's Ctrl-C and a supervisor's SIGTERM are for the parent, whose end this process waits for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch()
