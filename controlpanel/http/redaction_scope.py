"""Limits the secrets that a request masks in stored records to its own and the panel's."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from projects.confidential.redaction import redaction_scope


class RedactionScopeMiddleware:
    """Runs each request in its own redaction scope, so that its secrets mask no words in records of other requests."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with redaction_scope():
            return self._get_response(request)
