"""Errors with a known cause and remedy, as a page that says both instead of “the panel made a mistake”."""

from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from projects.fields import UndecryptableValueError


class ExplainKeyErrors:
    """Middleware: a lost, wrong or broken encryption key is answered with a 503 that says what to do."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, UndecryptableValueError | ImproperlyConfigured):
            return None
        return render(request, "key_missing.html", {"explanation": str(error)}, status=503)
