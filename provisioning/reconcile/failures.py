"""Why a pass could not reach its end: from an exception to a reason and a message."""

import logging
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from projects.confidential.encrypted_fields import UndecryptableValueError
from projects.domain.states import Reason
from provisioning.identity import OtherClusterError
from provisioning.kube.client import disconnect
from provisioning.kube.errors import KubeError, LoginFailedError, RefusedError
from provisioning.kube.kinds import CLUSTER_GROUP
from provisioning.objects.names import AdoptionNeededError, AmbiguousClusterError
from provisioning.objects.refusals import Cause
from provisioning.reconcile.rotate_password import RotationDelayedError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassFailure:
    """Why a pass could not finish. `is_final`: only a person can resolve it."""

    reason: Reason
    message: str
    retry_after_s: float | None = None
    is_final: bool = False


def explain_failure(error: Exception) -> PassFailure:
    """Return the reason and the message for an exception. The message holds no secret."""
    match error:
        case AmbiguousClusterError():
            return PassFailure(Reason.CLUSTER_AMBIGUOUS, str(error), is_final=True)
        case AdoptionNeededError():
            return PassFailure(Reason.ADOPTION_NEEDED, str(error), is_final=True)
        case OtherClusterError():
            disconnect()  # the kubeconfig may be corrected by now
            return PassFailure(Reason.OTHER_CLUSTER, str(error))
        case RefusedError():
            return _explain_refusal(error)
        case LoginFailedError():
            disconnect()
            return PassFailure(Reason.LOGIN_FAILED, f"{error} The panel retries automatically.")
        case KubeError():
            disconnect()
            return PassFailure(Reason.CLUSTER_UNREACHABLE, str(error))
        case RotationDelayedError():
            return PassFailure(Reason.PASSWORD_NOT_CHANGED, str(error))
        case UndecryptableValueError() | ImproperlyConfigured():
            return PassFailure(Reason.KEY_MISSING, str(error))
        case _:
            logger.exception("A pass failed.", exc_info=error)
            kind = type(error).__name__
            return PassFailure(
                Reason.INTERNAL_ERROR,
                f"An internal error occurred ({kind}); see the panel's log. The panel retries automatically.",
            )


_REASONS = {
    Cause.QUOTA: Reason.QUOTA_EXCEEDED,
    Cause.LIMIT_RANGE: Reason.ADMISSION_DENIED,
    Cause.POD_SECURITY: Reason.ADMISSION_DENIED,
    Cause.POLICY: Reason.ADMISSION_DENIED,
    Cause.ADMISSION: Reason.ADMISSION_DENIED,
    Cause.NO_DRY_RUN: Reason.ADMISSION_DENIED,
    Cause.WEBHOOK_FAILED: Reason.WEBHOOK_FAILED,
    Cause.NAMESPACE_TERMINATING: Reason.NAMESPACE_TERMINATING,
    Cause.NOT_FOUND: Reason.CONFLICT,
    Cause.CONFLICT: Reason.CONFLICT,
    Cause.INVALID: Reason.CLUSTER_REJECTED,
    Cause.BUSY: Reason.API_SERVER_FAILED,
    Cause.SERVER_ERROR: Reason.API_SERVER_FAILED,
}


def _explain_refusal(error: RefusedError) -> PassFailure:
    """Return the reason and the message of an error that was answered."""
    match error.cause:
        case Cause.NAMESPACE_MISSING:
            return PassFailure(
                Reason.NAMESPACE_MISSING,
                "The project's namespace does not exist. Create it (`kubectl create namespace …`); the panel continues "
                f"automatically. Or delete this project and add another one in an existing namespace. {error}",
            )
        case Cause.UNSERVED if CLUSTER_GROUP in error.path:
            missing = "KubeBlocks is not installed in this cluster. Install it with its PostgreSQL addon"
            return PassFailure(Reason.KUBEBLOCKS_MISSING, f"{missing}; the panel continues automatically. {error}")
        case Cause.NOT_API_SERVER:
            disconnect()  # the kubeconfig may name another address by now
            return PassFailure(Reason.CLUSTER_UNREACHABLE, str(error), retry_after_s=error.retry_after_s)
        case Cause.UNAUTHENTICATED:
            # The token was rotated or has expired: the next pass reads the kubeconfig again.
            disconnect()
            return PassFailure(Reason.CLUSTER_REFUSED, str(error))
        case _:
            reason = _REASONS.get(error.cause, Reason.CLUSTER_REFUSED)
            return PassFailure(reason, str(error), retry_after_s=error.retry_after_s)
