"""The kinds of faults that strike in one process, each a function that begins it in a run and returns what ends it.

To add one: write the function in the module that it belongs to, under `@kind("its name")`. `make faults` runs it from
then on, and `tests/faults/test_runs.py` does once.
"""

from collections.abc import Callable

from tests.faults.run import EndFault, Kind, Run

KINDS: dict[str, Kind] = {}
Strike = Callable[[Run], EndFault | None]


def kind(name: str) -> Callable[[Strike], Strike]:
    """Register a kind of fault."""

    def register(strike: Strike) -> Strike:
        assert name not in KINDS
        KINDS[name] = Kind(name, strike)
        return strike

    return register


def all_kinds() -> dict[str, Kind]:
    """Return every kind by its name."""
    from tests.faults import (  # noqa: F401
        kinds_api,
        kinds_database,
        kinds_orphans,
        kinds_outside,
        kinds_password,
        kinds_people,
        kinds_work,
    )

    return KINDS
