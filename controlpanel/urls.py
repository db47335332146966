"""Every address of the panel."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from controlpanel.health import healthz, livez
from controlpanel.metrics import metrics

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="projects:list"), name="home"),
    path("healthz", healthz, name="healthz"),
    path("livez", livez, name="livez"),
    path("metrics", metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("projects/", include("projects.urls")),
]
