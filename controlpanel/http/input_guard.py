"""What no page of the panel is ever sent by its own links and forms, refused before a view or the database sees it."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest
from django.db import DataError, NotSupportedError, OperationalError
from django.forms.formsets import INITIAL_FORM_COUNT, TOTAL_FORM_COUNT
from django.http import Http404, HttpRequest, HttpResponse
from django_htmx.middleware import HtmxDetails

from projects.domain.limits import MOST_FORMS

# Keys are numbers of 64 bits, or ids of tasks in 32 digits.
_LONGEST_KEY = 40
_LONGEST_NUMBER = 18
_FORM_COUNTS = (TOTAL_FORM_COUNT, INITIAL_FORM_COUNT)


class RefuseBadInput:
    """Answers 404 to keys that no row has, 400 to selections, query strings and headers that no page sends.

    Django's admin and its filters hand them to the database as they come, and what it makes of them would be a 500:
    PostgreSQL takes no NUL, and Python no number of thousands of digits.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        for key in (str(value) for value in kwargs.values()):
            if len(key) > _LONGEST_KEY or not key.isprintable():
                raise Http404("No row has such a key.")
        is_admins = request.resolver_match is not None and request.resolver_match.app_name == "admin"
        if is_admins and any("\0" in text for item in request.GET.lists() for text in (item[0], *item[1])):
            raise BadRequest("The address holds a null character.")
        if not _says_where_it_is(request):
            raise BadRequest("The header HX-Current-URL holds no address.")
        if not all(map(_is_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest("What was selected are no rows.")
        counts = [text for name, texts in request.POST.lists() if name.endswith(_FORM_COUNTS) for text in texts]
        if not all(_is_key(text) and int(text) <= MOST_FORMS for text in counts):
            raise BadRequest("That is no number of forms.")

    def process_exception(self, request: HttpRequest, error: Exception) -> None:
        """Django's lists take any lookup of a column from the address, and find out as they ask the database that no
        column holds such a value: a day before the calendar, a number too long, half a regular expression. So do its
        forms of the keys that are chosen in a field for several rows."""
        found = request.resolver_match
        if found is None or found.app_name != "admin":
            return
        is_lookup = str(found.url_name).endswith("_changelist") and any("__" in name for name in request.GET)
        if is_lookup and _comes_of_a_value(error):
            raise BadRequest("The address asks for a value that no row can have.") from error
        if isinstance(error, OverflowError):
            raise BadRequest("The form holds a number that no row can have as its key.") from error


def _comes_of_a_value(error: Exception) -> bool:
    """Whether a query has failed by what was looked for, and not because the database can't be used."""
    is_of_regexp = isinstance(error, OperationalError) and str(error).startswith("user-defined function")  # SQLite's
    return is_of_regexp or isinstance(error, OverflowError | ValueError | DataError | NotSupportedError)


def _says_where_it_is(request: HttpRequest) -> bool:
    """Whether htmx's header of the page that a fragment is for can be read as an address: views take it apart."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined] # its middleware stands in front
    try:
        _ = htmx.current_url_abs_path
    except ValueError:
        return False
    return True


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
