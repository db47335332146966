"""A session that expires on an open page: htmx requests lead to the log-in page, and back to that page."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
HERE = "http://localhost"


def ask(client, path, page, method="get"):
    headers = {"HX-Request": "true", "HX-Current-URL": f"{HERE}{page}", "Host": "localhost"}
    return getattr(client, method)(path, headers=headers)


FRAGMENTS = {
    "list poll": ("/projects/", "/projects/?q=a&phase=Running"),
    "list search": ("/projects/?q=abc", "/projects/"),
    "admin search": ("/admin/search/?s=abc", "/admin/projects/project/?o=1"),
    "admin page": ("/admin/projects/project/", "/admin/projects/project/?q=x"),
    "dashboard": ("/admin/", "/admin/"),
}


@pytest.mark.parametrize("name", FRAGMENTS)
@pytest.mark.parametrize("pages", [False, True], ids=["admin log-in", "own log-in page"])
def test_fragment_without_a_session_redirects_the_page(client, settings, name, pages):
    settings.LOGIN_URL = "/accounts/login/" if pages else "admin:login"
    path, page = FRAGMENTS[name]
    response = ask(client, path, page)
    assert response.status_code == 200
    assert "Location" not in response.headers
    target = urlsplit(response.headers["HX-Redirect"])
    assert target.path in ("/admin/login/", "/accounts/login/")
    assert parse_qs(target.query)["next"] == [page]
    assert b"password" not in response.content


def test_page_of_another_site_is_not_the_next_page(client):
    headers = {"HX-Request": "true", "HX-Current-URL": "https://evil.example.com/x", "Host": "localhost"}
    response = client.get("/admin/search/?s=abc", headers=headers)
    (back,) = parse_qs(urlsplit(response.headers["HX-Redirect"]).query)["next"]
    assert back.startswith("/")
    assert "evil" not in back


def test_ordinary_request_is_redirected(client):
    response = client.get("/admin/search/?s=abc", headers={"Host": "localhost"})
    assert response.status_code == 302
    assert "HX-Redirect" not in response.headers


def test_button_is_not_repeated_after_the_log_in(client):
    page = "/projects/1/"
    response = ask(client, f"{page}provision/", page, method="post")
    assert urlsplit(response.headers["HX-Redirect"]).path == "/admin/login/"
    assert parse_qs(urlsplit(response.headers["HX-Redirect"]).query)["next"] == [page]


def test_fragment_with_a_session_is_served(client):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    response = ask(client, "/admin/search/?s=abc", "/admin/")
    assert response.status_code == 200
    assert "HX-Redirect" not in response.headers
