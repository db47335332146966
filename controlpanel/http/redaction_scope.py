"""Each request masks, in what it stores for others to read, its own secrets and the panel's."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from projects.confidential.redaction import redaction_scope


class RedactionScopeMiddleware:
    """Gives each request a redaction scope of its own, so that no request masks words in the records of another."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with redaction_scope():
            return self._get_response(request)
