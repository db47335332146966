"""Refused requests and failed log-ins in the log: one line each, without secrets."""

import io
import logging
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils.log import configure_logging

from tests.factories import ProjectFactory, UserFactory
from tests.support.pages import log_in, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the panel's own handler writes, as the settings make it."""
    written = io.StringIO()
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    found = [handler for name in ("django", "axes") for handler in logging.getLogger(name).handlers]
    handlers = {handler for handler in found if isinstance(handler, logging.StreamHandler)}
    assert handlers
    streams = [(handler, handler.setStream(written)) for handler in handlers]
    yield written
    for handler, stream in streams:
        handler.setStream(stream)


def test_refusal_is_logged_in_one_line_with_its_reason(log: io.StringIO) -> None:
    project = ProjectFactory.create()
    client = log_in("view_project")
    refused = [client.get(page("delete", project.pk)), client.get(page("add"))]
    assert [answer.status_code for answer in refused] == [403, 403]
    first, second = log.getvalue().splitlines()
    assert f"WARNING django.request: Forbidden (Permission denied): {page('delete', project.pk)}: " in first
    assert "(needs: delete_project)" in first
    assert "(needs: add_project)" in second


def test_invalid_host_is_logged_in_one_line(log: io.StringIO) -> None:
    assert Client(headers={"host": "evil.example"}).get(reverse("admin:login")).status_code == 400
    (line,) = log.getvalue().splitlines()
    assert "Invalid HTTP_HOST header: 'evil.example'." in line


def test_internal_error_keeps_its_traceback(log: io.StringIO) -> None:
    try:
        raise PermissionDenied("no")
    except PermissionDenied as error:
        logging.getLogger("django.request").error("Failed", exc_info=error, extra={"status_code": 500})
    assert "Traceback" in log.getvalue()


def test_failed_log_in_names_user_and_address_but_no_password(log: io.StringIO) -> None:
    UserFactory.create(username="maria")
    data = {"username": "maria", "password": "canary-Pa55"}
    Client(REMOTE_ADDR="203.0.113.7").post(reverse("admin:login"), data)
    (line,) = [line for line in log.getvalue().splitlines() if "AXES" in line]
    assert "maria" in line
    assert "203.0.113.7" in line
    assert "canary-Pa55" not in log.getvalue()
