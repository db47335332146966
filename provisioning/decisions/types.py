"""Input and output types of `decide()`. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason, ReplacementChoice
from provisioning.decisions.readiness import Readiness
from provisioning.objects.credentials import Missing
from provisioning.objects.diff import Difference


class Action(Enum):
    """One step towards the desired state. Every action is safe to repeat."""

    ENSURE_DATABASE = "ensure_database"
    APPLY_CLUSTER = "apply_cluster"
    ADOPT_CLUSTER = "adopt_cluster"
    REPLACE_DATABASE = "replace_database"
    CAPTURE_CREDENTIALS = "capture_credentials"
    RESTORE_SECRET = "restore_secret"  # noqa: S105 - an action, not a password  # nosec B105
    USE_SECRET = "use_secret"  # noqa: S105 - an action, not a password  # nosec B105
    ROTATE_PASSWORD = "rotate_password"  # noqa: S105 - an action, not a password  # nosec B105
    APPLY_SANDBOX = "apply_sandbox"
    APPLY_SANDBOX_WITH_DEFAULT = "apply_sandbox_with_default"
    DELETE_OBJECTS = "delete_objects"
    RELEASE_CLUSTER = "release_cluster"
    REVERT_DRIFT = "revert_drift"
    FINISH_DELETION = "finish_deletion"
    FINISH_CANCELLATION = "finish_cancellation"


class Requeue(Enum):
    """When the next pass runs if no event asks for one earlier."""

    POLL = "poll"  # soon: no watch reports the change
    WATCHED = "watched"  # the watcher reports the change; soon if no watcher runs
    FAILED = "failed"  # later: the project may recover
    SETTLED = "settled"  # rarely: only drift is left to be found
    ONCE_MORE = "once_more"  # once: a pass that lost its lease may still have created something
    NEVER = "never"


class ObservedCredentials(Enum):
    """How the credentials in the Cluster's Secrets compare with the captured ones."""

    CHANGED = "changed"
    REPLACED = "replaced"  # another password took the place of a proved one: it is not used before it is proved
    SAME = "same"


class Verification(Enum):
    """The outcome of connecting with a database's credentials."""

    VERIFIED = "verified"
    UNREACHABLE = "unreachable"  # no route from the panel
    UNANSWERED = "unanswered"  # no answer in time
    REFUSED = "refused"  # the server does not accept connections
    REJECTED = "rejected"  # the server does not accept these credentials


@dataclass(frozen=True, slots=True)
class Status:
    """The status to record on a row. `deadline` is None if nothing is waited for."""

    phase: Phase
    reason: Reason
    message: str
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class DesiredDatabase:
    """The project's database row.

    `is_reported_missing`: people were told that the Cluster and its data are gone. `has_run`: it was Running once, so
    it may hold data.
    """

    name: str
    origin: Origin
    object_uid: str = ""
    is_applied: bool = False
    has_run: bool = False
    is_reported_missing: bool = False
    captured_at: datetime | None = None
    is_verified: bool = False
    is_rotating: bool = False
    replacement_choice: ReplacementChoice | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class DesiredSandbox:
    """The project's sandbox row."""

    name: str
    is_applied: bool = False
    credentials: CredentialsSource = CredentialsSource.NONE
    environment_digest: str = ""
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class DriftResponse:
    """How to respond to drift: revert it, or only report it. `is_contested`: it was reverted several times lately, so
    it is only reported."""

    reverts: bool = True
    is_contested: bool = False


@dataclass(frozen=True, slots=True)
class Desired:
    """One project's intent, rows and settings.

    `forbidden`: why nothing may be created or changed in the project's namespace; "" if it may. `is_new_intent`: no
    pass has carried out the last request. `may_replace`: that request included a database, so a Cluster that is gone
    may be replaced. `is_cancelled`: what a request created is to be removed. `is_ended`: no deletion or cancellation is
    in progress.
    """

    uid: str
    state: DesiredState
    timeout_s: int
    forbidden: str = ""
    is_new_intent: bool = False
    may_replace: bool = False
    database: DesiredDatabase | None = None
    sandbox: DesiredSandbox | None = None
    is_default_available: bool = False
    is_cancelled: bool = False
    is_ended: bool = False
    verifies: bool = True
    drift_response: DriftResponse = DriftResponse()
    deletion_deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Remaining:
    """An object of a project that is being removed.

    `is_kept`: a Cluster that is released, not deleted. `is_ours`: the panel deletes it; another object is deleted by
    the controller that created it. `uid`: which object this is, so that a later one of the same name is not deleted.
    `obstacle`: why its deletion makes no progress, as sentences; "" if nothing says so.
    """

    label: str
    is_deleting: bool = False
    is_kept: bool = False
    is_ours: bool = True
    uid: str = ""
    obstacle: str = ""

    @property
    def is_deletable(self) -> bool:
        """Whether the panel has to request the deletion."""
        return self.is_ours and not self.is_deleting and not self.is_kept


@dataclass(frozen=True, slots=True)
class ExistingDatabase:
    """A Cluster that is the project's, though no live database row says so."""

    name: str
    origin: Origin
    uid: str = ""


# The Secrets of a Cluster that is not running are not read, and no decision needs them.
CREDENTIALS_UNREAD = Missing(Reason.CLUSTER_NOT_RUNNING, "The database is not running, so its Secrets were not read.")


@dataclass(frozen=True, slots=True)
class Observed:
    """What a pass has observed so far.

    `existing`: only where the project has no database row. `verification`: of the credentials in the Secret, else of
    the captured ones; None if the panel did not connect. `captured_verification`: of the captured ones, where the
    Secret's replaced them.
    `serves`: the panel connected to a database that KubeBlocks is changing.
    `digest` and `default_digest`: of the sandbox's environment with the captured and with the default credentials.
    """

    cluster: Readiness
    credentials: ObservedCredentials | Missing = CREDENTIALS_UNREAD
    existing: ExistingDatabase | None = None
    verification: Verification | None = None
    verification_note: str = ""
    captured_verification: Verification | None = None
    sandbox: Readiness | None = None
    sandbox_note: str = ""
    digest: str = ""
    default_digest: str = ""
    serves: bool = False
    drift: tuple[Difference, ...] = ()
    remaining: tuple[Remaining, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The next action, if there is one, and the status of the rows until it is done."""

    action: Action | None
    project: Status
    requeue: Requeue
    database: Status | None = None
    sandbox: Status | None = None
