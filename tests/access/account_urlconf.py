"""The panel's URLs, including those of single sign-on and second factors."""

from django.urls import include, path

from controlpanel.urls import urlpatterns as _panel

urlpatterns = [*_panel, path("accounts/", include("controlpanel.accounts.urls"))]
