"""The enums of desired and observed states that rows, pages and commands share."""

from django.db import models


class DesiredState(models.TextChoices):
    """What users asked for. Only requests change it."""

    REGISTERED = "registered", "Not provisioned"
    RUNNING = "running", "Running"
    DELETED = "deleted", "Deleted"


class Phase(models.TextChoices):
    """What was last observed of a project, a database or a sandbox. Always accompanied by a Reason and a message."""

    NEW = "New", "New"
    WAITING = "Waiting", "Waiting"
    CREATING = "Creating", "Creating"
    RUNNING = "Running", "Running"
    FAILED = "Failed", "Failed"
    DELETING = "Deleting", "Deleting"
    DELETED = "Deleted", "Deleted"

    @classmethod
    def settled(cls) -> frozenset["Phase"]:
        """Phases in which nothing changes without a cause; pages refresh less often."""
        return frozenset({cls.NEW, cls.RUNNING, cls.FAILED, cls.DELETED})

    @classmethod
    def in_progress(cls) -> frozenset["Phase"]:
        return frozenset({cls.WAITING, cls.CREATING, cls.DELETING})


class Reason(models.TextChoices):
    """Why a phase is what it is, for programs. The message is for users."""

    NOT_REQUESTED = "NotRequested"
    REQUESTED = "Requested"
    WAITING_FOR_DATABASE = "WaitingForDatabase"
    CLUSTER_APPLIED = "ClusterApplied"
    CLUSTER_NOT_RUNNING = "ClusterNotRunning"
    CLUSTER_REJECTED = "ClusterRejected"
    CLUSTER_MISSING = "ClusterMissing"
    CLUSTER_DELETING = "ClusterDeleting"
    CLUSTER_FAILED = "ClusterFailed"
    DATABASE_STOPPED = "DatabaseStopped"
    OPERATOR_NOT_RUNNING = "OperatorNotRunning"
    DELETION_BLOCKED = "DeletionBlocked"
    CLUSTER_NOT_OURS = "ClusterNotOurs"
    CLUSTER_AMBIGUOUS = "ClusterAmbiguous"
    ADOPTION_NEEDED = "AdoptionNeeded"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, not a password  # nosec B105
    SECRET_INCOMPLETE = "SecretIncomplete"  # noqa: S105 - a reason, not a password  # nosec B105
    CONNECTION_REFUSED = "ConnectionRefused"
    CREDENTIALS_REJECTED = "CredentialsRejected"
    SECRET_REPLACED = "SecretReplaced"  # noqa: S105 - a reason, not a password  # nosec B105
    CAPTURED = "CredentialsCaptured"
    WAITING_FOR_SANDBOX = "WaitingForSandbox"
    SANDBOX_NOT_READY = "SandboxNotReady"
    SANDBOX_READY = "SandboxReady"
    DEFAULT_CREDENTIALS = "DefaultCredentials"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    READY = "Ready"
    CLUSTER_UNREACHABLE = "ApiServerUnreachable"
    CLUSTER_REFUSED = "ApiServerRefused"
    API_SERVER_FAILED = "ApiServerFailed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    ADMISSION_DENIED = "AdmissionDenied"
    WEBHOOK_FAILED = "WebhookFailed"
    CONFLICT = "Conflict"
    LOGIN_FAILED = "LoginPluginFailed", "Login plugin failed"
    KUBEBLOCKS_MISSING = "KubeBlocksMissing", "KubeBlocks missing"
    OTHER_CLUSTER = "OtherCluster"
    NAMESPACE_MISSING = "NamespaceMissing"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    INTERNAL_ERROR = "InternalError"
    KEY_MISSING = "EncryptionKeyMissing"
    PASSWORD_NOT_CHANGED = "PasswordNotChanged"  # noqa: S105 - a reason, not a password  # nosec B105
    DELETING = "Deleting"
    DELETED = "Deleted"
    CANCELLING = "Cancelling"
    CANCELLED = "Cancelled"
    FORGOTTEN = "Forgotten"
    DRIFTED = "Drifted"

    @classmethod
    def out_of_reach(cls) -> frozenset["Reason"]:
        """Reasons of a failed pass with which nothing in the cluster can be read or deleted."""
        return frozenset(
            {
                cls.CLUSTER_UNREACHABLE,
                cls.CLUSTER_REFUSED,
                cls.API_SERVER_FAILED,
                cls.LOGIN_FAILED,
                cls.DEADLINE_EXCEEDED,
            }
        )

    @classmethod
    def needs_person(cls) -> frozenset["Reason"]:
        """Reasons that rarely go away on their own: a user has to do what the message says."""
        return frozenset(
            {
                cls.OTHER_CLUSTER,
                cls.NAMESPACE_MISSING,
                cls.NAMESPACE_TERMINATING,
                cls.NAMESPACE_NOT_ALLOWED,
                cls.QUOTA_EXCEEDED,
                cls.ADMISSION_DENIED,
                cls.WEBHOOK_FAILED,
                cls.DATABASE_STOPPED,
                cls.OPERATOR_NOT_RUNNING,
                cls.DELETION_BLOCKED,
                cls.KUBEBLOCKS_MISSING,
                cls.CLUSTER_REFUSED,
                cls.LOGIN_FAILED,
                cls.CLUSTER_REJECTED,
                cls.CLUSTER_NOT_OURS,
                cls.CLUSTER_AMBIGUOUS,
                cls.ADOPTION_NEEDED,
                cls.CREDENTIALS_REJECTED,
                cls.SECRET_REPLACED,
                cls.KEY_MISSING,
            }
        )


class Origin(models.TextChoices):
    """Where a database came from. Decides what deleting its project does to it."""

    CREATED = "created", "Created"
    ADOPTED = "adopted", "Adopted"


class CredentialsSource(models.TextChoices):
    """Which credentials a sandbox uses: `captured` means read from the cluster."""

    NONE = "none", "None"
    CAPTURED = "captured", "Captured"
    DEFAULT = "default", "Default credentials"


class ReplacementChoice(models.TextChoices):
    """What a user has chosen for a Secret whose password replaced a proved one."""

    RESTORE = "restore", "Write the proved password back"
    USE = "use", "Use the Secret's password"


class Step(models.TextChoices):
    """The steps of a provisioning, in order."""

    REQUESTED = "requested", "Requested"
    CLUSTER_APPLIED = "cluster_applied", "Cluster applied"
    CLUSTER_RUNNING = "cluster_running", "Database running"
    CREDENTIALS_CAPTURED = "credentials_captured", "Credentials captured"
    CONNECTION_VERIFIED = "connection_verified", "Connection verified"
    SANDBOX_APPLIED = "sandbox_applied", "Sandbox applied"
    SANDBOX_READY = "sandbox_ready", "Sandbox ready"


class DriftPolicy(models.TextChoices):
    """What happens to objects that were changed outside the panel."""

    MEND = "mend", "Revert"
    REPORT = "report", "Report only"


class Level(models.TextChoices):
    """How much attention an event needs."""

    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"
