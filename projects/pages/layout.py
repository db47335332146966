"""The admin's layout (sidebar, header, messages) for the HTMX pages."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails


class PanelRequest(HttpRequest):
    """A request after the middleware of django-htmx."""

    htmx: HtmxDetails


def layout_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the admin's layout.

    Without the theme's colors: the theme writes them into an inline style, which the pages' policy forbids. The pages
    load `colors.css` instead.
    """
    return {**admin.site.each_context(request), "colors": None}


def render_page(request: PanelRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page inside the admin's layout."""
    return render(request, template, {**layout_context(request), **context})


def wants_fragment(request: PanelRequest) -> bool:
    """Whether htmx asks for a part of the page. A page that it restores from its history is rendered as a whole."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def query_string(values: Mapping[str, object]) -> str:
    """Return the values that are not empty as `?key=value&…`."""
    return "?" + urlencode({key: value for key, value in values.items() if value})
