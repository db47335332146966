"""Counts a project's interruptions, so that a history tells each kind once, then when its number has doubled. Pure.

The state is a JSON object of the project's row: `open`, the interruption that goes on, and `kinds`, what was counted
of each kind lately. Times are ISO strings in UTC.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from provisioning.objects.readers import mapping, moment, number, text

# After an hour of quiet, counting begins again.
_WINDOW = timedelta(hours=1)
# A kind that was not told to its end is told after this time of quiet.
_QUIET = timedelta(minutes=10)
_MOST_KINDS = 8
_LONGEST_MESSAGE = 300

State = Mapping[str, Any]


def open_interruption(state: State, reason: str, message: str, now: datetime) -> State:
    """Return the state with an interruption that begins; one that goes on is kept."""
    if mapping(state.get("open")).get("since"):
        return state
    begun = {"since": now.isoformat(), "reason": reason, "message": text(message, _LONGEST_MESSAGE)}
    return {**state, "open": begun}


def close_interruption(state: State, now: datetime) -> tuple[State, str | None]:
    """Return the state without an open interruption, and the sentences of an event about it; None if there was none, or
    if it is one of many that are counted only."""
    opened = mapping(state.get("open"))
    since = moment(opened.get("since"))
    closed = {key: value for key, value in state.items() if key != "open"}
    if since is None:
        return closed, None
    lasted_s = max((now - since).total_seconds(), 0.0)
    message = text(opened.get("message"), _LONGEST_MESSAGE)
    return _count(closed, text(opened.get("reason"), 40), message, lasted_s, since, now)


def count_failure(state: State, reason: str, now: datetime) -> tuple[State, str | None]:
    """Count a failed pass of a kind; return the state, and what an event about it adds: "" for the first one, None if
    it is counted only."""
    counted, told = _count(state, f"pass {reason}", "", 0.0, now, now)
    if told is None:
        return counted, None
    kind = mapping(mapping(counted.get("kinds")).get(f"pass {reason}"))
    times = number(kind.get("count"))
    return counted, f"{times} times since {_clock(kind.get('first'))}." if times > 1 else ""


def tell_rest(state: State, now: datetime) -> tuple[State, list[str]]:
    """Return the state, and the sentences about interruptions that were counted, but not told, and have ended."""
    kinds, told = dict(mapping(state.get("kinds"))), []
    for key, value in kinds.items():
        kind, last = mapping(value), moment(mapping(value).get("last"))
        is_quiet = last is not None and now - last > _QUIET
        if is_quiet and kind.get("message") and number(kind.get("count")) > number(kind.get("told")):
            told.append(_tell(kind))
            kinds[key] = {**kind, "told": kind.get("count")}
    return ({**state, "kinds": kinds} if told else state), told


def _count(
    state: State, key: str, message: str, lasted_s: float, since: datetime, now: datetime
) -> tuple[State, str | None]:
    kinds = dict(mapping(state.get("kinds")))
    known, last = mapping(kinds.get(key)), moment(mapping(kinds.get(key)).get("last"))
    if last is None or now - last > _WINDOW:
        known = {"first": since.isoformat()}
    count = number(known.get("count")) + 1
    total_s = known.get("total_s")
    kind = {
        **known,
        "count": count,
        "last": now.isoformat(),
        "lasted_s": round(lasted_s, 1),
        "total_s": round((total_s if isinstance(total_s, int | float) else 0.0) + lasted_s, 1),
        "message": message,
    }
    is_told = count & (count - 1) == 0  # a power of two
    if is_told:
        kind["told"] = count
    kinds.pop(key, None)
    kinds = dict([*kinds.items(), (key, kind)][-_MOST_KINDS:])
    return {**state, "kinds": kinds}, _tell(kind) if is_told else None


def _tell(kind: State) -> str:
    count, message = number(kind.get("count")), text(kind.get("message"), _LONGEST_MESSAGE)
    lasted = f"{kind.get('lasted_s', 0):.0f} s"
    if count <= 1:
        return f"Not ready for {lasted}. {message}".strip()
    return (
        f"Not ready {count} times since {_clock(kind.get('first'))}, {kind.get('total_s', 0):.0f} s in all, the last "
        f"time for {lasted}. {message}"
    ).strip()


def _clock(at: Any) -> str:
    time = moment(at)
    return f"{time:%H:%M} UTC" if time else "an unknown time"
