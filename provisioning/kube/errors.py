"""Errors of requests to the API server, with messages for users."""

from collections.abc import Mapping

from projects.confidential.redaction import redact
from provisioning.kube.responses import read_causes, read_quote, read_refusal, read_retry_after
from provisioning.objects.readers import text
from provisioning.objects.refusals import Cause, explain_cause, judge_page, judge_status


class KubeError(Exception):
    """A request to the API server failed. The message is for users and contains no secret."""


class UnreachableError(KubeError):
    """No response. Whether the request took effect is unknown."""


class NotConfiguredError(KubeError):
    """There is no usable kubeconfig."""


class LoginFailedError(NotConfiguredError):
    """The kubeconfig's login plugin returned no credentials, or not in time."""


class RefusedError(KubeError):
    """The API server, or something in its place, responded with an error.

    `cause`: why, by the Status's reason and message. `path`: of the request. `retry_after_s`: the Retry-After header in
    seconds, if there was one. Never judge by `code` alone: a proxy or a webhook may have chosen it.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        retry_after_s: float | None = None,
        *,
        cause: Cause = Cause.UNKNOWN,
        path: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code, self.reason, self.retry_after_s = code, reason, retry_after_s
        self.cause, self.path, self.hint = cause, path, hint

    def without_quote(self, message: str) -> "RefusedError":
        """Return the same error with another message, for a request whose values the API server may have quoted."""
        return RefusedError(
            self.code,
            self.reason,
            message,
            self.retry_after_s,
            cause=self.cause,
            path=self.path,
            hint=explain_cause(self.cause, ""),
        )


class WatchExpiredError(KubeError):
    """410: the resource version is too old; list again."""


def build_refusal(status: int, body: bytes, headers: Mapping[str, str], path: str = "") -> RefusedError:
    """Return the RefusedError of an error response with any body."""
    answer = read_refusal(body)
    retry_after_s = read_retry_after(headers.get("Retry-After", ""))
    if answer is None:
        quote = redact(read_quote(body))
        return build_page_refusal(status, judge_page(status, quote), quote, path, retry_after_s)
    cause, said = judge_status(status, answer), redact(text(answer.get("message"), 2000))
    hint = explain_cause(cause, said)
    shown = str(redact(text(answer.get("message")))).rstrip(".") or read_causes(answer) or "no message"
    reason = text(answer.get("reason"), 100) or str(status)
    message = f"The API server answered {status}: {shown}."
    return RefusedError(status, reason, message, retry_after_s, cause=cause, path=path, hint=hint)


def build_page_refusal(
    status: int, cause: Cause, quote: str, path: str, retry_after_s: float | None = None
) -> RefusedError:
    """Return the RefusedError of an error response that is no Status. `quote`: the beginning of its body."""
    who = "Something other than the API server" if cause is Cause.NOT_API_SERVER else "The API server"
    message = f"{who} answered {status}: {quote.rstrip('.') or 'no message'}."
    hint = explain_cause(cause, "")
    return RefusedError(status, str(status), message, retry_after_s, cause=cause, path=path, hint=hint)
