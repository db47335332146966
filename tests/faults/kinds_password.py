"""Faults during a password rotation, with real databases. Afterwards the panel, the Secret, the sandbox and the server
have the same password.
"""

import base64
from collections.abc import Callable
from functools import partial

import psycopg
from django.conf import settings

from projects.models import DatabaseCluster
from projects.services.replaced_secret import request_restore_secret
from provisioning.decisions.types import Verification
from provisioning.reconcile.loop import run_pass
from provisioning.reconcile.verify import verify_connection
from tests.faults import kinds_database
from tests.faults.evidence import find_wrong_passwords
from tests.faults.kinds import kind
from tests.faults.operator import secret_name
from tests.faults.postgres import shared
from tests.faults.run import EndFault, Run

# Numbers of connections, requests and statements of a rotation.
_CONNECTIONS, _REQUESTS, _STATEMENTS = 3, 18, 60
# Number of connections before the one that proves the new password of the first rotation.
_PROOF = 2


def _provision(run: Run) -> None:
    """Bring all projects to a state in which their passwords can be rotated."""
    run.operator.serve(shared())
    run.checks.append(lambda: find_wrong_passwords(project.pk for project in run.projects))
    settings.VERIFY_CONNECTIONS = True
    for project in run.projects:
        run.people.provision(project)
    run.settle()


def _begin(run: Run) -> None:
    """Provision all projects, and request a rotation of each password."""
    _provision(run)
    for project in run.projects:
        run.people.change_password(project)


def _live(run: Run) -> list[DatabaseCluster]:
    """Return the databases with captured credentials."""
    ids = [project.pk for project in run.projects]
    rows = DatabaseCluster.objects.filter(project__in=ids, retired_at=None).exclude(captured_at=None)
    return [row for row in rows if run.api.get("secrets", secret_name(row.name)) is not None]


def _somewhere(run: Run, hook: Callable[[], object]) -> None:
    """Interrupt a connection, a request or a statement of the rotation."""
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
    """The Secret has the new password, but the panel gets no answer, twice: the client retries once."""
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


def _in_the_middle(run: Run, strike: Callable[[], EndFault | None], skipped: int | None = None) -> EndFault:
    """Interrupt a connection of the rotation, at random or after a number of others; return a function that ends or
    prevents that.
    """
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

    if skipped is None:
        run.gate.at_connection(run.rng.randint(0, _CONNECTIONS), begin, after=run.rng.random() < 0.5)
    else:
        run.gate.at_connection(skipped, begin, after=False)
    return end


@kind("buttons pressed in the middle of a change of password")
def pressed(run: Run) -> None:
    _begin(run)
    for _ in range(run.rng.randint(1, 3)):
        button, project = run.rng.choice(run.people.buttons), run.rng.choice(run.projects)
        run.gate.at_connection(run.rng.randint(0, _CONNECTIONS), partial(button, project), after=run.rng.random() < 0.5)


@kind("lease lost in the middle of a change of password")
def overtaken(run: Run) -> None:
    """The worker stalls, and another worker runs a pass of the project."""
    _begin(run)
    run.gate.at_connection(
        run.rng.randint(0, _CONNECTIONS), lambda: _run_other_worker(run), after=run.rng.random() < 0.5
    )


@kind("lease lost during a failed proof of a new password")
def overtaken_in_vain(run: Run) -> None:
    """The worker's proof fails long after another worker has finished the rotation."""
    _begin(run)

    def fail_late() -> None:
        _run_other_worker(run)
        raise psycopg.OperationalError("sorry, too many clients already")

    run.gate.at_connection(_PROOF, fail_late, after=False)


def _run_other_worker(run: Run) -> None:
    """Let another worker run the pass while this one stalls."""
    run.clock.advance(run.rng.uniform(46, 120))
    for project in run.projects:
        run_pass(project.pk)


@kind("server refuses everybody in the middle of a change of password")
def refused(run: Run) -> EndFault:
    """The server refuses everyone, often just after the worker has set the new password and died; later it accepts
    logins again.
    """
    _begin(run)
    server = shared()

    def strike() -> EndFault:
        server.take_passwords(takes=False)
        return lambda: server.take_passwords(takes=True)

    is_killed = run.rng.random() < 0.7
    end = _in_the_middle(run, strike, _PROOF if is_killed else None)
    if is_killed:
        run.gate.at_connection(_PROOF, run.gate.kill, after=False)
    # Longer than the lease of the killed worker.
    _retry_during_the_fault(run, run.rng.randint(6, 9) if is_killed else run.rng.randint(0, 4))
    return end


@kind("database's server killed in the middle of a change of password")
def server_killed(run: Run) -> EndFault:
    """The server is killed before it has the new password, before the proof, or after it; it recovers later."""
    _begin(run)
    server = shared()

    def strike() -> EndFault:
        server.stop_at_once()
        return server.start

    end = _in_the_middle(run, strike)
    # Long enough for the panel to retry while the server is down.
    _retry_during_the_fault(run, run.rng.randint(0, 4))
    return end


def _retry_during_the_fault(run: Run, times: int) -> None:
    """Let the panel work for a number of rounds, ten seconds apart, while the fault lasts."""
    for _ in range(times):
        run.sweep()
        run.worker.run_all()
        run.clock.advance(10)


@kind("account Secret made immutable")
def immutable(run: Run) -> None:
    """KubeBlocks up to 0.9.3 makes the Secrets immutable: before the rotation, or between its proof and its write. The
    Secrets stay so.
    """
    _provision(run)
    databases = _live(run)

    def make() -> None:
        for row in databases:
            if run.api.get("secrets", secret_name(row.name)) is not None:
                run.api.patch("secrets", secret_name(row.name), {"immutable": True})

    if run.rng.random() < 0.5:
        make()
        stored = {row.name: shared().verifier(row.username) for row in databases}
        run.checks.append(lambda: _find_changes(databases, stored))
    else:
        run.gate.at_connection(run.rng.randint(1, _CONNECTIONS), make, after=run.rng.random() < 0.5)
    for project in run.projects:
        run.people.change_password(project)


def _find_changes(databases: list[DatabaseCluster], stored: dict[str, str]) -> list[str]:
    """Return a sentence for each password that was changed on the server although no Secret can take another one."""
    return [
        f"The password of {row.name} was changed on its server, and its Secret is immutable."
        for row in databases
        if shared().verifier(row.username) != stored[row.name]
    ]


@kind("Secret replaced with another password by the operator")
def replaced(run: Run) -> None:
    """A user deletes the Secrets, and KubeBlocks creates them again with passwords that the server does not have. The
    panel may connect or not; a user may write the proved passwords back.
    """
    _provision(run)
    run.checks.append(lambda: _find_thrown_away(run))
    settings.VERIFY_CONNECTIONS = run.rng.random() < 0.6
    for row in _live(run):
        _replace(run, row)
    if run.rng.random() < 0.4:
        run.settle()
        for project in run.projects:
            run.people.ask(request_restore_secret, project)


def _replace(run: Run, row: DatabaseCluster) -> None:
    secret = run.api.get("secrets", secret_name(row.name))
    assert secret is not None
    password = base64.b64encode(run.operator.new_password().encode()).decode()
    run.api.delete("secrets", secret_name(row.name))
    metadata = {"name": secret_name(row.name), "labels": secret["metadata"]["labels"]}
    run.api.create("secrets", {"metadata": metadata, "data": {**secret["data"], "password": password}})


def _find_thrown_away(run: Run) -> list[str]:
    """Return a sentence for each database whose server does not accept the captured password."""
    return [
        f"The password of {row.name} that was proved is no longer stored."
        for row in _live(run)
        if row.connection is None or verify_connection(row.connection)[0] is not Verification.VERIFIED
    ]
