"""Addresses of django-allauth below /accounts/, of what is switched on. No browser and no proxy keeps a page of them:
some show the secret of a second factor, or codes."""

from collections.abc import Iterable

from allauth.account import views
from allauth.socialaccount import views as social
from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.cache import never_cache

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", views.login, name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
]
if settings.SECOND_FACTOR != "off":
    urlpatterns.append(path("second-factor/", include("allauth.mfa.urls")))
if settings.OIDC_ISSUER:
    urlpatterns += [
        path("", include("allauth.socialaccount.providers.openid_connect.urls")),
        path("sso/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
        path("sso/error/", social.login_error, name="socialaccount_login_error"),
        path("sso/signup/", social.signup, name="socialaccount_signup"),
        path("sso/connections/", social.connections, name="socialaccount_connections"),
    ]


def _keep_nothing(patterns: Iterable[URLPattern | URLResolver]) -> None:
    for each in patterns:
        if isinstance(each, URLResolver):
            _keep_nothing(each.url_patterns)
        else:
            each.callback = never_cache(each.callback)


_keep_nothing(urlpatterns)
