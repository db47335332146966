"""Bodies that are too large are refused by Content-Length, before they are read."""

import pytest
from django.conf import settings
from django.test import Client


class Unread:
    """A body that fails the test when somebody reads it."""

    def read(self, *_: object) -> bytes:
        pytest.fail("The body was read.")

    readline = read


@pytest.mark.parametrize("path", ["/admin/login/", "/projects/add/", "/nowhere/", "/healthz"])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_large_body_is_refused_unread(db, path, content_type):
    extra = {
        "CONTENT_LENGTH": str(settings.MAX_REQUEST_BYTES + 1),
        "CONTENT_TYPE": content_type,
        "wsgi.input": Unread(),
    }
    answer = Client().generic("POST", path, **extra)
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["9" * 30, str(10**18)])
def test_absurd_content_length_is_refused(db, length):
    extra = {"CONTENT_LENGTH": length, "CONTENT_TYPE": "text/plain", "wsgi.input": Unread()}
    assert Client().generic("POST", "/admin/login/", **extra).status_code == 413


def test_form_of_usual_size_is_accepted(db):
    answer = Client().post("/admin/login/", {"username": "x" * 1000, "password": "y"})
    assert answer.status_code == 200
