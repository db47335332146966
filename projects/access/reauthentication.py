"""Whether a user has authenticated recently. Works with every authentication backend."""

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
    """Whether the log-in, or the last confirmation, is at most REVEAL_REAUTH_S old. A session without a time counts as
    old, and so does one from the future: setting the clock back must not extend it."""
    at = request.session.get(_LOGGED_IN_AT)
    return isinstance(at, int | float) and 0 <= time.time() - at <= settings.REVEAL_REAUTH_S


def has_password(request: HttpRequest) -> bool:
    """Whether the user can confirm with a password. A user of single sign-on only has to log in again."""
    return request.user.is_authenticated and request.user.has_usable_password()


@sensitive_variables("password")
def confirm(request: HttpRequest, password: str) -> bool:
    """Check the user's password; if it is right, renew the session. A wrong password counts as a failed log-in."""
    user = authenticate(request, username=request.user.get_username(), password=password)
    if user is None or user.pk != request.user.pk:
        return False
    request.session[_LOGGED_IN_AT] = time.time()
    request.session.cycle_key()
    return True
