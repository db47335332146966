"""Signals that ask a process to stop."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


def listen_for_stop(handler: Handler, *, hangup: bool = False) -> None:
    """Call `handler` on SIGINT and SIGTERM, and with `hangup` also when the terminal closes.

    A signal that the parent process has set to be ignored stays ignored, as with nohup and in background jobs.
    """
    for number in (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hangup else ())):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
