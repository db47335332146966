"""Short fault runs: one of each kind that `make faults` repeats."""

import pytest
from django.db import connection

from projects.domain.states import Phase
from projects.models import Event, Project
from tests.faults.bugs import BUGS, planted
from tests.faults.kinds import all_kinds
from tests.faults.report import new_report
from tests.faults.run import ImpossibleError

# Some kinds of each module; `make faults` runs all of them many times.
KINDS = [
    "time-out after the effect",
    "time-out, and the effect much later",
    "an apply whose answer was lost",
    "disk full",
    "disk really full",
    "Secret with an empty password",
    "buttons pressed in the middle of a pass",
    "delete during create",
    "worker killed at a statement",
    "worker stalls, its lease is taken over",
    "clock jumps back",
    "orphans ended while something strikes",
    "worker killed in the middle of a change of password",
    "database's server killed in the middle of a change of password",
    "account Secret made immutable",
    "Secret replaced with another password by the operator",
]


@pytest.mark.parametrize("kind", KINDS)
def test_invariants_hold_after_a_fault(make_run, kind):
    try:
        assert make_run(kind, 7).play() == []
    except ImpossibleError as error:
        pytest.skip(str(error))


def test_run_without_a_fault_fulfills_all_requests(make_run):
    """Guards against a suite in which nothing happens."""
    run = make_run("tasks doubled", 3)
    run.is_busy, run.ends = False, False
    assert run.play() == []
    assert {project.phase for project in Project.objects.all()} == {Phase.RUNNING}
    assert len(run.operator.passwords) == len(run.projects) + 1  # the stranger's is the last


def test_password_is_changed_on_the_server(make_run):
    """Guards against faults during rotations that never start."""
    run = make_run("worker killed in the middle of a change of password", 7)
    run.is_busy, run.ends = False, False
    assert run.play() == []
    changed = Event.objects.filter(reason="PasswordRotated").values_list("project", flat=True)
    assert set(changed) == {project.pk for project in run.projects}
    assert run.worker.killed


def test_run_is_repeatable(make_run):
    """Two runs of one kind and seed have the same events, except for generated names."""
    told = []
    for _ in range(2):
        run = make_run("worker killed at a request", 11)
        run.play()
        with connection.cursor() as cursor:
            cursor.execute("SELECT actor, reason FROM projects_event ORDER BY id")
            told.append(cursor.fetchall())
    assert told[0] == told[1]


def test_listed_kinds_exist():
    assert len(all_kinds()) > 60
    assert set(KINDS) <= set(all_kinds())


def test_violation_is_kept_with_its_evidence(make_run, tmp_path):
    run = make_run("tasks lost", 1)
    run.report = new_report(tmp_path / "evidence")
    bug = next(bug for bug in BUGS if bug.name == "a status has no message")
    with planted(bug):
        violations = run.play()
    kept = run.report.read_text()
    assert violations
    assert violations[0] in kept
    for part in ("Rows of Project\n", "Rows of Sandbox", "Events", "Objects", "Log", "agentruntime"):
        assert part in kept
    assert not any(secret in kept for secret in run.operator.passwords | run.people.secrets)
