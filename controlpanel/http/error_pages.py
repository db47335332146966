"""Errors with a known cause and remedy, as a page that says both instead of “the panel made a mistake”."""

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
# How an identity provider that is down, or no such thing, breaks what asks it where to log in, and who it was.
_OF_A_PROVIDER = (OSError, LookupError, AttributeError, TypeError, ValueError, DataError)
_ASKS_A_PROVIDER = ("openid_connect_login", "openid_connect_callback")


class ExplainKnownErrors:
    """Middleware: a lost, wrong or broken encryption key and an identity provider that is down are each answered with a
    503 that says what to do."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, UndecryptableValueError | ImproperlyConfigured):
            return render(request, "key_missing.html", {"explanation": str(error)}, status=503)
        asked = request.resolver_match
        if asked is not None and asked.url_name in _ASKS_A_PROVIDER and isinstance(error, _OF_A_PROVIDER):
            logger.warning("The identity provider's answer is of no use: %s: %s", type(error).__name__, error)
            return render(request, "sign_on_down.html", status=503)
        return None


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: a database of the panel that can't be used is no mistake of the panel, and passes. The page
    needs no database; sessions and users do, so that middleware may have failed as well as a view."""
    explanation = explain_unusable(sys.exc_info()[1])
    if explanation:
        page = get_template("database_unusable.html").render({"explanation": explanation})
        return HttpResponse(page, status=503, headers={"Retry-After": "5", "Cache-Control": "no-store"})
    return defaults.server_error(request)
