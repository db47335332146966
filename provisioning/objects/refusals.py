"""Why the API server refused a request: from the code, reason, message and causes of its Status. Pure.

The code alone says little: quotas, policies, Pod Security and namespaces that are being deleted answer 403 as missing
permissions do, and a webhook may choose any code. Sources: k8s.io/apiserver and the admission plugins of Kubernetes
1.24 to 1.36. Events of controllers quote the same messages.
"""

import re
from enum import Enum

from provisioning.objects.readers import Object, mapping, objects, text


class Cause(Enum):
    """Why a request failed."""

    UNKNOWN = "unknown"
    NOT_API_SERVER = "not_api_server"  # a proxy, a load balancer or another server answered
    UNAUTHENTICATED = "unauthenticated"
    NO_PERMISSION = "no_permission"
    QUOTA = "quota"
    LIMIT_RANGE = "limit_range"
    POD_SECURITY = "pod_security"
    POLICY = "policy"  # an admission webhook or a ValidatingAdmissionPolicy denied it
    ADMISSION = "admission"  # another admission check denied it
    NAMESPACE_TERMINATING = "namespace_terminating"
    NAMESPACE_MISSING = "namespace_missing"
    UNSERVED = "unserved"  # the API server has no such path: the kind or its version is not installed
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    EXPIRED = "expired"
    NO_DRY_RUN = "no_dry_run"  # a webhook does not support dry runs
    WEBHOOK_FAILED = "webhook_failed"  # a webhook did not answer
    BUSY = "busy"
    SERVER_ERROR = "server_error"


_DENIED = re.compile(r"admission webhook \\?\"([^\"\\]{1,253})\\?\" denied the request")
_FAILED = re.compile(r"failed (?:calling|to call) webhook \\?\"([^\"\\]{1,253})\\?\"|(conversion webhook) for ")
_NO_DRY_RUN = re.compile(r"admission webhook \\?\"([^\"\\]{1,253})\\?\" does not support dry run")
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']{1,253})'")
_LIMIT_RANGE = re.compile(r"\[?(?:(?:maximum|minimum) \S+ usage per |\S+ max limit to request ratio per )")
_LONGEST_NAME = 100
_TERMINATING = "because it is being terminated"
_FORBIDDEN = re.compile(r"(?:^| is )forbidden: ")
# The beginning of what follows "… is forbidden: ".
_BEGINNINGS = {
    'User "': Cause.NO_PERMISSION,
    "exceeded quota": Cause.QUOTA,
    "failed quota": Cause.QUOTA,
    "insufficient quota": Cause.QUOTA,
    "status unknown for quota": Cause.QUOTA,
    "violates PodSecurity": Cause.POD_SECURITY,
    "violates Pod Security": Cause.POD_SECURITY,
    "not yet ready": Cause.SERVER_ERROR,
}
_BY_REASON = {
    "Unauthorized": Cause.UNAUTHENTICATED,
    "NotFound": Cause.NOT_FOUND,
    "AlreadyExists": Cause.CONFLICT,
    "Conflict": Cause.CONFLICT,
    "Gone": Cause.EXPIRED,
    "Expired": Cause.EXPIRED,
    "Invalid": Cause.INVALID,
    "BadRequest": Cause.INVALID,
    "MethodNotAllowed": Cause.INVALID,
    "NotAcceptable": Cause.INVALID,
    "UnsupportedMediaType": Cause.INVALID,
    "RequestEntityTooLarge": Cause.INVALID,
    "TooManyRequests": Cause.BUSY,
    "Timeout": Cause.SERVER_ERROR,
    "ServerTimeout": Cause.SERVER_ERROR,
    "ServiceUnavailable": Cause.SERVER_ERROR,
    "InternalError": Cause.SERVER_ERROR,
    "StorageReadError": Cause.SERVER_ERROR,
}
# For a Status without a reason that is known.
_BY_CODE = {
    401: Cause.UNAUTHENTICATED,
    409: Cause.CONFLICT,
    410: Cause.EXPIRED,
    400: Cause.INVALID,
    413: Cause.INVALID,
    415: Cause.INVALID,
    422: Cause.INVALID,
    429: Cause.BUSY,
}
_UNSERVED_PAGE = "404 page not found"
_UNSERVED_PATH = "the server could not find the requested resource"
# Some handlers of the API server answer with plain text: filters, the aggregator, a recovered panic.
_PLAIN_ANSWERS = (
    'Internal Server Error: "',
    "This request caused apiserver",
    "service unavailable",
    "error trying to reach service",
    "The apiserver is",
    "apiserver is",
)
_OF_KUBEBLOCKS = "kubeblocks.io"


def is_status(body: Object) -> bool:
    """Whether an answer is a Status, which every API server sends for an error."""
    return body.get("kind") == "Status" and text(body.get("apiVersion")) == "v1"


def judge_status(code: int, status: Object) -> Cause:
    """Return the cause that a Status names."""
    reason, message = text(status.get("reason"), 100), text(status.get("message"), 2000)
    details = mapping(status.get("details"))
    if any(cause.get("reason") == "NamespaceTerminating" for cause in objects(details.get("causes"))):
        return Cause.NAMESPACE_TERMINATING
    # What a validation quotes is what somebody wrote: its message is not searched.
    if reason != "Invalid" or " is forbidden: ValidatingAdmissionPolicy '" in message:
        found = judge_message(message)
        if found is not Cause.UNKNOWN:
            return found
    if reason == "NotFound" or (code == 404 and not reason):
        if message == _UNSERVED_PATH or not text(details.get("name")):
            return Cause.UNSERVED
        return Cause.NAMESPACE_MISSING if details.get("kind") == "namespaces" else Cause.NOT_FOUND
    return _BY_REASON.get(reason) or _BY_CODE.get(code) or (Cause.SERVER_ERROR if code >= 500 else Cause.UNKNOWN)


def judge_message(message: str) -> Cause:
    """Return the cause that the message of a Status names, also where an Event quotes it; UNKNOWN if it names none."""
    for pattern, cause in ((_NO_DRY_RUN, Cause.NO_DRY_RUN), (_FAILED, Cause.WEBHOOK_FAILED), (_DENIED, Cause.POLICY)):
        if pattern.search(message):
            return cause
    forbidden = _FORBIDDEN.search(message)
    if not forbidden:
        return Cause.UNKNOWN
    why = message[forbidden.end() :]
    if _TERMINATING in why:
        return Cause.NAMESPACE_TERMINATING
    if why.startswith("ValidatingAdmissionPolicy '"):
        return Cause.POLICY
    if _LIMIT_RANGE.match(why):
        return Cause.LIMIT_RANGE
    return next((cause for start, cause in _BEGINNINGS.items() if why.startswith(start)), Cause.ADMISSION)


def judge_page(code: int, body: str) -> Cause:
    """Return the cause of an error response that is no Status."""
    if code == 429:
        return Cause.BUSY
    if code == 404 and body.strip() == _UNSERVED_PAGE:
        return Cause.UNSERVED
    return Cause.SERVER_ERROR if code >= 500 and body.startswith(_PLAIN_ANSWERS) else Cause.NOT_API_SERVER


def explain_cause(cause: Cause, message: str) -> str:
    """Return what to do about a cause, as sentences; "" where the message says it. `message`: that of the Status."""
    match cause:
        case Cause.WEBHOOK_FAILED:
            return _explain_webhook(message)
        case Cause.POLICY:
            return _explain_policy(message)
        case Cause.NO_DRY_RUN:
            return (
                f"The webhook {_name_in(message, _NO_DRY_RUN)} has no `sideEffects: None`, so the API server refuses "
                "dry runs. Set it in the webhook's configuration."
            )
        case _:
            return _HINTS.get(cause, "")


def _name_in(message: str, pattern: re.Pattern[str]) -> str:
    found = pattern.search(message)
    return next((group[:_LONGEST_NAME] for group in found.groups() if group), "") if found else ""


def _explain_webhook(message: str) -> str:
    name = _name_in(message, _FAILED)
    if _OF_KUBEBLOCKS in message:
        return (
            f"The webhook {name} of KubeBlocks does not answer: check that its operator is running. The panel retries "
            "automatically."
        )
    return (
        f"The admission webhook {name} does not answer, so the API server refuses every such request. Check its "
        "Service and Pods, or delete its configuration if it is no longer installed. The panel retries automatically."
    )


def _explain_policy(message: str) -> str:
    webhook = _name_in(message, _DENIED)
    what = f"admission webhook {webhook}" if webhook else f"ValidatingAdmissionPolicy {_name_in(message, _POLICY)}"
    return (
        f"The {what} does not allow it; the panel's permissions are not the cause. Change what the policy requires, or "
        "add an exception for this namespace. The panel retries automatically."
    )


_HINTS = {
    Cause.NOT_API_SERVER: (
        "Probably a proxy or a load balancer answered in its place. Check the server's address in the kubeconfig, and "
        "the proxy. The panel retries automatically."
    ),
    Cause.UNAUTHENTICATED: "The panel's token was not accepted. Renew it in the kubeconfig.",
    Cause.NO_PERMISSION: "The panel's account lacks this permission. Run `manage.py doctor` and extend its Role.",
    Cause.QUOTA: (
        "A ResourceQuota of the namespace does not allow it. Raise the quota, or delete what is not needed: `kubectl "
        "describe resourcequota` shows what is used. The panel retries automatically."
    ),
    Cause.LIMIT_RANGE: (
        "A LimitRange of the namespace does not allow these sizes. Change the LimitRange (`kubectl describe "
        "limitrange`), or the sizes in the panel's settings or in the sandbox template."
    ),
    Cause.POD_SECURITY: (
        "The Pod Security level of the namespace does not allow this Pod. Lower the level (the namespace's label "
        "pod-security.kubernetes.io/enforce), or use another namespace."
    ),
    Cause.ADMISSION: (
        "An admission check of the API server does not allow it; the panel's permissions are not the cause. The panel "
        "retries automatically."
    ),
    Cause.NAMESPACE_TERMINATING: (
        "The namespace is being deleted, so nothing can be created in it. Wait until it is gone and create it again, "
        "or delete this project and add another one in another namespace."
    ),
    Cause.CONFLICT: "The object was changed or replaced at the same time. The panel retries automatically.",
    Cause.BUSY: "The API server is overloaded. The panel retries automatically.",
    Cause.SERVER_ERROR: (
        "The API server answers, but can't carry out the request: check its log and etcd. The panel retries "
        "automatically."
    ),
}
