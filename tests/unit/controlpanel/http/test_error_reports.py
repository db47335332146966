"""Error pages, tracebacks, task results and rows contain no secrets."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import path
from django.views.debug import technical_500_response
from django_q.signals import post_execute_in_worker

from controlpanel import urls
from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.connection import Connection
from projects.models import DatabaseCluster, Event, Project
from projects.services.events import record_event
from tests.factories import DatabaseFactory, ProjectFactory
from tests.support.processes import hermetic_environment

CANARY = "c4N4ry@:/%'\"<&report"
LEFT_OVER = ("c4N4ry", "&report", "amp;report")


def assert_clean(text: str) -> None:
    for part in LEFT_OVER:
        assert part not in text


def fail(request):
    connection = Connection("h", 5432, "d", "u", CANARY)
    text, raw = f"{CANARY} at the start", CANARY.encode()
    holder = SimpleNamespace(inner={"deep": [connection.url]})
    raise RuntimeError(f"refused {connection.url} {text!r} {raw!r} {len(holder.inner)}")


urlpatterns = [*urls.urlpatterns, path("fail", fail)]


@pytest.mark.urls("tests.unit.controlpanel.http.test_error_reports")
@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("accepts", ["text/html", "text/plain"])
def test_error_page_shows_no_secret(settings, caplog, debug, accepts):
    settings.DEBUG = debug
    client = Client(raise_request_exception=False)
    answer = client.post("/fail", {"password": "typed-t0-log-in"}, headers={"Accept": accepts})
    assert answer.status_code == 500
    page = answer.content.decode()
    assert ("RuntimeError" in page) is debug
    assert_clean(page)
    assert "typed-t0-log-in" not in page


def raise_with(api_token, posted):
    raise ValueError(f"{len(api_token)} characters, {len(posted)} fields")


def test_report_masks_secret_names_and_form_input():
    # Put together, since a report quotes the lines of the program.
    unknown, typed = "-".join(["nobody", "knows"]), "-".join(["typed", "in"])
    request = RequestFactory().post("/", {"variables-0-value": typed})
    request.user = User()
    try:
        raise_with(unknown, request.POST)
    except ValueError as error:
        # Without this very frame, which holds both under other names.
        trace = error.__traceback__.tb_next
        page = technical_500_response(request, type(error), error, trace).content.decode()
    assert "api_token" in page
    assert "variables-0-value" in page
    assert unknown not in page
    assert typed not in page


def test_uncaught_traceback_is_masked(tmp_path, repository):
    program = f"""
import sys, threading
import django; django.setup()
from projects.confidential.redaction import guard_exception_hooks
from projects.domain.connection import Connection
guard_exception_hooks()
url = Connection("h", 1, "d", "u", {CANARY!r}).url
def fail(): raise RuntimeError("in a thread " + url)
thread = threading.Thread(target=fail); thread.start(); thread.join()
raise RuntimeError("at last " + url)
"""
    (tmp_path / "program.py").write_text(program)
    ran = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        env=hermetic_environment(tmp_path, PYTHONPATH=str(repository)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 1
    assert "in a thread postgresql://u:" in ran.stderr
    assert "at last postgresql://u:" in ran.stderr
    assert_clean(ran.stderr)


def test_worker_masks_the_result_of_a_failed_task():
    task: dict[str, Any] = {"result": f"{Connection('h', 1, 'd', 'u', CANARY).url} : Traceback", "success": False}
    post_execute_in_worker.send(sender="django_q", func=None, task=task)
    assert task["result"].endswith(": Traceback")
    assert_clean(task["result"])


@pytest.mark.django_db
def test_rows_and_the_admins_history_hold_no_secret():
    EncryptedText.of(CANARY)
    project = ProjectFactory.create()
    DatabaseFactory.create(project=project, message=f"quoted {CANARY}", verification_note=CANARY)
    Project.objects.filter(pk=project.pk).update(message=f"the API server said {CANARY}")
    record_event(project, actor="tester", reason="Said", message=f"said {CANARY}")
    LogEntry.objects.log_actions(User.objects.create_superuser("root").pk, [project], CHANGE, f"changed {CANARY}")
    rows = [
        *Event.objects.values_list("message"),
        *Project.objects.values_list("message"),
        *DatabaseCluster.objects.values_list("message", "verification_note"),
        *LogEntry.objects.values_list("change_message", "object_repr"),
    ]
    assert "said" in str(rows)
    assert_clean(str(rows))
