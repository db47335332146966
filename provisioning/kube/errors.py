"""Errors of requests to the API server, with messages for users."""

from collections.abc import Mapping

from projects.confidential.redaction import redact
from provisioning.kube.responses import read_refusal, read_retry_after
from provisioning.objects.readers import text


class KubeError(Exception):
    """A request to the API server failed. The message is for users and contains no secret."""


class UnreachableError(KubeError):
    """No response. Whether the request took effect is unknown."""


class NotConfiguredError(KubeError):
    """There is no usable kubeconfig."""


class LoginFailedError(NotConfiguredError):
    """The kubeconfig's login plugin returned no credentials, or not in time."""


class RefusedError(KubeError):
    """The API server responded with an error: its code, reason, and Retry-After in seconds if it sent one."""

    def __init__(self, code: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.retry_after_s = code, reason, retry_after_s


class WatchExpiredError(KubeError):
    """410: the resource version is too old; list again."""


_HINTS = {
    401: "The panel's token was not accepted. Renew it in the kubeconfig.",
    403: "The panel's account lacks this permission. Run `manage.py doctor` and extend its Role.",
    429: "The API server is overloaded. The panel retries automatically.",
}


def build_refusal(status: int, body: bytes, headers: Mapping[str, str]) -> RefusedError:
    """Return the RefusedError of an error response with any body."""
    answer = read_refusal(body)
    said = redact(text(answer.get("message"))).rstrip(".") or "no message"
    message = f"The API server answered {status}: {said}. {_HINTS.get(status, '')}".strip()
    retry_after_s = read_retry_after(headers.get("Retry-After", ""))
    return RefusedError(status, text(answer.get("reason"), 100) or str(status), message, retry_after_s)
