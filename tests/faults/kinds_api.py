"""Faults of the API server."""

from typing import Any

from tests.faults.kinds import kind
from tests.faults.run import EndFault, Run

_WRITES = ("patch", "delete")
_RESOURCES = ("clusters", "secrets", "services", "statefulsets")


def _rule(run: Run, fault: Any, **conditions: Any) -> EndFault:
    """Set a fault rule for the panel's requests; return a function that removes it."""
    rule = run.faults.add(fault, user="admin", **conditions)
    return lambda: run.faults.remove(rule.id)


def _some(run: Run) -> dict[str, Any]:
    """Return which requests are affected: all, those of a verb, or those for a resource; always or at random."""
    conditions: dict[str, Any] = {"probability": run.rng.choice([1.0, 0.5])}
    match run.rng.randint(0, 2):
        case 0:
            conditions["verb"] = run.rng.choice(["get", "list", *_WRITES])
        case 1:
            conditions["resource"] = run.rng.choice(_RESOURCES)
    return conditions


@kind("429 from the API server")
def too_many(run: Run) -> EndFault:
    return _rule(run, "status", status=429, retry_after_s=run.rng.choice([0, 1, 30]), **_some(run))


@kind("500 from the API server")
def internal_error(run: Run) -> EndFault:
    return _rule(run, "status", status=500, **_some(run))


@kind("503 from the API server")
def unavailable(run: Run) -> EndFault:
    return _rule(run, "status", status=503, **_some(run))


@kind("token not accepted (401)")
def unauthorized(run: Run) -> EndFault:
    return _rule(run, "status", status=401)


@kind("permission taken away (403)")
def forbidden(run: Run) -> EndFault:
    return _rule(run, "status", status=403, **_some(run))


@kind("conflict on a write (409)")
def conflict(run: Run) -> EndFault:
    return _rule(run, "status", status=409, verb=run.rng.choice(_WRITES), count=run.rng.randint(1, 4))


@kind("list too old (410)")
def list_expired(run: Run) -> EndFault:
    return _rule(run, "status", status=410, verb="list", count=run.rng.randint(1, 6))


@kind("everything not found (404)")
def not_found(run: Run) -> EndFault:
    """A proxy in front of the API server that answers 404 for objects that exist."""
    return _rule(run, "status", status=404, resource=run.rng.choice(["", "clusters"]), count=run.rng.randint(1, 6))


@kind("time-out before the effect")
def timeout_before(run: Run) -> EndFault:
    return _rule(run, "timeout-before", seconds=0.4, count=run.rng.randint(1, 3), **_some(run))


@kind("time-out after the effect")
def timeout_after(run: Run) -> EndFault:
    return _rule(run, "timeout-after", seconds=0.4, count=run.rng.randint(1, 3), verb=run.rng.choice(_WRITES))


@kind("time-out, and the effect much later")
def late_effect(run: Run) -> None:
    for _ in range(run.rng.randint(1, 2)):
        run.gate.postpone(run.rng.randint(0, 3))


@kind("deleted before a late effect")
def late_after_delete(run: Run) -> None:
    """The deletion finds nothing and ends; then the API server executes an earlier request."""
    project = run.rng.choice(run.projects)
    run.gate.postpone(0)
    run.people.provision(project)
    for _ in range(20):
        if run.gate.late:
            break
        run.worker.run_one()
    run.people.delete(project)
    for _ in range(10):
        run.worker.run_all()
        run.operator.run()
        run.sweep()
        run.clock.advance(2.5)


@kind("connection reset before the effect")
def reset_before(run: Run) -> EndFault:
    return _rule(run, "reset-before", count=run.rng.randint(1, 4), **_some(run))


@kind("connection reset after the effect")
def reset_after(run: Run) -> EndFault:
    return _rule(run, "reset-after", count=run.rng.randint(1, 4), verb=run.rng.choice(_WRITES))


@kind("an apply whose answer was lost")
def answer_lost(run: Run) -> EndFault:
    # Twice: the client retries a broken connection once.
    return _rule(run, "reset-after", verb="patch", resource=run.rng.choice(_RESOURCES), count=2)


@kind("slow bodies")
def slow_body(run: Run) -> EndFault:
    # Some of these end before the timeout, some after it.
    return _rule(run, "slow-body", seconds=run.rng.choice([0.05, 1.5]), count=run.rng.randint(1, 4))


@kind("stale lists")
def stale_list(run: Run) -> EndFault:
    return _rule(run, "stale-list", resource=run.rng.choice(["", *_RESOURCES]))


@kind("API server gone")
def unreachable(run: Run) -> EndFault:
    return _rule(run, "reset-before")
