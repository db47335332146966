"""The work queue of controllers: retries, back-off, and logged failures."""

import asyncio
import logging

import pytest

from devcluster.client import reflector
from devcluster.client.reflector import Key, Workqueue
from tests.support.event_loop import run_in_loop

BAD, GOOD = Key("default", "bad"), Key("default", "good")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "FIRST_BACK_OFF_S", 0.001)
    monkeypatch.setattr(reflector, "MAX_BACK_OFF_S", 0.001)


def run_until(queue: Workqueue, keys: list[Key], event: asyncio.Event) -> None:
    """Run the queue until the event."""

    async def run() -> None:
        task = asyncio.create_task(queue.run())
        queue.add_all(keys)
        await asyncio.wait_for(event.wait(), 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_in_loop(run)


@pytest.mark.usefixtures("quick")
def test_failing_key_is_logged_once_and_retried(caplog):
    tries: list[Key] = []
    enough = asyncio.Event()

    async def reconcile(key: Key) -> None:
        tries.append(key)
        if tries.count(BAD) > 20 and GOOD in tries:
            enough.set()
        if key == BAD:
            raise KeyError("spec")

    run_until(Workqueue("test", reconcile), [BAD, GOOD], enough)
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.exc_info[0] is KeyError
    assert "default/bad" in record.getMessage()
    assert tries.count(GOOD) == 1


@pytest.mark.usefixtures("quick")
def test_new_failure_of_a_key_is_logged(caplog):
    tries: list[Key] = []
    enough = asyncio.Event()

    async def reconcile(key: Key) -> None:
        tries.append(key)
        if len(tries) > 4:
            enough.set()
        if len(tries) % 2:
            raise KeyError("spec")
        raise ValueError("status")

    run_until(Workqueue("test", reconcile), [BAD], enough)
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert kinds[:4] == [KeyError, ValueError, KeyError, ValueError]


def test_back_off_grows_to_its_limit():
    async def reconcile(key: Key) -> None:
        raise AssertionError

    queue = Workqueue("test", reconcile)
    delays_s = [queue._backoff_s(BAD) for _ in range(2000)]
    assert delays_s[:3] == [0.1, 0.2, 0.4]
    assert set(delays_s[10:]) == {5.0}
