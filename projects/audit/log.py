"""The audit log: every change and every log-in, with the user and the IP address, as django-auditlog's LogEntry rows.

Requests arrive here with their events. Changes of rows (projects, variables, templates, users, groups) come from
django-auditlog's comparison of before and after. Passes write to the timeline, not to this log.
"""

import os
import pwd
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from axes.models import AccessAttempt
from axes.signals import user_locked_out
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.core.validators import validate_ipv46_address
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_save
from django.http import HttpRequest, HttpResponse

from projects.confidential.redaction import MASK, redact, redaction_scope
from projects.models import Event, Project, ProjectVariable, SandboxTemplate

COMMAND_LINE = "command line"
_DONE = {
    LogEntry.Action.CREATE: "Created",
    LogEntry.Action.UPDATE: "Updated",
    LogEntry.Action.DELETE: "Deleted",
    LogEntry.Action.ACCESS: "Accessed",
}
# All values of an entry's `what`, in the order of the filter.
ACTIONS = (
    "CredentialsRevealed",
    *_DONE.values(),
    "Registered",
    "Requested",
    "Changed",
    "AdoptRequested",
    "PasswordRotationRequested",
    "PasswordGivenUp",
    "Cancelling",
    "Deleting",
    "Forgotten",
    "OrphanRequested",
    "OrphanEnded",
    "KeysRotated",
    "EventsPruned",
    "StateImported",
    "ClusterAccepted",
    "LoggedIn",
    "LoggedOut",
    "LogInFailed",
    "LogInLocked",
    "LogInUnlocked",
    "SecondFactorFailed",
    "SignOnFailed",
)
# Entries about unknown users that one process adds in a time window; seconds.
_MOST_IN_WINDOW, _WINDOW_S = 300, 600
_request: ContextVar[HttpRequest | None] = ContextVar("audited_request", default=None)
# Fields that users edit. Passes write the other columns.
_PROJECT_FIELDS = ("name", "owner", "description", "namespace", "template", "default_database_allowed", "drift_policy")


class AuditMiddleware:
    """Attaches the current user to audit entries created during a request. Must follow authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _request.set(request)
        try:
            return self._get_response(request)
        finally:
            _request.reset(token)


def mask(_: str) -> str:
    """Return the mask that replaces a secret value in the log."""
    return MASK


def record_action(
    row: Model, action: str, *, by: str = "", message: str = "", kind: int = LogEntry.Action.UPDATE
) -> None:
    """Add an entry for an action that is not a change of the row's fields, such as a request or a log-in."""
    more = {"what": action, **({"by": by} if by else {}), **({"message": message} if message else {})}
    LogEntry.objects.log_create(row, force_log=True, action=kind, additional_data=more)


def record_bulk_action(model: type[Model], action: str, name: str, message: str) -> None:
    """Add one entry for an action on many rows of a model; `name` describes the rows."""
    LogEntry.objects.create(
        content_type=ContentType.objects.get_for_model(model),
        object_pk="",
        object_repr=name,
        action=LogEntry.Action.UPDATE,
        additional_data={"what": action, "message": message},
    )


# --- Where entries come from -----------------------------------------------------------------------------------


def _record_event(instance: Event, created: bool, raw: bool = False, **_: Any) -> None:
    """Log the requests of users. A pass runs outside of a request, and its actor is the panel."""
    if created and not raw and (_request.get() is not None or instance.actor.startswith(COMMAND_LINE)):
        is_reveal = instance.reason == "CredentialsRevealed"
        kind = LogEntry.Action.ACCESS if is_reveal else LogEntry.Action.UPDATE
        record_action(instance.project, instance.reason, by=instance.actor, message=instance.message, kind=kind)


def _record_log_in(user: User, **_: Any) -> None:
    record_action(user, "LoggedIn", by=user.get_username(), kind=LogEntry.Action.ACCESS)


def _record_log_out(user: User | None, **_: Any) -> None:
    if user is not None:
        record_action(user, "LoggedOut", by=user.get_username(), kind=LogEntry.Action.ACCESS)


def _record_failed_log_in(credentials: dict[str, Any], **_: Any) -> None:
    _record_name("LogInFailed", str(credentials.get("username") or ""))


def _record_lock(username: str | None = None, **_: Any) -> None:
    _record_name("LogInLocked", username or "")


def _record_unlock(instance: AccessAttempt, **_: Any) -> None:
    """Log a lock that a command removed. Within a request, locks expire or end with the right password."""
    if _request.get() is None:
        _record_name("LogInUnlocked", instance.username or "", f"{instance.username} at {instance.ip_address}")


def _record_wrong_code(user: User, **_: Any) -> None:
    """Log whose second factor failed, without the code: a mistyped code is close to the right one."""
    record_action(user, "SecondFactorFailed", by=user.get_username(), kind=LogEntry.Action.ACCESS)


def record_failed_sign_on() -> None:
    """Log a failed single sign-on. The user is unknown."""
    _record_name("SignOnFailed", "")


def _count_in_window(action: str) -> int:
    """Return how many entries of an action this process has been asked for in the current window, this one included."""
    key = f"audit:{action}:{int(time.time()) // _WINDOW_S}"
    counts = caches["process"]
    counts.add(key, 0, _WINDOW_S)
    return int(counts.incr(key))


def _record_name(action: str, name: str, message: str = "") -> None:
    """Log an action about a name that may not belong to a user. Anyone can fail to log in any number of times, so the
    entries in a time window are limited; the last one says that the rest is not listed."""
    if _request.get() is not None:
        count = _count_in_window(action)
        if count > _MOST_IN_WINDOW:
            return
        if count == _MOST_IN_WINDOW:
            message = f"More of these in the same {_WINDOW_S // 60} minutes are not listed one by one."
    user = User.objects.filter(username=name).first()
    LogEntry.objects.create(
        content_type=ContentType.objects.get_for_model(User),
        object_pk=str(user.pk) if user else "",
        object_id=user.pk if user else None,
        object_repr=name[:150],
        action=LogEntry.Action.ACCESS,
        additional_data={"what": action, **({"message": message} if message else {})},
    )


def _complete(instance: LogEntry, **_: Any) -> None:
    """Add the user and the IP address to an entry, and mask secrets, before it is stored."""
    if instance.pk is not None:
        return
    request = _request.get()
    user = getattr(request, "user", None)
    more = dict(instance.additional_data or {})
    if user is not None and user.is_authenticated:
        instance.actor_id = user.pk
        more["by"] = user.get_username()
    else:
        # Names outlive users: the reference to one is gone when the user is.
        more.setdefault("by", "anonymous" if request is not None else shell_user())
    instance.remote_addr = _address(request)
    # Who, what, from where and of what are never masked: a secret could be called like them.
    if message := more.get("message"):
        more["message"] = redact(message, spare=(more["by"], instance.object_repr))
    instance.additional_data = more
    instance.changes = _redacted(instance.changes)


def shell_user() -> str:
    """Return the user of this process for timelines and the audit log, as the operating system knows it. Environment
    variables don't change it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # of a container that runs as a number
        name = f"uid {os.getuid()}"
    return f"{COMMAND_LINE} ({name})"


def _address(request: HttpRequest | None) -> str | None:
    address = request.META.get("REMOTE_ADDR", "") if request is not None else ""
    try:
        validate_ipv46_address(address)
    except ValidationError:
        # A server on a socket file knows none.
        return None
    return str(address)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value


def _columns(model: type[Model], *left_out: str) -> list[str]:
    """Return the names of the model's own fields, without its key and without relations that point to it."""
    return [field.name for field in model._meta.concrete_fields if field.name not in ("id", *left_out)]


def connect() -> None:
    """Start logging. Called once, when the apps are ready."""
    auditlog.register(Project, include_fields=[*_PROJECT_FIELDS])
    masked = "projects.audit.log.mask"
    fields = ["project", "name", "value"]
    auditlog.register(ProjectVariable, include_fields=fields, mask_fields=["value"], mask_callable=masked)
    auditlog.register(SandboxTemplate, include_fields=_columns(SandboxTemplate))
    auditlog.register(
        User,
        include_fields=_columns(User, "last_login"),
        mask_fields=["password"],
        mask_callable=masked,
        m2m_fields={"groups", "user_permissions"},
    )
    auditlog.register(Authenticator, include_fields=["user", "type"])
    auditlog.register(Group, include_fields=_columns(Group), m2m_fields={"permissions"})
    pre_save.connect(_complete, sender=LogEntry, dispatch_uid="complete_audit_entry")
    post_save.connect(_record_event, sender=Event, dispatch_uid="audit_event")
    user_logged_in.connect(_record_log_in, dispatch_uid="audit_log_in")
    user_logged_out.connect(_record_log_out, dispatch_uid="audit_log_out")
    user_login_failed.connect(_record_failed_log_in, dispatch_uid="audit_failed_log_in")
    authentication_failed.connect(_record_wrong_code, dispatch_uid="audit_wrong_code")
    user_locked_out.connect(_record_lock, dispatch_uid="audit_lock")
    post_delete.connect(_record_unlock, sender=AccessAttempt, dispatch_uid="audit_unlock")


# --- What it says ----------------------------------------------------------------------------------------------


def describe_entry(entry: LogEntry) -> dict[str, Any]:
    """Return an entry as a dict for one line of the JSON export."""
    more = entry.additional_data or {}
    described: dict[str, Any] = {
        "at": entry.timestamp.isoformat().replace("+00:00", "Z"),
        "who": more.get("by", ""),
        "address": entry.remote_addr,
        "what": more.get("what") or _DONE[entry.action],
        "kind": entry.content_type.model,
        "id": entry.object_pk,
        "name": entry.object_repr,
    }
    with redaction_scope():
        described["changes"] = _redacted(entry.changes or {})
        described["message"] = redact(more.get("message", ""), spare=(described["who"], described["name"]))
    return described


def filter_by_action(entries: Any, action: str) -> Any:
    """Return the entries with this action, one of ACTIONS; all entries for any other value."""
    for kind, name in _DONE.items():
        if action == name:
            return entries.filter(action=kind).exclude(additional_data__has_key="what")
    return entries.filter(additional_data__what=action) if action in ACTIONS else entries


def export_entries(entries: Any) -> Iterator[dict[str, Any]]:
    """Yield entries, oldest first, without loading all of them into memory."""
    for entry in entries.select_related("content_type").order_by("timestamp", "pk").iterator(chunk_size=500):
        yield describe_entry(entry)
