"""The panel works at the root of a host only, and refuses a path."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory

from controlpanel.wsgi import application
from tests.hostile.test_settings import read_settings


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "FORCE_SCRIPT_NAME"])
@pytest.mark.parametrize("path", ["/panel", "panel", "/a/b/"])
def test_path_in_the_environment_is_refused(tmp_path, name, path):
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is set, but the panel can't be served under a path"):
        read_settings(tmp_path, **{name: path})


@pytest.mark.parametrize("path", ["", "/"])
def test_root_is_accepted(tmp_path, path):
    assert read_settings(tmp_path, SCRIPT_NAME=path)


def ask(**environ):
    said = []
    request = RequestFactory().get("/livez", headers={"Host": "localhost"})
    body = b"".join(application({**request.environ, **environ}, lambda status, headers: said.append(status)))
    return said[0], body


@pytest.mark.parametrize("path", ["/panel", "/panel/"])
def test_server_that_mounts_the_panel_under_a_path_gets_an_error(path):
    status, body = ask(SCRIPT_NAME=path)
    assert status.startswith("500")
    assert body.startswith(b"The panel can't be served under a path.")


def test_pages_are_served_at_the_root(db):
    status, body = ask(SCRIPT_NAME="")
    assert status == "200 OK"
    assert body.strip() == b"ok"
