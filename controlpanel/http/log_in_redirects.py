"""Sends a browser to the log-in page when a fragment of a page finds that the session has ended."""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails


class LogInRedirects:
    """Turns a redirect to the log-in page into one of the whole page, for htmx requests, and back to that page.

    htmx follows ordinary redirects itself, and would put the log-in page inside the current one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if "HX-Request" not in request.headers or response.status_code not in (301, 302, 303, 307, 308):
            return response
        path = urlsplit(response["Location"]).path
        if path not in {resolve_url(settings.LOGIN_URL), reverse("admin:login")}:
            return response
        htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined] # set by its middleware
        back = htmx.current_url_abs_path or resolve_url(settings.LOGIN_REDIRECT_URL)
        whole = HttpResponseClientRedirect(f"{path}?{urlencode({'next': back})}")
        whole.cookies = response.cookies
        return whole
