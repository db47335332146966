"""Wait until a condition holds, and fail with the last observation."""

import json
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    observe: Callable[[], T],
    accept: Callable[[T], object] = bool,
    *,
    timeout_s: float = 10.0,
    explain: Callable[[], str] | None = None,
) -> T:
    """Call `observe` until `accept` holds for what it returns, and return that.

    Raises AssertionError after `timeout_s` seconds, with the text of `explain` or else the last observation.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = observe()
        if accept(seen):
            return seen
        if time.monotonic() > deadline:
            last = explain() if explain else f"last seen: {json.dumps(seen, default=str)[:3000]}"
            raise AssertionError(f"Not within {timeout_s:g} s; {last}")
        time.sleep(0.05)
