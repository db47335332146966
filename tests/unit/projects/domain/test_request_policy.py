"""The request policy: each stage has a way out, and services, pages, buttons and commands follow the table."""

from itertools import product

import pytest
from django.utils import timezone

from projects.domain.lifecycle import Stage
from projects.domain.request_policy import POLICY, Refusal, Request, Rule, find_refusal, is_allowed
from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Project
from projects.pages.buttons import available_buttons
from projects.services.adoption import Adoptable, request_adopt
from projects.services.cancellation import request_cancel
from projects.services.forget import request_forget
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import request_delete, request_provision, request_retry
from projects.services.replaced_secret import request_restore_secret, request_use_secret
from projects.services.verification import request_verification
from tests.factories import DatabaseFactory, ProjectFactory, UserFactory
from tests.support.commands import run
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db

# The phases that passes and requests can leave behind, by desired state.
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
# The way out of a stage is one of these; the others need a project that runs, or a cluster.
WAYS_OUT = (Request.PROVISION, Request.RETRY, Request.CANCEL, Request.DELETE, Request.FORGET)
FREE_CLUSTER = Adoptable("default", "free", "uid-free", "apps.kubeblocks.io/v1")
SERVICES = {
    Request.PROVISION: request_provision,
    Request.RETRY: request_retry,
    Request.CANCEL: request_cancel,
    Request.ADOPT: lambda project, *, actor: request_adopt(project, FREE_CLUSTER, actor=actor),
    Request.ROTATE_PASSWORD: request_password_rotation,
    Request.VERIFY: request_verification,
    Request.RESTORE_SECRET: request_restore_secret,
    Request.USE_SECRET: request_use_secret,
    Request.DELETE: request_delete,
    Request.FORGET: request_forget,
}


def project_in(desired, phase, reason, has_run, failures) -> Project:
    ran_at = timezone.now() if has_run else None
    return Project(name="aaa", desired_state=desired, phase=phase, reason=reason, ran_at=ran_at, failures=failures)


@pytest.mark.parametrize(("desired", "phase"), [(wish, phase) for wish, phases in PHASES.items() for phase in phases])
def test_every_refusal_names_a_request_that_works(desired, phase):
    for state in STATES:
        if state[:2] == (desired, phase):
            check_ways_out(project_in(*state))


def check_ways_out(project: Project) -> None:
    refused = {request: find_refusal(request, project) for request in WAYS_OUT}
    for refusal in filter(None, refused.values()):
        assert "aaa" in refusal.message
        if project.phase != Phase.DELETED:
            named = [request for request in WAYS_OUT if request.value.title() in refusal.message]
            assert any(not refused[request] for request in named), f"{refusal} names nothing that works"
    if project.phase == Phase.DELETED:
        assert all(refused.values())
        return
    assert not refused[Request.DELETE]
    assert not refused[Request.RETRY] or not refused[Request.PROVISION]
    is_out_of_reach = project.failures > 0 and project.reason in Reason.out_of_reach()
    assert bool(refused[Request.FORGET]) is not (is_out_of_reach or project.is_being_removed)
    assert not project.has_run or refused[Request.CANCEL] or project.is_cancelling


def test_every_state_is_one_stage():
    assert {project_in(*state).stage for state in STATES} == {*Stage}


def test_every_request_has_a_rule():
    assert {*POLICY} == {*Request}


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [((Stage.NEW,), ()), (tuple(Stage), (Stage.NEW,)), ((), tuple(Stage)[:-1])],
    ids=["stages missing", "a stage twice", "one stage missing"],
)
def test_rule_covers_every_stage_once(accepted, refused):
    with pytest.raises(TypeError):
        Rule(accepted, {stage: Refusal("No", "No.") for stage in refused})


KINDS_OF_STATES = sorted(
    {(desired, phase, has_run, failures) for desired, phase, _, has_run, failures in STATES}, key=str
)


@pytest.mark.parametrize("has_database", [False, True])
@pytest.mark.parametrize("request_kind", Request)
def test_services_and_buttons_follow_the_table(request_kind, has_database):
    """In every state a service does what the table says, and a button is offered only where its request is accepted."""
    user = UserFactory.create(permissions=["view_project", "provision_project", "delete_project"], is_staff=True)
    for number, (desired, phase, has_run, failures) in enumerate(KINDS_OF_STATES):
        project = ProjectFactory.create(
            name=f"a{number}",
            desired_state=desired,
            phase=phase,
            reason=Reason.DEADLINE_EXCEEDED,
            ran_at=timezone.now() if has_run else None,
            failures=failures,
        )
        if has_database:
            DatabaseFactory.create(project=project, captured=True)
        refusal = find_refusal(request_kind, project)
        offered = {button.name for button in available_buttons(project, user)}
        if request_kind.value in offered:
            assert refusal is None
        outcome = SERVICES[request_kind](project, actor="tester")
        if request_kind is Request.ADOPT and refusal is None and has_database:
            assert outcome.reason == "HasDatabase"
            continue
        assert outcome.accepted is (refusal is None), (desired, phase)
        assert refusal is None or (outcome.reason, outcome.message) == (refusal.reason, refusal.message)
        if request_kind is Request.ADOPT and outcome.accepted:
            project.databases.update(retired_at=timezone.now())


def test_reachable_running_project_is_not_forgotten():
    for reason in (Reason.PASSWORD_NOT_CHANGED, Reason.CLUSTER_REJECTED, Reason.KEY_MISSING, Reason.INTERNAL_ERROR):
        project = project_in(DesiredState.RUNNING, Phase.RUNNING, reason, has_run=True, failures=3)
        assert find_refusal(Request.FORGET, project).reason == "WithinReach"


def test_refusal_names_retry_only_if_it_is_offered():
    up = project_in(DesiredState.RUNNING, Phase.RUNNING, Reason.READY, has_run=True, failures=0)
    down = project_in(DesiredState.RUNNING, Phase.FAILED, Reason.CLUSTER_FAILED, has_run=True, failures=0)
    assert "Retry" not in find_refusal(Request.CANCEL, up).message
    assert "Retry" in find_refusal(Request.CANCEL, down).message


def test_rotation_needs_captured_credentials():
    project = ProjectFactory.create(running=True)
    assert find_refusal(Request.ROTATE_PASSWORD, project).reason == "NoCredentials"
    DatabaseFactory.create(project=project, captured=True)
    assert is_allowed(Request.ROTATE_PASSWORD, Project.objects.get(pk=project.pk))


def test_choice_needs_a_replaced_secret():
    project = ProjectFactory.create(running=True)
    database = DatabaseFactory.create(project=project, captured=True)
    for request in (Request.RESTORE_SECRET, Request.USE_SECRET):
        assert find_refusal(request, Project.objects.get(pk=project.pk)).reason == "SecretInOrder"
    database.secret_replaced_at = timezone.now()
    database.save()
    for request in (Request.RESTORE_SECRET, Request.USE_SECRET):
        assert is_allowed(request, Project.objects.get(pk=project.pk))


def test_commands_print_the_same_messages():
    ran = ProjectFactory.create(name="ran", running=True)
    new = ProjectFactory.create(name="new")
    ended = run("cancel", "ran", "new")
    assert ended.code == 1
    assert ended.err.splitlines()[-2:] == [find_refusal(Request.CANCEL, project).message for project in (ran, new)]
    forgotten = run("forget", "ran", "--yes")
    assert (forgotten.code, forgotten.err.strip()) == (1, find_refusal(Request.FORGET, ran).message)


def test_pages_show_the_same_messages():
    client = log_in("view_project", "provision_project", "delete_project")
    ran = ProjectFactory.create(name="ran", running=True)
    refused = client.post(page("cancel", ran.pk), headers=HTMX).content.decode()
    assert find_refusal(Request.CANCEL, ran).message in refused
    asked = client.get(page("forget", ran.pk))
    assert asked.context["refusal"].reason == "WithinReach"
    assert asked.context["refusal"].message.split("'")[0] in asked.content.decode()
