"""Steps of a project's life at which processes are killed: how to reach each step, and at which step a project is."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from projects.domain.states import DesiredState, Phase
from projects.models import Project
from projects.services.cancellation import request_cancel
from projects.services.outcome import Outcome
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import request_delete, request_provision

PROVISIONING, DATABASE, DEPLOYING = "provisioning", "waiting for the database", "capturing credentials, deploying"
SANDBOX, DELETING, ROTATION, CANCEL = "waiting for the sandbox", "deleting", "change of password", "cancel"
STEPS = (PROVISIONING, DATABASE, DEPLOYING, SANDBOX, DELETING, ROTATION, CANCEL)
AT_REST = "at rest"
# A project that has not reached its step by then is struck where it is, and counted there.
_PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.004
# Number of runs in which each step has to be struck at least once.
_RUNS_A_STRIKE = 40


def read_step(project_id: int) -> str:
    """Return the step of a project according to its rows: one of STEPS, or AT_REST."""
    project = Project.objects.get(pk=project_id)
    if is_at_rest(project):
        return AT_REST
    match DesiredState(project.desired_state):
        case DesiredState.DELETED:
            return DELETING
        case DesiredState.REGISTERED:
            return CANCEL
    database, sandbox = project.database, project.sandbox
    if database is not None and database.rotation_requested_at is not None:
        return ROTATION
    if database is None or not database.object_uid:
        return PROVISIONING
    if sandbox is not None and sandbox.applied_at is not None:
        return SANDBOX
    return DEPLOYING if database.phase == Phase.RUNNING or database.captured_at is not None else DATABASE


def is_at_rest(project: Project) -> bool:
    is_new = project.desired_state == DesiredState.REGISTERED and project.phase == Phase.NEW
    return project.is_carried_out or is_new


def missed_steps(struck: Mapping[str, int], runs: int) -> list[str]:
    """Return a sentence for each step with too few strikes: fewer than 5 of 200."""
    few = {step: struck.get(step, 0) for step in STEPS if struck.get(step, 0) < runs // _RUNS_A_STRIKE}
    return [f"Only {count} strikes of {runs} fell on: {step}." for step, count in few.items()]


@dataclass(frozen=True, slots=True)
class Life:
    """A project that is to be struck at `step`."""

    project: Project
    step: str
    rng: random.Random

    def prepare(self) -> None:
        """Provision projects that have to run before they can be deleted or get a new password."""
        if self.step in (DELETING, ROTATION):
            _accepted(request_provision, self.project)

    def go_there(self) -> None:
        """Request what leads to the step; return at a random moment of it."""
        match self.step:
            case "deleting":
                _accepted(request_delete, self.project)
            case "change of password":
                _wait_until(lambda: read_step(self.project.pk) == AT_REST, _PATIENCE_S)
                # An earlier strike may have ended its database.
                request_password_rotation(self.project, actor="ann")
            case _:
                _accepted(request_provision, self.project)
        if self.step == CANCEL:
            time.sleep(self.rng.uniform(0, 0.6))
            request_cancel(self.project, actor="bob")
        _wait_until(lambda: read_step(self.project.pk) == self.step, _PATIENCE_S)
        # Longer steps are struck at any moment; short ones would be over by then.
        longest_s = {DATABASE: 0.8, SANDBOX: 0.3, DELETING: 0.3, ROTATION: 0.08, CANCEL: 0.2, PROVISIONING: 0.06}
        time.sleep(self.rng.uniform(0, longest_s.get(self.step, 0.0)))


def _accepted(request: Callable[..., Outcome], project: Project) -> None:
    outcome = request(project, actor="ann")
    assert outcome.accepted, outcome.message


def _wait_until(is_so: Callable[[], bool], timeout_s: float) -> None:
    until_s = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < until_s:
        time.sleep(_LOOK_EVERY_S)
