"""Kinds of faults that occur within one process. Each is a function that starts the fault in a run and returns a
function that ends it.

To add one, write the function in the module of its subject, with the decorator `@kind("its name")`. `make faults` runs
it many times, `tests/faults/test_runs.py` once.
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
    """Return all kinds by name."""
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
