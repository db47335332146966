"""Why a pass could not reach its end: from an exception to a reason and a message."""

import logging
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from projects.confidential.encrypted_fields import UndecryptableValueError
from projects.domain.states import Reason
from provisioning.kube.client import disconnect
from provisioning.kube.errors import KubeError, LoginFailedError, RefusedError
from provisioning.objects.names import AdoptionNeededError, AmbiguousClusterError
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
        case RefusedError(code=404) if 'namespaces "' in str(error):
            return PassFailure(
                Reason.NAMESPACE_MISSING,
                "The project's namespace does not exist. Create it (`kubectl create namespace …`); the panel continues "
                f"automatically. Or delete this project and add another one in an existing namespace. {error}",
            )
        case RefusedError(code=404):
            missing = "KubeBlocks is not installed in this cluster. Install it with its PostgreSQL addon"
            return PassFailure(Reason.KUBEBLOCKS_MISSING, f"{missing}; the panel continues automatically. {error}")
        case RefusedError(code=401):
            # The token was rotated or has expired: the next pass reads the kubeconfig again.
            disconnect()
            return PassFailure(Reason.CLUSTER_REFUSED, str(error))
        case RefusedError(code=403 | 429):
            return PassFailure(Reason.CLUSTER_REFUSED, str(error), retry_after_s=error.retry_after_s)
        case RefusedError(code=400 | 409 | 415 | 422):
            return PassFailure(Reason.CLUSTER_REJECTED, str(error))
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
