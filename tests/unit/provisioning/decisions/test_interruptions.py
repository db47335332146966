"""Interruptions of running projects: each kind is told once, then when its number has doubled."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioning.decisions.interruptions import close_interruption, count_failure, open_interruption, tell_rest
from tests.hostile.strategies import examples, json_values

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def flap(state: Any, begin_s: float, lasts_s: float = 10, reason: str = "ClusterFailed") -> tuple[Any, str | None]:
    state = open_interruption(state, reason, f"It was {reason}.", at(begin_s))
    return close_interruption(state, at(begin_s + lasts_s))


def test_single_interruption_is_told_with_its_length():
    state, told = flap({}, 0, 12)
    assert told == "Not ready for 12 s. It was ClusterFailed."
    assert close_interruption(state, at(20))[1] is None


def test_repeated_interruptions_are_told_when_their_number_doubles():
    state: Any = {}
    told = []
    for number in range(20):
        state, said = flap(state, number * 60)
        told.append(said)
    assert [number for number, said in enumerate(told, 1) if said] == [1, 2, 4, 8, 16]
    assert told[15] == (
        "Not ready 16 times since 12:00 UTC, 160 s in all, the last time for 10 s. It was ClusterFailed."
    )


def test_rest_is_told_after_a_time_of_quiet():
    state: Any = {}
    for number in range(7):
        state, _ = flap(state, number * 60)
    assert tell_rest(state, at(500))[1] == []
    state, told = tell_rest(state, at(1100))
    assert told == ["Not ready 7 times since 12:00 UTC, 70 s in all, the last time for 10 s. It was ClusterFailed."]
    assert tell_rest(state, at(2000))[1] == []


def test_counting_begins_again_after_an_hour():
    state, _ = flap({}, 0)
    state, _ = flap(state, 60)
    assert flap(state, 60 + 3700)[1] == "Not ready for 10 s. It was ClusterFailed."


def test_kinds_are_counted_apart():
    state, _ = flap({}, 0)
    assert flap(state, 60, reason="SandboxNotReady")[1] == "Not ready for 10 s. It was SandboxNotReady."


def test_interruption_keeps_its_first_cause():
    state = open_interruption({}, "ClusterFailed", "first", at(0))
    state = open_interruption(state, "ConnectionRefused", "second", at(5))
    assert close_interruption(state, at(9))[1] == "Not ready for 9 s. first"


def test_failures_of_a_kind_are_counted():
    state: Any = {}
    told = []
    for number in range(5):
        state, said = count_failure(state, "ApiServerUnreachable", at(number))
        told.append(said)
    assert told == ["", "2 times since 12:00 UTC.", None, "4 times since 12:00 UTC.", None]
    assert tell_rest(state, at(3000))[1] == []


@examples(60)
@given(st.lists(st.sampled_from([f"Reason{number}" for number in range(30)]), max_size=60))
def test_state_is_bounded(reasons):
    state: Any = {}
    for number, reason in enumerate(reasons):
        state, _ = flap(state, number * 20, reason=reason)
    assert len(state.get("kinds", {})) <= 8


@examples(100)
@given(json_values().filter(lambda value: isinstance(value, dict)))
def test_any_stored_state_is_read(state):
    _, told = flap({"kinds": state, "open": state}, 0)
    assert told is None or told.isprintable()
    tell_rest({"kinds": state}, NOW)
    count_failure(state, "x", NOW)
