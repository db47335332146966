"""Log-in: the lock after failed attempts, client addresses, sessions, cookies, staff status."""

from http import HTTPStatus

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from controlpanel.http.client_address import ClientAddressMiddleware, client_address
from tests.factories import UserFactory
from tests.support.pages import edit, page

LOGIN = "/admin/login/"


@pytest.fixture
def admin(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def maria(db) -> User:
    user = UserFactory.create(username="maria")
    user.set_password("right")
    user.save()
    return user


def try_password(password: str, *, address: str = "203.0.113.7", username: str = "maria", **headers: str) -> int:
    data = {"username": username, "password": password}
    return Client(REMOTE_ADDR=address).post(LOGIN, data, headers=headers).status_code


def fail_until_locked(**request: str) -> None:
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        assert try_password("wrong", **request) == HTTPStatus.OK
    assert try_password("wrong", **request) == HTTPStatus.TOO_MANY_REQUESTS


def test_failed_log_ins_lock_only_the_pair_of_name_and_address(maria):
    UserFactory.create(username="otto")
    fail_until_locked()
    assert try_password("right") == HTTPStatus.TOO_MANY_REQUESTS
    assert try_password("right", address="203.0.113.8") == HTTPStatus.FOUND
    assert try_password("wrong", username="otto") == HTTPStatus.OK


def test_lock_expires(maria, settings):
    fail_until_locked()
    settings.AXES_COOLOFF_TIME = settings.AXES_COOLOFF_TIME * 0
    assert try_password("right") == HTTPStatus.FOUND


def test_successful_log_in_resets_the_count(maria):
    for _ in range(2):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            assert try_password("wrong") == HTTPStatus.OK
        assert try_password("right") == HTTPStatus.FOUND


def test_locked_page_names_user_and_duration(maria):
    fail_until_locked()
    answer = Client(REMOTE_ADDR="203.0.113.7").post(LOGIN, {"username": "maria", "password": "right"})
    body = answer.content.decode()
    assert 'data-error="locked-out"' in body
    assert "<strong>maria</strong> is locked for your IP address after 5 failed log-ins." in body
    assert "Try again in 15 min." in body
    assert "right" not in body.split("<main")[1].split("</main>")[0].replace("bright", "")


def test_lock_behind_a_proxy_applies_to_the_client(maria, settings):
    settings.TRUSTED_PROXIES = 1
    fail_until_locked(address="10.0.0.1", **{"X-Forwarded-For": "203.0.113.7"})
    assert try_password("right", address="10.0.0.1", **{"X-Forwarded-For": "203.0.113.8"}) == HTTPStatus.FOUND
    # The client's own entry is left of the one that the proxy appended.
    forged = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}
    assert try_password("right", address="10.0.0.1", **forged) == HTTPStatus.TOO_MANY_REQUESTS


def test_forged_header_does_not_evade_the_lock(maria, settings):
    settings.TRUSTED_PROXIES = 0
    fail_until_locked(**{"X-Forwarded-For": "198.51.100.9"})
    assert try_password("right", **{"X-Forwarded-For": "198.51.100.10"}) == HTTPStatus.TOO_MANY_REQUESTS


@pytest.mark.parametrize(
    ("forwarded_for", "proxies", "address"),
    [
        ("", 0, "10.0.0.1"),
        ("", 1, "10.0.0.1"),
        ("203.0.113.7", 0, "10.0.0.1"),
        ("203.0.113.7", 1, "203.0.113.7"),
        ("198.51.100.9, 203.0.113.7", 1, "203.0.113.7"),
        ("198.51.100.9, 203.0.113.7, 10.0.0.2", 2, "203.0.113.7"),
        ("203.0.113.7", 2, "10.0.0.1"),
        ("2001:db8::1", 1, "2001:db8::1"),
        ("<script>", 1, "10.0.0.1"),
        ("203.0.113.7, ", 1, "10.0.0.1"),
    ],
)
def test_address_comes_from_the_outermost_trusted_proxy(forwarded_for, proxies, address):
    assert client_address("10.0.0.1", forwarded_for, proxies) == address


def test_middleware_removes_the_header(settings):
    settings.TRUSTED_PROXIES = 1
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}
    ClientAddressMiddleware(lambda _: HttpResponse())(request)
    assert request.META == {"REMOTE_ADDR": "203.0.113.7"}


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}, {"password": "another"}])
def test_deactivation_and_password_change_end_sessions(maria, change):
    client = Client()
    client.force_login(maria)
    assert client.get(page("list")).status_code == HTTPStatus.OK
    User.objects.filter(pk=maria.pk).update(**change)
    assert client.get(page("list")).status_code in (HTTPStatus.FOUND, HTTPStatus.FORBIDDEN)
    assert client.get(reverse("admin:index")).headers["Location"].startswith(LOGIN)


def test_cookies_are_http_only_and_same_site(maria):
    client = Client()
    client.get(LOGIN)
    client.post(LOGIN, {"username": "maria", "password": "right"})
    session, token = client.cookies[settings.SESSION_COOKIE_NAME], client.cookies[settings.CSRF_COOKIE_NAME]
    assert (session["httponly"], session["samesite"]) == (True, "Lax")
    assert int(session["max-age"]) == settings.SESSION_COOKIE_AGE
    assert (token["httponly"], token["samesite"]) == (True, "Strict")


def test_inactive_user_gets_the_same_error_as_an_unknown_one(maria):
    User.objects.filter(pk=maria.pk).update(is_active=False)
    said = {
        Client().post(LOGIN, {"username": username, "password": "right"}).context["form"].non_field_errors()[0]
        for username in ("maria", "nobody")
    }
    assert len(said) == 1


def test_missing_staff_status_is_explained_only_after_the_right_password(maria):
    User.objects.update(is_staff=False)
    error = "maria doesn&#x27;t have staff status. Ask an administrator to enable it."
    for password, is_told in (("right", True), ("wrong", False)):
        response = Client().post(LOGIN, {"username": "maria", "password": password})
        body = response.content.decode()
        assert (error in body) is is_told
        (shown,) = response.context["form"].non_field_errors()
        assert body.count(escape(shown)) == 1
        assert "Please correct" not in body
    User.objects.update(is_active=False)
    assert "staff status" not in Client().post(LOGIN, {"username": "maria", "password": "right"}).content.decode()


def test_group_without_staff_status_gets_a_warning(admin, maria):
    User.objects.filter(pk=maria.pk).update(is_staff=False)
    address = reverse("admin:auth_user_change", args=[maria.pk])
    assert "Required to log in" in admin.get(address).content.decode()
    data = {"username": "maria", "is_active": "on", "groups": [Group.objects.get(name="Viewer").pk]}
    listed = edit(admin, address, data, follow=True).content.decode()
    assert "maria can&#x27;t log in yet: staff status is off." in listed
    assert "Viewer" in listed
    assert "staff status is off" not in edit(admin, address, {**data, "is_staff": "on"}, follow=True).content.decode()
