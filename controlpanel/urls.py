"""The panel's URLs."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from controlpanel.accounts.adapters import guard_admin_login
from controlpanel.monitoring.health import healthz, livez
from controlpanel.monitoring.metrics import metrics
from projects.admin.search import search

admin.site.login = guard_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.search = search  # type: ignore[attr-defined]

handler500 = "controlpanel.http.error_pages.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="projects:list"), name="home"),
    path("healthz", healthz, name="healthz"),
    path("livez", livez, name="livez"),
    path("metrics", metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("projects/", include("projects.urls")),
]
if settings.ACCOUNT_PAGES:
    urlpatterns.append(path("accounts/", include("controlpanel.accounts.urls")))
