"""The admin's shell (sidebar, header, messages) around the own pages, and the stricter policy that they keep."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from csp.constants import SELF
from csp.decorators import csp_replace
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

_View = TypeVar("_View", bound=Callable[..., HttpResponse])


def strict_policy(view: _View) -> _View:
    """Have the view's answers allow neither inline styles nor inline scripts.

    'unsafe-eval' stays: the sidebar and the menus of the theme's shell are expressions in attributes, which its
    Alpine.js evaluates.
    """
    decorate: Callable[[Any], Any] = csp_replace({"style-src": [SELF]})
    return cast("_View", decorate(view))


def shell(request: HttpRequest) -> dict[str, Any]:
    """Return what the shell needs, without the theme's colours: it writes them into the page, and ours are a file."""
    return {**admin.site.each_context(request), "colors": None}


def search(request: HttpRequest) -> HttpResponse:
    """Answer the field above the sidebar: the lists of the admin, of those that the user sees, with `?s=` in their name
    or their app's.

    In place of the theme's own, which keeps what it found, as objects of its own, in the cache that is there for the
    counters of wrong codes: in Redis they can't be stored at all.
    """
    wanted = request.GET.get("s", "").lower()
    found = [
        {"title": model["name"], "description": app["name"], "link": model["admin_url"]}
        for app in admin.site.get_app_list(request)
        for model in app["models"]
        if wanted and wanted in f"{app['name']}\n{model['name']}".lower() and model["admin_url"]
    ]
    template = "unfold/helpers/search_results.html"
    return TemplateResponse(request, template, {"results": found}, headers={"HX-Trigger": "search"})
