"""Single sign-on against a real OpenID Connect provider, and the second factor."""

import importlib
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from auditlog.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import NoReverseMatch, reverse

import controlpanel.accounts.urls
import tests.access.account_urlconf
from controlpanel.accounts.adapters import claimed_groups
from projects.confidential.encrypted_fields import decrypt
from tests.access.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from tests.access.test_table import addresses
from tests.factories import UserFactory
from tests.support.pages import page

pytestmark = pytest.mark.django_db


def switch_on(settings: Any, *, issuer: str = "", second_factor: str = "off") -> None:
    """Apply the settings that the environment variables would result in."""
    settings.OIDC_ISSUER = issuer
    settings.SECOND_FACTOR = second_factor
    settings.ACCOUNT_PAGES = True
    settings.LOGIN_URL = "account_login"
    settings.OIDC_GROUPS = {"staff-readers": "Viewer", "staff-operators": "Operator"}
    app = {"provider_id": "oidc", "name": "Example", "client_id": CLIENT_ID, "secret": CLIENT_SECRET}
    apps = [{**app, "settings": {"server_url": issuer}}] if issuer else []
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": apps}}
    importlib.reload(controlpanel.accounts.urls)
    importlib.reload(tests.access.account_urlconf)
    settings.ROOT_URLCONF = "tests.access.account_urlconf"


# --- Single sign-on --------------------------------------------------------------------------------------------


@pytest.fixture
def provider(settings) -> Iterator[Provider]:
    with running_provider() as provider:
        switch_on(settings, issuer=provider.url)
        provider.claims = {"sub": "42", "preferred_username": "maria", "groups": ["staff-readers"]}
        yield provider


def sign_on(client: Client) -> Any:
    """Log in as a browser does: to the provider, and back with its code."""
    leave = client.post(reverse("openid_connect_login", args=["oidc"]) + "?process=login&next=/projects/")
    assert leave.status_code == HTTPStatus.FOUND
    back = requests.get(leave.headers["Location"], allow_redirects=False, timeout=5).headers["Location"]
    address = urlsplit(back)
    assert address.path == "/accounts/sso/oidc/login/callback/"
    return client.get(f"{address.path}?{address.query}")


def test_failed_sign_on_is_in_the_audit_log_with_its_address(provider):
    client = Client(REMOTE_ADDR="203.0.113.9")
    client.post(reverse("openid_connect_login", args=["oidc"]))
    client.get("/accounts/sso/oidc/login/callback/", {"error": "server_error", "state": "made-up"})
    entry = LogEntry.objects.get(additional_data__what="SignOnFailed")
    assert (entry.additional_data["by"], entry.remote_addr) == ("anonymous", "203.0.113.9")
    assert client.get(page("list")).status_code == HTTPStatus.FOUND


@pytest.mark.parametrize("answer", [None, "nonsense", [], {}, {"authorization_endpoint": 1}])
def test_unavailable_or_invalid_provider_answers_503(provider, settings, monkeypatch, answer):
    if answer is None:
        switch_on(settings, issuer="http://127.0.0.1:9")
    else:
        monkeypatch.setattr(requests.Response, "json", lambda *_, **__: answer)
    said = Client(raise_request_exception=False).post(reverse("openid_connect_login", args=["oidc"]))
    assert said.status_code in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.FOUND)
    assert said.status_code == HTTPStatus.FOUND or 'data-error="sign-on-unavailable"' in said.content.decode()


@pytest.mark.parametrize("following", ["http://[", "//[", "http://testserver]/"])
def test_invalid_next_url_breaks_no_page(provider, following):
    for name in ("account_login", "account_logout", "account_inactive", "socialaccount_login_cancelled"):
        for method in ("get", "post"):
            answer = getattr(Client(raise_request_exception=False), method)(reverse(name), {"next": following})
            assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, (name, method)


def test_first_sign_on_creates_a_user_with_the_claimed_groups(provider):
    client = Client()
    answer = sign_on(client)
    assert (answer.status_code, answer.headers["Location"]) == (HTTPStatus.FOUND, "/projects/")
    maria = User.objects.get()
    assert (maria.username, maria.is_staff, maria.is_superuser) == ("maria", True, False)
    assert not maria.has_usable_password()
    assert [group.name for group in maria.groups.all()] == ["Viewer"]
    assert client.get(page("list")).status_code == HTTPStatus.OK


def test_each_sign_on_syncs_mapped_groups_and_keeps_others(provider):
    sign_on(Client())
    User.objects.get().groups.add(Group.objects.create(name="Of our own"))
    provider.claims["groups"] = ["staff-operators"]
    sign_on(Client())
    assert {group.name for group in User.objects.get().groups.all()} == {"Operator", "Of our own"}
    provider.claims["groups"] = []
    client = Client()
    sign_on(client)
    assert {group.name for group in User.objects.get().groups.all()} == {"Of our own"}
    assert client.get(page("list")).status_code == HTTPStatus.FORBIDDEN


def test_superuser_stays_staff(provider):
    provider.claims["groups"] = []
    sign_on(Client())
    User.objects.update(is_superuser=True, is_staff=True)
    sign_on(Client())
    assert User.objects.get().is_staff


def test_single_sign_on_needs_no_second_factor(provider, settings):
    switch_on(settings, issuer=provider.url, second_factor="required")
    client = Client()
    sign_on(client)
    assert client.get(page("list")).status_code == HTTPStatus.OK


def test_user_without_group_is_staff_only_with_oidc_staff(provider, settings):
    provider.claims["groups"] = ["somewhere-else"]
    sign_on(Client())
    assert not User.objects.get().is_staff
    settings.OIDC_STAFF = True
    sign_on(Client())
    assert User.objects.get().is_staff


def test_sign_on_never_takes_over_a_local_user(provider):
    local = UserFactory.create(username="maria", email="maria@example.org", is_superuser=True)
    provider.claims |= {"email": "maria@example.org", "email_verified": True}
    client = Client()
    sign_on(client)
    assert client.session.get("_auth_user_id") != str(local.pk)
    assert not client.get(page("list")).wsgi_request.user.is_superuser


@pytest.mark.parametrize("wrong", ["issuer", "audience"])
def test_token_of_another_issuer_or_client_is_rejected(provider, wrong):
    setattr(provider, wrong, "https://mallory.example.org")
    client = Client()
    answer = sign_on(client)
    assert "_auth_user_id" not in client.session
    assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    assert not User.objects.exists()


def test_unsolicited_callback_is_rejected(provider):
    client = Client()
    client.get(reverse("openid_connect_callback", args=["oidc"]) + "?code=x&state=y")
    assert "_auth_user_id" not in client.session


def test_sign_on_is_in_the_audit_log(provider):
    sign_on(Client())
    said = [(entry.additional_data["by"], entry.additional_data.get("what")) for entry in LogEntry.objects.all()]
    assert ("maria", "LoggedIn") in said
    assert CLIENT_SECRET not in str(list(LogEntry.objects.values()))


def test_log_in_page_offers_both_ways_and_the_admin_redirects_to_it(provider):
    body = Client().get(reverse("account_login")).content.decode()
    assert "Log in with Example" in body
    assert 'name="password"' in body
    answer = Client().get("/admin/login/?next=/admin/")
    assert answer.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"userinfo": {"groups": ["a", "b"]}}, {"a", "b"}),
        ({"userinfo": {}, "id_token": {"groups": "a"}}, {"a"}),
        ({"groups": ["a", 7, None]}, {"a"}),
        ({"userinfo": "no", "groups": None}, set()),
        ({"userinfo": {"groups": 5}, "id_token": {"groups": True}, "groups": {"a": "b"}}, set()),
    ],
)
def test_groups_are_read_from_any_claim_set(claims, groups):
    assert claimed_groups(claims) == groups


# --- The second factor -----------------------------------------------------------------------------------------


@pytest.fixture
def maria() -> User:
    user = UserFactory.create(username="maria", groups=["Viewer"])
    user.set_password("right")
    user.save()
    return user


def log_in(client: Client) -> Any:
    return client.post(reverse("account_login"), {"login": "maria", "password": "right", "next": "/projects/"})


def code_of(secret: str) -> str:
    counter = next(iter(yield_hotp_counters_from_time()))
    return str(format_hotp_value(hotp_value(secret, counter)))


def enroll(client: Client) -> str:
    """Set up an authenticator app and return its secret."""
    url = reverse("mfa_activate_totp")
    assert client.get(url).headers["Location"].startswith(reverse("account_reauthenticate"))
    client.post(reverse("account_reauthenticate"), {"password": "right", "next": url})
    form = client.get(url).context["form"]
    assert client.post(url, {"code": code_of(form.secret)}).status_code == HTTPStatus.FOUND
    return str(form.secret)


def test_user_with_a_second_factor_needs_its_code(maria, settings):
    switch_on(settings, second_factor="optional")
    client = Client()
    assert log_in(client).headers["Location"] == "/projects/"
    secret = enroll(client)
    stored = Authenticator.objects.get(user=maria, type="totp").data["secret"]
    assert secret not in stored
    assert decrypt(stored) == secret

    other = Client()
    assert log_in(other).headers["Location"] == reverse("mfa_authenticate")
    assert other.get(page("list")).status_code == HTTPStatus.FOUND
    assert other.get("/admin/").status_code == HTTPStatus.FOUND
    other.post(reverse("mfa_authenticate"), {"code": "000000"})
    assert other.get(page("list")).status_code == HTTPStatus.FOUND
    cache.clear()  # a code works once: as if 30 s had passed
    other.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert other.get(page("list")).status_code == HTTPStatus.OK


def test_secrets_of_second_factors_are_not_cached(maria, settings):
    switch_on(settings, second_factor="optional")
    client = Client()
    log_in(client)
    client.post(reverse("account_reauthenticate"), {"password": "right"})
    answer = client.get(reverse("mfa_activate_totp"))
    secret = answer.context["form"].secret
    assert secret in answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert secret not in str([session.get_decoded() for session in Session.objects.all()])
    for name in ("mfa_view_recovery_codes", "mfa_download_recovery_codes"):
        answer = client.get(reverse(name))
        assert answer.status_code == HTTPStatus.OK
        assert "no-store" in answer.headers["Cache-Control"], name


def test_required_second_factor_has_to_be_set_up_first(maria, settings):
    switch_on(settings, second_factor="required")
    client = Client()
    log_in(client)
    for url in (page("list"), "/admin/", reverse("mfa_index")):
        assert client.get(url).headers["Location"] == reverse("mfa_activate_totp")
    fragment = client.get(page("list"), headers={"HX-Request": "true"})
    assert fragment.headers["HX-Redirect"] == reverse("mfa_activate_totp")
    enroll(client)
    assert client.get(page("list")).status_code == HTTPStatus.OK
    client.post(reverse("mfa_deactivate_totp"))
    assert Authenticator.objects.filter(user=maria, type="totp").exists()


def test_administrator_deletes_second_factors_except_of_superusers():
    client = Client()
    client.force_login(UserFactory.create(groups=["Administrator"]))
    for is_superuser, status in ((False, HTTPStatus.FOUND), (True, HTTPStatus.FORBIDDEN)):
        user = UserFactory.create(is_superuser=is_superuser)
        row = Authenticator.objects.create(user=user, type="totp", data={"secret": "canary"})
        url = reverse("admin:mfa_authenticator_delete", args=[row.pk])
        assert client.post(url, {"post": "yes"}).status_code == status
        assert "canary" not in client.get(reverse("admin:mfa_authenticator_changelist")).content.decode()
    assert "canary" not in str(list(LogEntry.objects.values("changes", "object_repr")))


def test_failed_log_ins_lock_here_too(maria, settings):
    switch_on(settings, second_factor="optional")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = Client().post(reverse("account_login"), {"login": "maria", "password": "wrong"})
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert log_in(Client()).status_code == HTTPStatus.TOO_MANY_REQUESTS


def test_wrong_codes_are_limited(maria, settings):
    switch_on(settings, second_factor="optional")
    client = Client()
    log_in(client)
    secret = enroll(client)
    cache.clear()
    guesser = Client()
    log_in(guesser)
    for _ in range(settings.AXES_FAILURE_LIMIT):
        guesser.post(reverse("mfa_authenticate"), {"code": "000000"})
    guesser.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert guesser.get(page("list")).status_code == HTTPStatus.FOUND
    tried = LogEntry.objects.filter(additional_data__what="SecondFactorFailed")
    assert tried.count() == settings.AXES_FAILURE_LIMIT
    assert {(entry.additional_data["by"], entry.remote_addr) for entry in tried} == {("maria", "127.0.0.1")}
    assert "000000" not in str(list(tried.values()))
    another = Client()
    log_in(another)
    another.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert another.get(page("list")).status_code == HTTPStatus.FOUND, "a new log-in brings no new tries"
    cache.clear()


# --- URLs ------------------------------------------------------------------------------------------------------

# URLs for anonymous users. All others redirect to the log-in page.
OPEN = {
    "account_login",
    "account_logout",
    "account_inactive",
    "mfa_authenticate",
    "openid_connect_login",
    "openid_connect_callback",
    "socialaccount_login_cancelled",
    "socialaccount_login_error",
    "socialaccount_signup",
}
CLOSED = {
    "account_reauthenticate",
    "mfa_index",
    "mfa_reauthenticate",
    "mfa_activate_totp",
    "mfa_deactivate_totp",
    "mfa_view_recovery_codes",
    "mfa_generate_recovery_codes",
    "mfa_download_recovery_codes",
    "socialaccount_connections",
}


def test_every_enabled_url_is_listed_and_closed_ones_redirect_to_the_log_in(provider, settings):
    switch_on(settings, issuer=provider.url, second_factor="optional")
    found = {name.split(":")[-1] for name, _, route in addresses() if route.startswith("accounts/")}
    assert found == OPEN | CLOSED
    for name in CLOSED:
        answer = Client().get(reverse(name))
        assert answer.status_code == HTTPStatus.FOUND, name
        assert answer.headers["Location"].startswith(reverse("account_login")), name
    for name in OPEN:
        args = ["oidc"] if name.startswith("openid") else []
        client = Client()
        answer = client.get(reverse(name, args=args))
        assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, name
        assert answer.status_code == HTTPStatus.FOUND or "no-store" in answer.headers["Cache-Control"], name
        assert "_auth_user_id" not in client.session


def test_account_pages_are_the_panels_own(provider, maria, settings):
    switch_on(settings, issuer=provider.url, second_factor="optional")
    client = Client()
    log_in(client)
    enroll(client)
    for name in sorted(OPEN | CLOSED):
        args = ["oidc"] if name.startswith("openid") else []
        page_of = client.get(reverse(name, args=args), follow=True)
        used = {template.origin.name for template in page_of.templates if template.origin}
        ours = {path for path in used if "/site-packages/" not in path and path.endswith(".html")}
        assert ours or page_of.headers["Content-Type"].startswith("text/plain"), name
        assert not re.search(r"\b[Ss]ign(ed)? (in|out|up|In|Out|Up)\b", page_of.content.decode()), name


# --- Off by default --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["account_login", "account_signup", "mfa_index", "socialaccount_connections"])
def test_account_urls_are_off_by_default(client, name):
    with pytest.raises(NoReverseMatch):
        reverse(name)
    assert client.get("/accounts/login/").status_code == HTTPStatus.NOT_FOUND


def test_there_is_no_sign_up(settings):
    switch_on(settings, second_factor="optional")
    assert Client().get("/accounts/signup/").status_code == HTTPStatus.NOT_FOUND


def test_invalid_settings_name_the_problem(monkeypatch):
    for name, value, said in (
        ("SECOND_FACTOR", "perhaps", "off, optional, required"),
        ("OIDC_ISSUER", "https://id.example.org", "OIDC_CLIENT_ID is not"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ImproperlyConfigured, match=said):
                importlib.reload(importlib.import_module("controlpanel.settings"))
    importlib.reload(importlib.import_module("controlpanel.settings"))
