"""The panel's addresses with those that single sign-on and the second factor bring."""

from django.urls import include, path

from controlpanel.urls import urlpatterns as _panel

urlpatterns = [*_panel, path("accounts/", include("controlpanel.accounts.urls"))]
