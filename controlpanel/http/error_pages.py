"""Error pages with a cause and a fix, for errors that are not bugs of the panel."""

import logging
import sys
from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.views import defaults

from projects.confidential.encrypted_fields import UndecryptableValueError
from projects.domain.panel_database import explain_unusable

logger = logging.getLogger(__name__)
# What the views below raise when the identity provider is down or returns an invalid response.
_PROVIDER_ERRORS = (OSError, LookupError, AttributeError, TypeError, ValueError, DataError)
_PROVIDER_VIEWS = ("openid_connect_login", "openid_connect_callback")


class ExplainKnownErrors:
    """Middleware: returns an explaining 503 for a missing or invalid encryption key, and for an identity provider that
    is down."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, UndecryptableValueError | ImproperlyConfigured):
            return render(request, "key_missing.html", {"explanation": str(error)}, status=503)
        match = request.resolver_match
        if match is not None and match.url_name in _PROVIDER_VIEWS and isinstance(error, _PROVIDER_ERRORS):
            logger.warning("Single sign-on failed, check the identity provider: %s: %s", type(error).__name__, error)
            return render(request, "sign_on_down.html", status=503)
        return None


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500. If the panel's database is unusable, the response is a 503 with Retry-After.

    A handler, not a middleware: sessions and users need the database, so middleware can fail as well as a view. Its
    page is rendered without the database.
    """
    explanation = explain_unusable(sys.exc_info()[1])
    if explanation:
        page = get_template("database_unusable.html").render({"explanation": explanation})
        return HttpResponse(page, status=503, headers={"Retry-After": "5", "Cache-Control": "no-store"})
    return defaults.server_error(request)
