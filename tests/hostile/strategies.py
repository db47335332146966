"""Input of broken and hostile people, programs and API servers, and the number of examples that a test tries."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

# Ordinary runs try the same examples each time; HOSTILE_EXAMPLES=50 tries fifty times as many, chosen at random.
FACTOR = int(os.environ.get("HOSTILE_EXAMPLES", "1"))
MEGABYTE = "A" * 1_000_000


def examples(count: int) -> settings:
    """Return the settings of a test that tries `count` examples in an ordinary run."""
    return settings(
        max_examples=count * FACTOR,
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # Shrinking an example takes longer than the whole run.
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if FACTOR > 1 else [])],
    )


TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "x\udcffy",
    "line\nINFO forged: line",
    "\r\nSet-Cookie: a=b",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\u202egnitirw\u2066",
    "\u2028\u2029\x85\x0b\x0c",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "{{ 7*7 }}{% debug %}",
    "'; DROP TABLE projects_project; --",
    "$(touch /tmp/pwned) `id` ; rm -rf /",
    "../../../etc/passwd",
    "%00%0a%s%n{0}",
    "a: &a [*a]\n- !!python/object/apply:os.system ['id']\n",
    "=cmd|' /C calc'!A0",
    "٣٤٥",
    "9" * 5000,
    "-1",
    "1e309",
    "NaN",
    "0x10",
    "é" * 300,
    "🦄" * 70,
    "İ" * 70,
    "a" * 70,
    "A" * 10_000,
    "true",
    "None",
)
NUMBERS = (0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1.5, 1e308, float("inf"), float("nan"))


@contextmanager
def undone() -> Iterator[None]:
    """Undo the changes of an example to the database."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# By number: hypothesis prints a strategy's samples, which are megabytes long.
def _text(number: int) -> str:
    return TEXTS[number]


def _number(number: int) -> float:
    return NUMBERS[number]


def texts(max_size: int = 30) -> st.SearchStrategy[str]:
    """Texts that have broken something, and any others, with NUL and lone surrogates."""
    return st.integers(0, len(TEXTS) - 1).map(_text) | st.text(st.characters(), max_size=max_size)


def scalars() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers(0, len(NUMBERS) - 1).map(_number) | texts()


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value, a few levels deep."""
    inner = scalars()
    one = st.lists(inner, max_size=2) | st.dictionaries(texts(10), inner, max_size=2)
    return inner | one | st.lists(one, max_size=2) | st.dictionaries(texts(10), one, max_size=2)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all places inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in inside for path in ((*above, key), *_places(inner, (*above, key)))]


@dataclass(frozen=True)
class Spoil:
    """A change to one place of a JSON value: replace it, remove it, or double it in its list."""

    place: int
    how: str
    anything: Any

    def __repr__(self) -> str:
        return f"<{self.how} place {self.place}: {repr(self.anything)[:200]}>"

    def __call__(self, value: Any) -> Any:
        """Return `value` with the change; a list or object is changed in place."""
        places = _places(value)
        if not places:
            return self.anything
        *way, key = places[self.place % len(places)]
        holder = value
        for step in way:
            holder = holder[step]
        match self.how:
            case "replace":
                holder[key] = self.anything
            case "remove":
                del holder[key]
            case _ if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
        return value


def spoils() -> st.SearchStrategy[Spoil]:
    return st.builds(
        Spoil, st.integers(0, 60), st.sampled_from(("replace", "replace", "remove", "double")), json_values()
    )


@st.composite
def mutated(draw: st.DrawFn, *templates: Any) -> Any:
    """One of the templates, changed in up to four places."""
    value = copy.deepcopy(draw(st.sampled_from(templates)))
    for spoil in draw(st.lists(spoils(), max_size=4)):
        value = spoil(value)
    return value
