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
    """Something that kept a pass from its end. `is_final`: only a person can mend it."""

    reason: Reason
    message: str
    retry_after_s: float | None = None
    is_final: bool = False


def explain_failure(error: Exception) -> PassFailure:
    """Turn what went wrong into a reason and a sentence, without anything secret."""
    match error:
        case AmbiguousClusterError():
            return PassFailure(Reason.CLUSTER_AMBIGUOUS, str(error), is_final=True)
        case AdoptionNeededError():
            return PassFailure(Reason.ADOPTION_NEEDED, str(error), is_final=True)
        case RefusedError(code=404) if 'namespaces "' in str(error):
            return PassFailure(
                Reason.NAMESPACE_MISSING,
                "The project's namespace does not exist. Make it (`kubectl create namespace …`) and the panel goes on "
                f"by itself, or delete this project and add another in a namespace that exists. {error}",
            )
        case RefusedError(code=404):
            missing = "KubeBlocks is not installed in this cluster. Install it with its PostgreSQL addon"
            return PassFailure(Reason.KUBEBLOCKS_MISSING, f"{missing}; the panel goes on by itself. {error}")
        case RefusedError(code=401):
            # The token was rotated or ran out: the next pass reads the kubeconfig anew.
            disconnect()
            return PassFailure(Reason.CLUSTER_REFUSED, str(error))
        case RefusedError(code=403 | 429):
            return PassFailure(Reason.CLUSTER_REFUSED, str(error), retry_after_s=error.retry_after_s)
        case RefusedError(code=400 | 409 | 415 | 422):
            return PassFailure(Reason.CLUSTER_REJECTED, str(error))
        case LoginFailedError():
            disconnect()
            return PassFailure(Reason.LOGIN_FAILED, f"{error} The panel tries again by itself.")
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
                f"The panel made an error of its own ({kind}); its log says more. It tries again by itself.",
            )
