"""Which requests a project accepts in each stage of its life, and why it refuses the others.

POLICY is the only place that decides it: services, buttons, admin actions, commands and dry runs ask `find_refusal` or
`is_allowed`. To add a request, add a member to Request and a rule to POLICY; a rule has to answer for every stage.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from projects.domain.lifecycle import ProjectLifecycle, Stage
from projects.domain.namespaces import explain_forbidden
from projects.domain.states import DesiredState


class Request(Enum):
    """What people can ask of a project."""

    PROVISION = "provision"
    RETRY = "retry"
    CANCEL = "cancel"
    ADOPT = "adopt"
    ROTATE_PASSWORD = "rotate_password"  # noqa: S105 - a request, not a password  # nosec B105
    VERIFY = "verify"
    RESTORE_SECRET = "restore_secret"  # noqa: S105 - a request, not a password  # nosec B105
    USE_SECRET = "use_secret"  # noqa: S105 - a request, not a password  # nosec B105
    DELETE = "delete"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: a CamelCase reason for programs, and a message for people with what to do instead."""

    reason: str
    message: str

    def __str__(self) -> str:
        return self.message


Check = Callable[[ProjectLifecycle], Refusal | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a project answers one request.

    `accepted` and `refused` name every stage once; messages have a place for the project's {name}. `check` can refuse
    what the stage accepts. `desired`: the state that the request asks for; None if it keeps the one that there is.
    """

    accepted: Collection[Stage]
    refused: Mapping[Stage, Refusal]
    check: Check | None = field(default=None)
    desired: DesiredState | None = None

    def __post_init__(self) -> None:
        if {*self.accepted} ^ {*self.refused} != {*Stage} or {*self.accepted} & {*self.refused}:
            raise TypeError("A rule accepts or refuses each stage.")


# --- Refusals --------------------------------------------------------------------------------------------------------

_NAME_NOT_REUSABLE = Refusal(
    "Deleted", "{name} is deleted, and its name can't be reused. Add a project under another name."
)
_ALREADY_DELETED = Refusal("Deleted", "{name} is already deleted. Nothing that the panel created for it is left.")
_ALREADY_FORGOTTEN = Refusal(
    "Forgotten",
    "{name} was already forgotten. Its events and the page Orphaned objects list what it left in the cluster.",
)
_PASSWORD_GONE = Refusal("Deleted", "{name} is deleted, and its password is no longer stored.")
_ADOPT_FOR_ANOTHER = Refusal("Deleted", "{name} is deleted. Adopt the cluster for another project.")
_BEING_DELETED = Refusal(
    "Deleting",
    "{name} is being deleted, and its name can't be reused. Add a project under another name, or press Retry to "
    "request the deletion again.",
)
_DELETION_STARTED = Refusal(
    "Deleting",
    "The deletion of {name} has started and can't be undone. Wait for it to finish or press Retry to request it again. "
    "If its objects can't be deleted, press Forget once the deletion is late.",
)
_PASSWORD_NOT_NEEDED = Refusal("Deleting", "{name} is being deleted, so its database needs no new password.")
_BEING_CANCELLED = Refusal(
    "Cancelling",
    "{name} is being cancelled. Wait for that to finish before you provision it again, press Retry to repeat the "
    "cancellation, or press Delete to delete the project.",
)
_NEVER_PROVISIONED = Refusal("NotProvisioned", "{name} is not provisioned. Press Provision instead.")
_NOTHING_TO_CANCEL = Refusal(
    "NotProvisioned",
    "{name} is not provisioned, so there is nothing to cancel. Press Provision, or Delete to delete the project.",
)
_HAS_RUN = Refusal(
    "HasRun", "{name} has run, so cancelling would delete its data. Press Delete to delete it with its data."
)
_HAS_RUN_AND_IS_DOWN = Refusal(
    "HasRun",
    "{name} has run, so cancelling would delete its data. Press Retry to get it running again, or Delete to delete it "
    "with its data.",
)
_NOT_RUNNING = Refusal(
    "NotRunning", "{name} has to be running before its password can be rotated. Press Provision or Retry first."
)
_NO_CREDENTIALS = Refusal(
    "NoCredentials",
    "{name} has no credentials yet, so there is no password to rotate. Ask the panel's owner to change the "
    "password of the default database.",
)
_NOTHING_TO_VERIFY = Refusal(
    "NoCredentials",
    "{name} has no captured credentials, so there is nothing to verify. Press Provision or Retry first.",
)
_PASSWORD_NOT_USED = Refusal("Deleting", "{name} is being removed, so its password is not needed anymore.")
_SECRET_IN_ORDER = Refusal(
    "SecretInOrder",
    "The Secret of {name} has the password that the panel uses, as far as is known. Press Verify to look again.",
)
_WITHIN_REACH = Refusal(
    "WithinReach",
    "{name} can be reached, so its objects can be deleted. Press Delete instead. Forget is for deletions that don't "
    "finish and for clusters that can't be reached.",
)


def _check_namespace(project: ProjectLifecycle) -> Refusal | None:
    """Refuse what creates or changes objects in a namespace that isn't allowed, or no longer."""
    forbidden = "" if project.is_being_removed else explain_forbidden(project.namespace)
    return Refusal("NamespaceNotAllowed", f"{{name}}: {forbidden} Press Delete to delete it.") if forbidden else None


def _has_credentials(project: ProjectLifecycle) -> bool:
    return project.database is not None and project.database.has_credentials


def _check_credentials(project: ProjectLifecycle) -> Refusal | None:
    if refusal := _check_namespace(project):
        return refusal
    return None if _has_credentials(project) else _NO_CREDENTIALS


def _check_verifiable(project: ProjectLifecycle) -> Refusal | None:
    return None if _has_credentials(project) else _NOTHING_TO_VERIFY


def _check_replaced(project: ProjectLifecycle) -> Refusal | None:
    if refusal := _check_namespace(project):
        return refusal
    return None if project.database is not None and project.database.has_replaced_secret else _SECRET_IN_ORDER


def _check_reach(project: ProjectLifecycle) -> Refusal | None:
    return None if project.is_being_removed or project.is_out_of_reach else _WITHIN_REACH


# --- The table -------------------------------------------------------------------------------------------------------

_EXISTING = (Stage.NEW, Stage.PROVISIONING, Stage.RUNNING, Stage.DOWN, Stage.CANCELLING, Stage.DELETING)

# The stages in which a project uses the credentials of its database.
_IN_USE = (Stage.PROVISIONING, Stage.RUNNING, Stage.DOWN)


def _without_password(new: Refusal) -> Mapping[Stage, Refusal]:
    """Return the refusals of requests about captured credentials. `new`: that of a project without any."""
    return {
        Stage.NEW: new,
        Stage.CANCELLING: _PASSWORD_NOT_USED,
        Stage.DELETING: _PASSWORD_NOT_USED,
        Stage.DELETED: _PASSWORD_GONE,
        Stage.FORGOTTEN: _PASSWORD_GONE,
    }


POLICY: Mapping[Request, Rule] = {
    Request.PROVISION: Rule(
        accepted=(Stage.NEW, Stage.PROVISIONING, Stage.RUNNING, Stage.DOWN),
        refused={
            Stage.CANCELLING: _BEING_CANCELLED,
            Stage.DELETING: _BEING_DELETED,
            Stage.DELETED: _NAME_NOT_REUSABLE,
            Stage.FORGOTTEN: _NAME_NOT_REUSABLE,
        },
        check=_check_namespace,
        desired=DesiredState.RUNNING,
    ),
    Request.RETRY: Rule(
        accepted=(Stage.PROVISIONING, Stage.RUNNING, Stage.DOWN, Stage.CANCELLING, Stage.DELETING),
        refused={
            Stage.NEW: _NEVER_PROVISIONED,
            Stage.DELETED: _NAME_NOT_REUSABLE,
            Stage.FORGOTTEN: _NAME_NOT_REUSABLE,
        },
        check=_check_namespace,
    ),
    Request.CANCEL: Rule(
        accepted=(Stage.PROVISIONING, Stage.CANCELLING),
        refused={
            Stage.NEW: _NOTHING_TO_CANCEL,
            Stage.RUNNING: _HAS_RUN,
            Stage.DOWN: _HAS_RUN_AND_IS_DOWN,
            Stage.DELETING: _DELETION_STARTED,
            Stage.DELETED: _ALREADY_DELETED,
            Stage.FORGOTTEN: _ALREADY_FORGOTTEN,
        },
        desired=DesiredState.REGISTERED,
    ),
    Request.ADOPT: Rule(
        accepted=(Stage.NEW, Stage.PROVISIONING, Stage.RUNNING, Stage.DOWN),
        refused={
            Stage.CANCELLING: _BEING_CANCELLED,
            Stage.DELETING: _ADOPT_FOR_ANOTHER,
            Stage.DELETED: _ADOPT_FOR_ANOTHER,
            Stage.FORGOTTEN: _ADOPT_FOR_ANOTHER,
        },
        check=_check_namespace,
        desired=DesiredState.RUNNING,
    ),
    Request.ROTATE_PASSWORD: Rule(
        accepted=(Stage.RUNNING,),
        refused={
            Stage.NEW: _NOT_RUNNING,
            Stage.PROVISIONING: _NOT_RUNNING,
            Stage.DOWN: _NOT_RUNNING,
            Stage.CANCELLING: _NOT_RUNNING,
            Stage.DELETING: _PASSWORD_NOT_NEEDED,
            Stage.DELETED: _PASSWORD_GONE,
            Stage.FORGOTTEN: _PASSWORD_GONE,
        },
        check=_check_credentials,
    ),
    Request.VERIFY: Rule(accepted=_IN_USE, refused=_without_password(_NOTHING_TO_VERIFY), check=_check_verifiable),
    Request.RESTORE_SECRET: Rule(accepted=_IN_USE, refused=_without_password(_SECRET_IN_ORDER), check=_check_replaced),
    Request.USE_SECRET: Rule(accepted=_IN_USE, refused=_without_password(_SECRET_IN_ORDER), check=_check_replaced),
    Request.DELETE: Rule(
        accepted=_EXISTING,
        refused={Stage.DELETED: _ALREADY_DELETED, Stage.FORGOTTEN: _ALREADY_FORGOTTEN},
        desired=DesiredState.DELETED,
    ),
    Request.FORGET: Rule(
        accepted=_EXISTING,
        refused={Stage.DELETED: _ALREADY_DELETED, Stage.FORGOTTEN: _ALREADY_FORGOTTEN},
        check=_check_reach,
        desired=DesiredState.DELETED,
    ),
}


def find_refusal(request: Request, project: ProjectLifecycle) -> Refusal | None:
    """Return why the project refuses the request as it is now; None if it accepts it."""
    rule = POLICY[request]
    refusal = rule.refused.get(project.stage)
    if refusal is None and rule.check is not None:
        refusal = rule.check(project)
    return replace(refusal, message=refusal.message.format(name=project.name)) if refusal else None


def is_allowed(request: Request, project: ProjectLifecycle) -> bool:
    return find_refusal(request, project) is None
