"""Log-ins: throttled by name and address, ended by deactivation, in cookies that are kept close."""

from http import HTTPStatus

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse

from controlpanel.http.client_address import ClientAddressMiddleware, client_address
from tests.factories import UserFactory
from tests.support.pages import page

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


def test_wrong_passwords_lock_the_name_at_the_address_and_nobody_else(maria):
    UserFactory.create(username="otto")
    fail_until_locked()
    assert try_password("right") == HTTPStatus.TOO_MANY_REQUESTS
    assert try_password("right", address="203.0.113.8") == HTTPStatus.FOUND
    assert try_password("wrong", username="otto") == HTTPStatus.OK


def test_the_lock_ends_by_itself(maria, settings):
    fail_until_locked()
    settings.AXES_COOLOFF_TIME = settings.AXES_COOLOFF_TIME * 0
    assert try_password("right") == HTTPStatus.FOUND


def test_a_right_password_starts_the_count_anew(maria):
    for _ in range(2):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            assert try_password("wrong") == HTTPStatus.OK
        assert try_password("right") == HTTPStatus.FOUND


def test_the_page_says_who_is_locked_for_how_long_and_how_to_unlock(maria):
    fail_until_locked()
    answer = Client(REMOTE_ADDR="203.0.113.7").post(LOGIN, {"username": "maria", "password": "right"})
    body = answer.content.decode()
    assert "<strong>maria</strong> can't log in from your address for now" in body
    assert "Wait 15 min, then try again." in body
    assert "right" not in body.split("<main")[1].split("</main>")[0].replace("bright", "")


def test_behind_a_proxy_the_client_is_locked_and_not_the_proxy(maria, settings):
    settings.TRUSTED_PROXIES = 1
    fail_until_locked(address="10.0.0.1", **{"X-Forwarded-For": "203.0.113.7"})
    assert try_password("right", address="10.0.0.1", **{"X-Forwarded-For": "203.0.113.8"}) == HTTPStatus.FOUND
    # What the client wrote itself stands left of what the proxy appended.
    forged = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}
    assert try_password("right", address="10.0.0.1", **forged) == HTTPStatus.TOO_MANY_REQUESTS


def test_without_a_proxy_nobody_escapes_by_a_header_of_their_own(maria, settings):
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
def test_the_clients_address(forwarded_for, proxies, address):
    assert client_address("10.0.0.1", forwarded_for, proxies) == address


def test_nothing_behind_the_middleware_can_read_the_header_itself(settings):
    settings.TRUSTED_PROXIES = 1
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}
    ClientAddressMiddleware(lambda _: HttpResponse())(request)
    assert request.META == {"REMOTE_ADDR": "203.0.113.7"}


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}, {"password": "another"}])
def test_a_session_ends_with_what_it_was_given_for(maria, change):
    client = Client()
    client.force_login(maria)
    assert client.get(page("list")).status_code == HTTPStatus.OK
    User.objects.filter(pk=maria.pk).update(**change)
    assert client.get(page("list")).status_code in (HTTPStatus.FOUND, HTTPStatus.FORBIDDEN)
    assert client.get(reverse("admin:index")).headers["Location"].startswith(LOGIN)


def test_cookies_are_kept_from_scripts_and_other_sites(maria):
    client = Client()
    client.get(LOGIN)
    client.post(LOGIN, {"username": "maria", "password": "right"})
    session, token = client.cookies[settings.SESSION_COOKIE_NAME], client.cookies[settings.CSRF_COOKIE_NAME]
    assert (session["httponly"], session["samesite"]) == (True, "Lax")
    assert int(session["max-age"]) == settings.SESSION_COOKIE_AGE
    assert (token["httponly"], token["samesite"]) == (True, "Strict")


def test_an_inactive_user_is_told_no_more_than_a_stranger(maria):
    User.objects.filter(pk=maria.pk).update(is_active=False)
    said = {
        Client().post(LOGIN, {"username": username, "password": "right"}).context["form"].non_field_errors()[0]
        for username in ("maria", "nobody")
    }
    assert len(said) == 1


def test_who_lacks_staff_status_is_told_so_and_only_with_the_right_password(maria):
    User.objects.update(is_staff=False)
    sentence = "maria may not use the panel yet. Ask an administrator to tick “Staff status” for it."
    for password, is_told in (("right", True), ("wrong", False)):
        body = Client().post(LOGIN, {"username": "maria", "password": password}).content.decode()
        assert (sentence in body) is is_told
        assert body.count('class="errornote') == 1
        assert "Please correct" not in body
    User.objects.update(is_active=False)
    assert "Staff status" not in Client().post(LOGIN, {"username": "maria", "password": "right"}).content.decode()


def test_a_group_without_staff_status_is_warned_of(admin, maria):
    User.objects.filter(pk=maria.pk).update(is_staff=False)
    address = reverse("admin:auth_user_change", args=[maria.pk])
    assert "without it nobody gets past the log-in page" in admin.get(address).content.decode()
    data = {"username": "maria", "is_active": "on", "groups": [Group.objects.get(name="Viewer").pk]}
    listed = admin.post(address, data, follow=True).content.decode()
    assert "can&#x27;t log in without “Staff status”: tick it as well" in listed
    assert "Viewer" in listed
    assert "tick it as well" not in admin.post(address, {**data, "is_staff": "on"}, follow=True).content.decode()
