"""The admin's shell (sidebar, header, messages) around the own pages, and the stricter policy that they keep."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from csp.constants import SELF
from csp.decorators import csp_replace
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

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
