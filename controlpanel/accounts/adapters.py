"""Adapters of django-allauth for single sign-on and second factors. Both are off by default: see docs/access.md.

While both are off, none of allauth's URLs exist, and users log in on the admin's own page.
"""

from collections.abc import Callable
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.decorators import secure_admin_login
from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from projects.audit.log import record_failed_sign_on
from projects.confidential.encrypted_fields import decrypt, encrypt

_SESSION_KEY = "second_factor_passed"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """No sign-up: administrators create users, or single sign-on does."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Do nothing: django-axes limits password attempts. allauth still limits second-factor codes."""

    def is_safe_url(self, url: str | None) -> bool:
        """Whether the log-in may redirect to the URL. False for URLs that allauth fails to parse."""
        try:
            return bool(super().is_safe_url(url))
        except ValueError:
            return False

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Do nothing: the panel sends no e-mail."""


class SignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Creates a user at the first single sign-on, and syncs the user's groups at every one."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Sync the user's groups. Raises ValueError without a usable `sub`: allauth would merge all such users."""
        claims = sociallogin.account.extra_data
        parts = [part for part in (claims.get("userinfo"), claims.get("id_token")) if isinstance(part, dict)]
        if not all(type(part.get("sub")) in (str, int) for part in parts):
            raise ValueError("The claim `sub` is neither a string nor a number.")
        if sociallogin.is_existing:
            sync_groups(sociallogin.user, claimed_groups(sociallogin.account.extra_data))

    def on_authentication_error(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        record_failed_sign_on()

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        sync_groups(user, claimed_groups(sociallogin.account.extra_data))
        return user


def claimed_groups(claims: dict[str, Any]) -> set[str]:
    """Return the group names in the claim OIDC_GROUPS_CLAIM: a list of strings, or one string. Ignores other values."""
    found: set[str] = set()
    for part in (claims.get("userinfo"), claims.get("id_token"), claims):
        claim = part.get(settings.OIDC_GROUPS_CLAIM) if isinstance(part, dict) else None
        names = claim if isinstance(claim, list) else [claim]
        found |= {name for name in names if isinstance(name, str)}
    return found


def sync_groups(user: User, claimed: set[str]) -> None:
    """Set the user's memberships in the groups that OIDC_GROUPS maps to, and staff status.

    Members of a mapped group are staff; with OIDC_STAFF, every user is. Superusers are never created here, and stay
    staff, so that a wrong claim can't lock out the last administrator.
    """
    wanted = {group for claim, group in settings.OIDC_GROUPS.items() if claim in claimed}
    mapped = Group.objects.filter(name__in=settings.OIDC_GROUPS.values())
    user.groups.remove(*mapped.exclude(name__in=wanted))
    user.groups.add(*mapped.filter(name__in=wanted))
    is_staff = bool(wanted) or settings.OIDC_STAFF or user.is_superuser
    if user.is_staff != is_staff:
        user.is_staff = is_staff
        user.save(update_fields=["is_staff"])


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors. Where they are required, only an administrator can delete one."""

    def can_delete_authenticator(self, authenticator: Any) -> bool:
        return bool(settings.SECOND_FACTOR != "required")

    def encrypt(self, text: str) -> str:
        """Encrypt the secret, so that a copy of the database alone generates no codes."""
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text)

    def get_totp_issuer(self) -> str:
        return "Control panel"


def guard_admin_login(log_in: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return the admin's log-in view, which redirects to allauth's log-in page while ACCOUNT_PAGES is on."""
    redirecting: Callable[..., HttpResponse] = secure_admin_login(log_in)

    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return (redirecting if settings.ACCOUNT_PAGES else log_in)(request, *args, **kwargs)

    return guarded


class RequireSecondFactor:
    """Middleware: with SECOND_FACTOR=required, redirects users without a second factor to the page that sets one up.

    Users of single sign-on are exempt: the provider is responsible for their second factor.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SECOND_FACTOR != "required" or not request.user.is_authenticated or self._is_exempt(request):
            return self._get_response(request)
        url = reverse("mfa_activate_totp")
        return HttpResponseClientRedirect(url) if "HX-Request" in request.headers else redirect(url)

    def _is_exempt(self, request: HttpRequest) -> bool:
        if request.session.get(_SESSION_KEY) == request.user.pk:
            return True
        proofs = get_authentication_records(request, request.user)
        if is_mfa_enabled(request.user) or any(proof.get("method") == "socialaccount" for proof in proofs):
            request.session[_SESSION_KEY] = request.user.pk
            return True
        allowed = (reverse("mfa_activate_totp"), reverse("account_logout"), reverse("account_reauthenticate"))
        return request.path in (*allowed, reverse("admin:logout"), reverse("healthz"), reverse("livez"))
