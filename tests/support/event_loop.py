"""Runs coroutines of the embedded cluster in tests. A thread is needed: Playwright's loop may run in the test's own."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_loop(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Call a coroutine function in a new event loop, and return its result."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(call())).result()
