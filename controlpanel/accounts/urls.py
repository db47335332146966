"""URLs of django-allauth below /accounts/, limited to the features that are on.

None of them is cached: some pages show recovery codes or the secret of a second factor.
"""

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


def _disable_caching(patterns: Iterable[URLPattern | URLResolver]) -> None:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            _disable_caching(pattern.url_patterns)
        else:
            pattern.callback = never_cache(pattern.callback)


_disable_caching(urlpatterns)
