"""Decorators of the HTMX pages: who may open them, and their content security policy."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from csp.constants import SELF
from csp.decorators import csp_replace
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect

from projects.access.permissions import explain_denied, require_permission
from projects.domain.permissions import OWNERS_MAY, is_staff, may
from projects.pages.layout import PanelRequest

View = Callable[..., HttpResponse]
_View = TypeVar("_View", bound=View)


def strict_policy(view: _View) -> _View:
    """Forbid inline styles and inline scripts in the view's responses.

    'unsafe-eval' remains: Alpine.js, which runs the theme's sidebar and menus, evaluates expressions in attributes.
    """
    decorate: Callable[[Any], Any] = csp_replace({"style-src": [SELF]})
    return cast("_View", decorate(view))


def staff_page(codename: str) -> Callable[[View], View]:
    """Admit staff who have `projects.<codename>` for the project in the URL; without one in the URL, for any project.

    Anonymous users are redirected to the log-in page. Others get a 403, or a 404 for a project that they can't see.
    htmx would put the log-in page inside the current page, so its requests get an HX-Redirect header instead.
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
            if not is_staff(user):
                raise PermissionDenied("Your account doesn't have staff status. Ask an administrator to enable it.")
            if "pk" in kwargs:
                require_permission(user, codename, kwargs["pk"])
            elif codename not in OWNERS_MAY and not may(user, codename):
                raise PermissionDenied(explain_denied(codename))
            response = view(request, *args, **kwargs)
            # One URL serves both the page and its fragments.
            patch_vary_headers(response, ("HX-Request",))
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return strict_policy(guarded)

    return decorate
