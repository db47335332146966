"""A change of a database's password that something strikes in the middle. The databases are real ones here: whatever
happens, the panel, the Secret, the sandbox and the server have to end up with the same password."""

from collections.abc import Callable
from functools import partial

from django.conf import settings

from provisioning.reconcile import run_pass
from tests.faults import kinds_database
from tests.faults.evidence import find_wrong_passwords
from tests.faults.kinds import kind
from tests.faults.postgres import shared
from tests.faults.run import EndFault, Run

# A change makes so many connections and requests, and statements with the pass around it.
_CONNECTIONS, _REQUESTS, _STATEMENTS = 3, 12, 60


def _begin(run: Run) -> None:
    """Bring all projects to where their passwords can be changed, and ask for it."""
    run.operator.serve(shared())
    run.checks.append(lambda: find_wrong_passwords(project.pk for project in run.projects))
    settings.VERIFY_CONNECTIONS = True
    for project in run.projects:
        run.people.provision(project)
    run.settle()
    for project in run.projects:
        run.people.change_password(project)


def _somewhere(run: Run, hook: Callable[[], object]) -> None:
    """Strike at a connection, a request or a statement of the change."""
    match run.rng.randint(0, 2):
        case 0:
            run.gate.at_connection(run.rng.randint(0, _CONNECTIONS), hook, after=run.rng.random() < 0.5)
        case 1:
            run.gate.at_request(run.rng.randint(0, _REQUESTS), hook, after=run.rng.random() < 0.5)
        case _:
            run.gate.at_statement(run.rng.randint(0, _STATEMENTS), hook)


@kind("worker killed in the middle of a change of password")
def killed(run: Run) -> None:
    _begin(run)
    for _ in range(run.rng.randint(1, 3)):
        _somewhere(run, run.gate.kill)


@kind("answers lost in the middle of a change of password")
def answers_lost(run: Run) -> EndFault:
    """The Secret has the new password, and the panel is not told: twice, for one broken connection is tried again."""
    _begin(run)
    rule = run.faults.add(
        run.rng.choice(["reset-after", "timeout-after"]),
        user="admin",
        verb="patch",
        resource="secrets",
        seconds=0.4,
        count=run.rng.randint(2, 4),
    )
    return lambda: run.faults.remove(rule.id)


@kind("panel's database locked in the middle of a change of password")
def locked(run: Run) -> EndFault:
    run.may_have_internal_errors = True
    _begin(run)
    return _in_the_middle(run, lambda: kinds_database.locked(run))


def _in_the_middle(run: Run, strike: Callable[[], EndFault | None]) -> EndFault:
    """Strike at a connection of the change; return what ends it, or keeps it from beginning any more."""
    begun: list[EndFault | None] = []
    is_over = False

    def begin() -> None:
        if not is_over:
            begun.append(strike())

    def end() -> None:
        nonlocal is_over
        is_over = True
        for one in begun:
            if one is not None:
                one()

    run.gate.at_connection(run.rng.randint(0, _CONNECTIONS), begin, after=run.rng.random() < 0.5)
    return end


@kind("buttons pressed in the middle of a change of password")
def pressed(run: Run) -> None:
    _begin(run)
    for _ in range(run.rng.randint(1, 3)):
        button, project = run.rng.choice(run.people.buttons), run.rng.choice(run.projects)
        run.gate.at_connection(run.rng.randint(0, _CONNECTIONS), partial(button, project), after=run.rng.random() < 0.5)


@kind("lease lost in the middle of a change of password")
def overtaken(run: Run) -> None:
    """The worker stalls, and another one does its project meanwhile."""
    _begin(run)

    def stall() -> None:
        run.clock.advance(run.rng.uniform(46, 120))
        for project in run.projects:
            run_pass(project.pk)

    run.gate.at_connection(run.rng.randint(0, _CONNECTIONS), stall, after=run.rng.random() < 0.5)


@kind("database's server killed in the middle of a change of password")
def server_killed(run: Run) -> EndFault:
    """Before it was told the new password, between that and the proof, or behind it; it recovers some time later."""
    _begin(run)
    server = shared()

    def strike() -> EndFault:
        server.stop_at_once()
        return server.start

    end = _in_the_middle(run, strike)
    # Long enough for the panel to try again while nobody answers.
    for _ in range(run.rng.randint(0, 4)):
        run.sweep()
        run.worker.run_all()
        run.clock.advance(10)
    return end
