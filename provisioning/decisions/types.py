"""The words of a decision: what is wanted, what was seen, what is to be done and said. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason
from provisioning.decisions.readiness import Readiness
from provisioning.objects.credentials import Missing
from provisioning.objects.diff import Difference


class Action(Enum):
    """One step towards what is wanted; each is safe to repeat."""

    APPLY_CLUSTER = "apply_cluster"
    ADOPT_CLUSTER = "adopt_cluster"
    REPLACE_DATABASE = "replace_database"
    CAPTURE_CREDENTIALS = "capture_credentials"
    VERIFY_CONNECTION = "verify_connection"
    ROTATE_PASSWORD = "rotate_password"  # noqa: S105 - an action, not a password  # nosec B105
    APPLY_SANDBOX = "apply_sandbox"
    APPLY_SANDBOX_WITH_DEFAULT = "apply_sandbox_with_default"
    DELETE_OBJECTS = "delete_objects"
    RELEASE_CLUSTER = "release_cluster"
    MEND_DRIFT = "mend_drift"
    FINISH_DELETION = "finish_deletion"
    FINISH_CANCELLATION = "finish_cancellation"


class Requeue(Enum):
    """How soon to look again when no event asks for it earlier."""

    POLL = "poll"  # nothing will tell us
    WATCHED = "watched"  # the watcher will tell us, where one runs
    FAILED = "failed"  # it may heal by itself
    SETTLED = "settled"  # only drift is left to be found
    ONCE_MORE = "once_more"  # a pass that lost its lease may still have made something
    NEVER = "never"


class ObservedCredentials(Enum):
    """How the cluster's Secret compares with the captured credentials."""

    UNKNOWN = "unknown"
    MISSING = "missing"
    CHANGED = "changed"
    SAME = "same"


class Verification(Enum):
    """What came of connecting as the captured user."""

    VERIFIED = "verified"
    UNREACHABLE = "unreachable"  # no way there from the panel
    UNANSWERED = "unanswered"  # a way, but no answer in time
    REFUSED = "refused"  # the server says not now
    REJECTED = "rejected"  # the server says not you


@dataclass(frozen=True, slots=True)
class Status:
    """What a row is to say. `deadline` is None when nothing is waited for."""

    phase: Phase
    reason: Reason
    message: str
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class DesiredDatabase:
    """The live DatabaseCluster row, as far as decisions need it."""

    name: str
    origin: Origin
    object_uid: str = ""
    is_applied: bool = False
    has_run: bool = False
    is_reported_missing: bool = False
    captured_at: datetime | None = None
    is_verified: bool = False
    is_rotating: bool = False
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class DesiredSandbox:
    """The live Sandbox row, as far as decisions need it."""

    name: str
    is_applied: bool = False
    credentials: CredentialsSource = CredentialsSource.NONE
    environment_digest: str = ""
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class DriftResponse:
    """What is to be done about drift. `is_contested`: it was taken back again and again, and is only reported now."""

    mends: bool = True
    is_contested: bool = False


@dataclass(frozen=True, slots=True)
class Desired:
    """One project's intent and rows. `is_new_intent`: nobody has carried out the last request yet; `may_replace`: it
    asked for a database, a new one if the old one vanished; `is_cancelled`: what a request made is to be taken back;
    `is_ended`: no deletion or cancellation is under way (any more)."""

    uid: str
    state: DesiredState
    timeout_s: int
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
    """An object of a project that is to be removed. `is_kept`: a Cluster that is released instead; `is_ours`: the panel
    deletes it, where others are deleted by who made them and only waited for; `uid`: which object was meant, whatever
    comes to its name later."""

    label: str
    is_deleting: bool = False
    is_kept: bool = False
    is_ours: bool = True
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What this pass has observed so far."""

    cluster: Readiness
    credentials: ObservedCredentials = ObservedCredentials.UNKNOWN
    missing: Missing | None = None
    verification: Verification | None = None
    verification_note: str = ""
    sandbox: Readiness | None = None
    sandbox_note: str = ""
    # Digest of the environment with the captured credentials, and with the default ones.
    digest: str = ""
    default_digest: str = ""
    drift: tuple[Difference, ...] = ()
    remaining: tuple[Remaining, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The next action if there is one, and what the rows are to say until then."""

    action: Action | None
    project: Status
    requeue: Requeue
    database: Status | None = None
    sandbox: Status | None = None
