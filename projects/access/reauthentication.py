"""Whether a user has authenticated recently. Works with every authentication backend of Django."""

import time
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

_LOGGED_IN_AT = "logged_in_at"


def note_log_in(request: HttpRequest | None, **_: Any) -> None:
    """Store the time of the log-in in the session."""
    if request is not None:
        request.session[_LOGGED_IN_AT] = time.time()


def connect() -> None:
    user_logged_in.connect(note_log_in, dispatch_uid="note_log_in")


def is_recent(request: HttpRequest) -> bool:
    """Whether the last log-in or confirmation is at most REVEAL_REAUTH_S old.

    A session without that time counts as old, and so does one from the future: a clock that was set back must not
    extend it.
    """
    at = request.session.get(_LOGGED_IN_AT)
    return isinstance(at, int | float) and 0 <= time.time() - at <= settings.REVEAL_REAUTH_S


def needs_password(request: HttpRequest) -> bool:
    """Whether the user has to type their password first."""
    return not is_recent(request) and _has_password(request)


def needs_log_in(request: HttpRequest) -> bool:
    """Whether the user has to log in again first: single sign-on users have no password to type."""
    return not is_recent(request) and not _has_password(request)


def _has_password(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.user.has_usable_password()


@sensitive_variables("password")
def confirm(request: HttpRequest, password: str) -> bool:
    """Check the user's password. If it is right, the session counts as recent; if not, as a failed log-in."""
    user = authenticate(request, username=request.user.get_username(), password=password)
    if user is None or user.pk != request.user.pk:
        return False
    request.session[_LOGGED_IN_AT] = time.time()
    request.session.cycle_key()
    return True
