"""Rejects input that no link or form of the panel sends, before it reaches a view or the database."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest
from django.db import DataError, NotSupportedError, OperationalError
from django.forms.formsets import INITIAL_FORM_COUNT, TOTAL_FORM_COUNT
from django.http import Http404, HttpRequest, HttpResponse
from django_htmx.middleware import HtmxDetails

from projects.domain.limits import MOST_FORMS

# Keys are 64-bit integers or task ids of 32 characters.
_MAX_KEY_LENGTH = 40
_MAX_DIGITS = 18
_FORM_COUNTS = (TOTAL_FORM_COUNT, INITIAL_FORM_COUNT)


class RejectInvalidInput:
    """Middleware: 404 for keys that no row can have; 400 for selections, query strings and headers that no page sends.

    The admin passes them to the database as they are, which would end in a 500: PostgreSQL rejects NUL, and Python
    rejects integers of thousands of digits.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        for key in (str(value) for value in kwargs.values()):
            if len(key) > _MAX_KEY_LENGTH or not key.isprintable():
                raise Http404("Invalid key.")
        is_admin = request.resolver_match is not None and request.resolver_match.app_name == "admin"
        if is_admin and any("\0" in text for item in request.GET.lists() for text in (item[0], *item[1])):
            raise BadRequest("The query string contains a null character.")
        if not _has_valid_current_url(request):
            raise BadRequest("The header HX-Current-URL is not a valid URL.")
        if not all(map(_is_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest("The selection contains an invalid key.")
        counts = [text for name, texts in request.POST.lists() if name.endswith(_FORM_COUNTS) for text in texts]
        if not all(_is_key(text) and int(text) <= MOST_FORMS for text in counts):
            raise BadRequest("Invalid number of forms.")

    def process_exception(self, request: HttpRequest, error: Exception) -> None:
        """Turn database errors about invalid values into a 400.

        The admin's lists accept any lookup of a column in the query string, such as a date out of range, an integer
        that is too large or an invalid regular expression. Its multiple-choice fields accept any number as a key.
        """
        match = request.resolver_match
        if match is None or match.app_name != "admin":
            return
        is_lookup = str(match.url_name).endswith("_changelist") and any("__" in name for name in request.GET)
        if is_lookup and _is_caused_by_value(error):
            raise BadRequest("The query string contains an invalid value.") from error
        if isinstance(error, OverflowError):
            raise BadRequest("The form contains an invalid key.") from error


def _is_caused_by_value(error: Exception) -> bool:
    """Whether a query failed because of the value it looks for, not because the database is unavailable."""
    is_invalid_regex = isinstance(error, OperationalError) and str(error).startswith("user-defined function")  # SQLite
    return is_invalid_regex or isinstance(error, OverflowError | ValueError | DataError | NotSupportedError)


def _has_valid_current_url(request: HttpRequest) -> bool:
    """Whether views can parse the header HX-Current-URL, which htmx sends with its requests."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined] # set by its middleware, which runs first
    try:
        _ = htmx.current_url_abs_path
    except ValueError:
        return False
    return True


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
