"""The admin's shell (sidebar, header, messages) around the own pages, and the stricter policy that they keep."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from csp.constants import SELF
from csp.decorators import csp_replace
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from projects.access.permissions import explain_denied, require_permission
from projects.domain import permissions

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


class PanelRequest(HttpRequest):
    """A request as the middleware leaves it."""

    htmx: HtmxDetails


View = Callable[..., HttpResponse]


def staff_page(codename: str) -> Callable[[View], View]:
    """Let in staff who may do `projects.<codename>` with the project of the address; without one in the address, those
    who may do it with any. The anonymous log in first, others get a 403, or a 404 for a project that they don't see.

    A fragment's request can't follow a redirect (the log-in page would land inside the page): htmx is told to go there.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: PanelRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            if not user.is_authenticated:
                if request.htmx:
                    back = request.htmx.current_url_abs_path or reverse("projects:list")
                    return HttpResponseClientRedirect(redirect_to_login(back).url)
                return redirect_to_login(
                    request.get_full_path() if request.method == "GET" else reverse("projects:list")
                )
            if not permissions.is_staff(user):
                raise PermissionDenied("Your account is not marked as staff. Ask an administrator to do that.")
            if "pk" in kwargs:
                require_permission(user, codename, kwargs["pk"])
            elif codename not in permissions.OWNERS_MAY and not permissions.may(user, codename):
                raise PermissionDenied(explain_denied(codename))
            response = view(request, *args, **kwargs)
            # The same address answers with a page or a fragment.
            patch_vary_headers(response, ("HX-Request",))
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return strict_policy(guarded)

    return decorate


def render_page(request: PanelRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page inside the admin's shell: its sidebar, colours and messages."""
    return render(request, template, {**shell(request), **context})


def wants_fragment(request: PanelRequest) -> bool:
    return bool(request.htmx) and not request.htmx.history_restore_request


def query_string(values: Mapping[str, object]) -> str:
    return "?" + urlencode({key: value for key, value in values.items() if value})
