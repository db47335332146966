"""Which requests a project's state allows, and the sentence for each that it doesn't: why, and what else to press.

One table for services, buttons and commands, so that all of them say the same.
"""

from enum import Enum
from typing import assert_never

from projects.domain.lifecycle import Standing
from projects.domain.states import DesiredState, Phase, Reason


class Request(Enum):
    """What can be asked for a project."""

    PROVISION = "provision"
    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"
    FORGET = "forget"


def explain_refusal(request: Request, project: Standing) -> str:
    """Return why the project's state refuses the request, and what to press instead; "" where it is accepted."""
    if project.phase == Phase.DELETED:
        return _explain_ended(request, project)
    match request:
        case Request.PROVISION:
            return _explain_no_provision(project)
        case Request.RETRY:
            return _explain_no_retry(project)
        case Request.CANCEL:
            return _explain_no_cancel(project)
        case Request.DELETE:
            return ""
        case Request.FORGET:
            return _explain_no_forget(project)
        case _:
            assert_never(request)


def _explain_ended(request: Request, project: Standing) -> str:
    name, done = project.name, "forgotten" if project.is_forgotten else "deleted"
    match request:
        case Request.PROVISION | Request.RETRY:
            return f"{name} is {done}, and its name is never used again. Add a project under another name."
        case Request.CANCEL | Request.DELETE | Request.FORGET if project.is_forgotten:
            return f"{name} is forgotten already. What it left behind is listed in its timeline and under Orphans."
        case Request.CANCEL | Request.DELETE | Request.FORGET:
            return f"{name} is deleted already. Nothing that the panel made for it is left in the cluster."
        case _:
            assert_never(request)


def _explain_no_provision(project: Standing) -> str:
    if project.desired_state == DesiredState.DELETED:
        return (
            f"{project.name} is being deleted, and its name is never used again. Add a project under another name, "
            "or press Retry to ask for the deletion again."
        )
    if project.is_cancelling:
        return (
            f"{project.name} is being cancelled; it can be provisioned when that is done. Wait for it, press Retry to "
            "ask for it again, or Delete to end the project."
        )
    return ""


def _explain_no_retry(project: Standing) -> str:
    if project.desired_state == DesiredState.REGISTERED and not project.is_cancelling:
        state = "was cancelled" if project.reason == Reason.CANCELLED else "was never provisioned"
        return f"{project.name} {state}. Press Provision instead."
    return ""


def _explain_no_cancel(project: Standing) -> str:
    name = project.name
    match DesiredState(project.desired_state):
        case DesiredState.REGISTERED if project.is_cancelling:
            return ""
        case DesiredState.REGISTERED:
            return f"Nothing was asked for {name}, so there is nothing to cancel. Press Provision, or Delete to end it."
        case DesiredState.DELETED:
            return (
                f"The deletion of {name} has begun and can't be taken back. Wait for it, press Retry to ask for it "
                "again, or Forget once it is late and what is left won't go."
            )
        case DesiredState.RUNNING if project.has_run:
            otherwise = "" if project.phase == Phase.RUNNING else ", or Retry to get it up again"
            return (
                f"{name} has run: what was stored in it would go with it. Press Delete if that is what you want"
                f"{otherwise}."
            )
        case DesiredState.RUNNING:
            return ""
        case _ as unknown:
            assert_never(unknown)


def _explain_no_forget(project: Standing) -> str:
    if project.is_being_removed or project.is_out_of_reach:
        return ""
    return (
        f"{project.name} is within reach, so nothing of it has to be left behind. Press Delete; Forget is for a "
        "deletion that does not come to its end, and for a cluster that can't be reached."
    )
