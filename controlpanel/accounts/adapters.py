"""Single sign-on and the second factor, by django-allauth: what it asks of us. Settings switch both on; see
docs/access.md. Without them none of its addresses exists, and the admin's own log-in page is the only one."""

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

_PASSED = "second_factor_passed"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Users are made by administrators, or come by single sign-on; nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """The throttle of passwords is django-axes': two would contradict each other. Codes keep allauth's."""

    def is_safe_url(self, url: str | None) -> bool:
        """Whether somebody may be led there after the log-in: not where allauth can't even read the address."""
        try:
            return bool(super().is_safe_url(url))
        except ValueError:
            return False

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """The panel sends no mail."""


class SignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Who comes by single sign-on gets a user of their own, and at each log-in the groups that the provider says."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Raises ValueError for an answer that names nobody: allauth would take everybody with `null` for one user."""
        claims = sociallogin.account.extra_data
        parts = [part for part in (claims.get("userinfo"), claims.get("id_token")) if isinstance(part, dict)]
        if not all(type(part.get("sub")) in (str, int) for part in parts):
            raise ValueError("The claim `sub` is no text and no number.")
        if sociallogin.is_existing:
            give_groups(sociallogin.user, claimed_groups(sociallogin.account.extra_data))

    def on_authentication_error(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        record_failed_sign_on()

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        give_groups(user, claimed_groups(sociallogin.account.extra_data))
        return user


def claimed_groups(claims: dict[str, Any]) -> set[str]:
    """Return what the provider says in the claim OIDC_GROUPS_CLAIM: a list of names, or one name. Anything else that a
    provider may put there names no group."""
    found: set[str] = set()
    for part in (claims.get("userinfo"), claims.get("id_token"), claims):
        said = part.get(settings.OIDC_GROUPS_CLAIM) if isinstance(part, dict) else None
        names = said if isinstance(said, list) else [said]
        found |= {name for name in names if isinstance(name, str)}
    return found


def give_groups(user: User, claimed: set[str]) -> None:
    """Put the user into the panel's groups that OIDC_GROUPS makes of the claimed ones, and out of the others of them.

    Who is in one of them is staff; OIDC_STAFF makes everybody staff who comes. Nobody is made a superuser, and a
    superuser stays staff: whoever could let people in again must not be locked out by a claim.
    """
    wanted = {group for theirs, group in settings.OIDC_GROUPS.items() if theirs in claimed}
    given = Group.objects.filter(name__in=settings.OIDC_GROUPS.values())
    user.groups.remove(*given.exclude(name__in=wanted))
    user.groups.add(*given.filter(name__in=wanted))
    is_staff = bool(wanted) or settings.OIDC_STAFF or user.is_superuser
    if user.is_staff != is_staff:
        user.is_staff = is_staff
        user.save(update_fields=["is_staff"])


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """A second factor that is required is not given up, unless by an administrator who deletes it."""

    def can_delete_authenticator(self, authenticator: Any) -> bool:
        return bool(settings.SECOND_FACTOR != "required")

    def encrypt(self, text: str) -> str:
        """Whoever has the database alone makes no codes with it."""
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text)

    def get_totp_issuer(self) -> str:
        return "Control panel"


def guard_admin_login(log_in: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return the admin's log-in page, which leads to allauth's where that is in use: it alone asks for the rest."""
    led_on: Callable[..., HttpResponse] = secure_admin_login(log_in)

    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return (led_on if settings.ACCOUNT_PAGES else log_in)(request, *args, **kwargs)

    return guarded


class RequireSecondFactor:
    """Lets nobody past the page that sets up a second factor where SECOND_FACTOR says that it is required.

    Who came by single sign-on has proved it to the provider.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SECOND_FACTOR != "required" or not request.user.is_authenticated or self._is_let_pass(request):
            return self._get_response(request)
        url = reverse("mfa_activate_totp")
        return HttpResponseClientRedirect(url) if "HX-Request" in request.headers else redirect(url)

    def _is_let_pass(self, request: HttpRequest) -> bool:
        if request.session.get(_PASSED) == request.user.pk:
            return True
        proofs = get_authentication_records(request, request.user)
        if is_mfa_enabled(request.user) or any(proof.get("method") == "socialaccount" for proof in proofs):
            request.session[_PASSED] = request.user.pk
            return True
        free = (reverse("mfa_activate_totp"), reverse("account_logout"), reverse("account_reauthenticate"))
        return request.path in (*free, reverse("admin:logout"), reverse("healthz"), reverse("livez"))
