"""No dead ends: whatever state a project is in, each request works or says why not and what else to press."""

import json
from itertools import product

import pytest
from django.utils import timezone

from projects.domain.request_policy import Request, explain_refusal
from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Event, Project
from projects.pages import presentation as display
from projects.services.cancellation import list_left, request_cancel, request_forget
from projects.services.provisioning import request_delete, request_provision, request_retry
from tests.factories import DatabaseFactory, ProjectFactory, SandboxFactory, UserFactory
from tests.support.commands import run
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db

# What passes and requests can leave behind: a phase for each wish.
PHASES = {
    DesiredState.REGISTERED: (Phase.NEW, Phase.DELETING, Phase.FAILED),
    DesiredState.RUNNING: (Phase.WAITING, Phase.CREATING, Phase.RUNNING, Phase.FAILED),
    DesiredState.DELETED: (Phase.DELETING, Phase.FAILED, Phase.DELETED),
}
STATES = [
    (desired, phase, reason, has_run, failures)
    for desired, phases in PHASES.items()
    for phase, reason, has_run, failures in product(phases, Reason, (False, True), (0, 3))
    if has_run or phase is not Phase.RUNNING
]
REQUESTS = {
    Request.PROVISION: request_provision,
    Request.RETRY: request_retry,
    Request.CANCEL: request_cancel,
    Request.DELETE: request_delete,
    Request.FORGET: request_forget,
}


def project_in(desired, phase, reason, has_run, failures) -> Project:
    ran_at = timezone.now() if has_run else None
    return Project(name="aaa", desired_state=desired, phase=phase, reason=reason, ran_at=ran_at, failures=failures)


def refusals(project: Project) -> dict[Request, str]:
    return {request: explain_refusal(request, project) for request in Request}


@pytest.mark.parametrize(("desired", "phase"), [(wish, phase) for wish, phases in PHASES.items() for phase in phases])
def test_every_state_has_a_way_out_and_every_refusal_names_it(desired, phase):
    for state in STATES:
        if state[:2] == (desired, phase):
            check_ways_out(project_in(*state))


def check_ways_out(project: Project) -> None:
    refused = refusals(project)
    for sentence in filter(None, refused.values()):
        assert sentence.startswith(("aaa ", "Nothing was asked for aaa", "The deletion of aaa"))
        if project.phase != Phase.DELETED:
            named = [request for request in Request if request.value.title() in sentence]
            assert any(not refused[request] for request in named), f"{sentence} names nothing that works"
    if project.phase == Phase.DELETED:
        assert all(refused.values())
        return
    assert not refused[Request.DELETE]
    assert not refused[Request.RETRY] or not refused[Request.PROVISION]
    is_out_of_reach = project.failures > 0 and project.reason in Reason.out_of_reach()
    assert bool(refused[Request.FORGET]) is not (is_out_of_reach or project.is_being_removed)
    assert not project.has_run or refused[Request.CANCEL] or project.is_cancelling


KINDS_OF_STATES = sorted(
    {(desired, phase, has_run, failures) for desired, phase, _, has_run, failures in STATES}, key=str
)


@pytest.mark.parametrize("request_kind", Request)
def test_services_pages_and_buttons_go_by_the_table(request_kind):
    """Of every state: what the table says is what the service does, and what is offered is what is accepted."""
    user = UserFactory.create(permissions=["view_project", "provision_project", "delete_project"], is_staff=True)
    for number, (desired, phase, has_run, failures) in enumerate(KINDS_OF_STATES):
        reason = Reason.DEADLINE_EXCEEDED
        project = ProjectFactory.create(
            name=f"a{number}",
            desired_state=desired,
            phase=phase,
            reason=reason,
            ran_at=timezone.now() if has_run else None,
            failures=failures,
        )
        refusal = explain_refusal(request_kind, project)
        offered = {action.name for action in display.available_actions(project, user)}
        if request_kind.value in offered:
            assert not refusal
        outcome = REQUESTS[request_kind](project, actor="tester")
        assert outcome.accepted is (refusal == ""), (desired, phase)
        assert not refusal or outcome.message == refusal


def test_a_running_project_whose_last_pass_failed_within_reach_is_not_forgotten():
    for reason in (Reason.PASSWORD_NOT_CHANGED, Reason.CLUSTER_REJECTED, Reason.KEY_MISSING, Reason.INTERNAL_ERROR):
        project = project_in(DesiredState.RUNNING, Phase.RUNNING, reason, has_run=True, failures=3)
        assert "within reach" in explain_refusal(Request.FORGET, project)


def test_retry_is_offered_only_where_there_is_such_a_button():
    up = project_in(DesiredState.RUNNING, Phase.RUNNING, Reason.READY, has_run=True, failures=0)
    down = project_in(DesiredState.RUNNING, Phase.FAILED, Reason.CLUSTER_FAILED, has_run=True, failures=0)
    assert "Retry" not in explain_refusal(Request.CANCEL, up)
    assert "Retry" in explain_refusal(Request.CANCEL, down)


def test_commands_say_the_same_sentences():
    ran = ProjectFactory.create(name="ran", running=True)
    new = ProjectFactory.create(name="new")
    ended = run("cancel", "ran", "new")
    assert ended.code == 1
    assert ended.err.splitlines()[-2:] == [explain_refusal(Request.CANCEL, project) for project in (ran, new)]
    forgotten = run("forget", "ran", "--yes")
    assert (forgotten.code, forgotten.err.strip()) == (1, explain_refusal(Request.FORGET, ran))


def test_pages_say_the_same_sentences():
    client = log_in("view_project", "provision_project", "delete_project")
    ran = ProjectFactory.create(name="ran", running=True)
    assert "Press Delete if that is what you want" in explain_refusal(Request.CANCEL, ran)
    said = client.post(page("cancel", ran.pk), headers=HTMX).content.decode()
    assert "ran has run: what was stored in it would go with it." in said
    assert "ran is within reach" in client.get(page("forget", ran.pk)).content.decode()


# --- forgetting ----------------------------------------------------------------------------------------------------


def stuck_project(**fields):
    project = ProjectFactory.create(name="stuck", desired_state=DesiredState.DELETED, phase=Phase.FAILED, **fields)
    DatabaseFactory.create(project=project, captured=True)
    SandboxFactory.create(project=project)
    return project


def test_forget_asks_first_and_lists_what_it_leaves():
    project = stuck_project()
    client = log_in("view_project", "delete_project")
    asked = client.get(page("forget", project.pk)).content.decode()
    for left in list_left(project):
        assert f"<strong>{left.kind}</strong> {left.namespace}/{left.name}" in asked
    unconfirmed = client.post(page("forget", project.pk)).content.decode()
    assert "Tick the box" in unconfirmed
    project.refresh_from_db()
    assert project.phase == Phase.FAILED
    client.post(page("forget", project.pk), {"confirmed": "yes"})
    project.refresh_from_db()
    assert (project.phase, project.reason, project.next_pass_at) == (Phase.DELETED, Reason.FORGOTTEN, None)
    event = Event.objects.get(project=project, reason=Reason.FORGOTTEN)
    for said in (project.message, event.message):
        assert "Cluster default/stuck-agentruntime-abc123" in said
        assert "PersistentVolumeClaim default/home-stuck-sandbox-0" in said
        assert "gone" not in said
    assert project.databases.get().password.reveal() == ""


def test_forget_by_command_does_nothing_without_yes():
    project = stuck_project()
    asked = run("forget", "stuck")
    assert asked.code == 2
    assert "Left behind, as last known: Cluster default/stuck-agentruntime-abc123" in asked.err
    assert run("forget", "stuck", "--dry-run").code == 0
    foreseen = json.loads(run("forget", "stuck", "--dry-run", "--json").out)
    assert foreseen["project"] == "stuck"
    assert "Cluster default/stuck-agentruntime-abc123" in foreseen["left"]
    project.refresh_from_db()
    assert project.phase == Phase.FAILED
    done = run("forget", "stuck", "--yes", "--json")
    assert (done.code, '"reason": "Forgotten"' in done.out) == (0, True)
