"""Whether somebody has proved lately who they are. Knows only Django's log-in, whichever backend is behind it."""

import time
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

_LOGGED_IN_AT = "logged_in_at"


def note_log_in(request: HttpRequest | None, **_: Any) -> None:
    """Write into the session when it began."""
    if request is not None:
        request.session[_LOGGED_IN_AT] = time.time()


def connect() -> None:
    user_logged_in.connect(note_log_in, dispatch_uid="note_log_in")


def is_recent(request: HttpRequest) -> bool:
    """Whether the log-in, or the last proof since, is at most REVEAL_REAUTH_S old. A session that does not say counts
    as old, and so does one from the future: a clock that was set back must not make it last."""
    at = request.session.get(_LOGGED_IN_AT)
    return isinstance(at, int | float) and 0 <= time.time() - at <= settings.REVEAL_REAUTH_S


def has_password(request: HttpRequest) -> bool:
    """Whether the user can prove it with a password; who comes by single sign-on only has to log in again."""
    return request.user.is_authenticated and request.user.has_usable_password()


@sensitive_variables("password")
def confirm(request: HttpRequest, password: str) -> bool:
    """Try the user's password, and if it is right let the session count as new. A failure counts as a failed log-in."""
    user = authenticate(request, username=request.user.get_username(), password=password)
    if user is None or user.pk != request.user.pk:
        return False
    request.session[_LOGGED_IN_AT] = time.time()
    request.session.cycle_key()
    return True
