"""Secrets full of special characters appear nowhere while a panel provisions, fails and is used.

The panel's processes run on the embedded cluster with a real PostgreSQL. The test searches every file of the state
directory (database, queue, logs), a dump of the database, all pages and all outputs, in every encoding.
"""

import contextlib
import html
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import requests
from psycopg import sql

from devcluster.cluster import EmbeddedCluster
from projects.confidential.known_secrets import encodings_of
from provisioning.kube.client import connect
from provisioning.kube.kinds import SECRET
from tests.support.processes import Panel, free_port
from tests.support.rest import STRATEGIC_PATCH
from tests.support.standin_api import administrator_of, write_password
from tests.support.web import WebSession

pytestmark = pytest.mark.timeout(300)

PASSWORD = "p4Ss@:/%'\"<&canary"
VARIABLE = "v4R@:/%'\"<&canary=1;2"
DEFAULT = "d3F@:/%'\"<&canary?#"
TYPED = "typed-l0g-In@:/%canary"
NAME = "canary"


@dataclass
class Collected:
    """All text that pages and commands have shown."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, text: str) -> str:
        self.texts[f"{len(self.texts)} {name}"] = text
        return text


class Browser(WebSession):
    """A logged-in session whose pages are collected."""

    def __init__(self, port: int, collected: Collected) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self.collected = collected

    def get(self, path: str) -> requests.Response:
        answer = super().get(path)
        self.collected.add(f"GET {path}", answer.text)
        return answer

    def post(self, path: str, **fields: str) -> requests.Response:
        answer = self.send(path, fields)
        self.collected.add(f"POST {path}", answer.text)
        return answer


@pytest.fixture
def panel(tmp_path: Path, cluster: EmbeddedCluster) -> Iterator[Panel]:
    environment = {
        "DEFAULT_DATABASE_URL": f"postgresql://someone:{quote(DEFAULT, safe='')}@127.0.0.1:9/db",
        "DJANGO_SUPERUSER_PASSWORD": TYPED,
        "LOG_LEVEL": "DEBUG",
        "READY_TIMEOUT_S": "20",
        "DRIFT_POLICY": "report",
    }
    with Panel(tmp_path / "panel", cluster.kubeconfig, **environment) as panel:
        panel.run("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.org")
        yield panel


def start_web(panel: Panel, collected: Collected, *, debug: bool) -> Browser:
    """Start Django's development server, whose requests contain the whole environment."""
    port = free_port()
    panel.environment["DEBUG"] = str(debug)
    panel.start("runserver", f"127.0.0.1:{port}", "--noreload", "--insecure")
    browser = Browser(port, collected)
    for _ in range(100):
        with contextlib.suppress(requests.ConnectionError):
            answer = browser.log_in("root", TYPED)
            collected.add("POST /admin/login/", answer.text)
            assert answer.status_code == 200
            assert browser.is_logged_in
            return browser
        time.sleep(0.2)
    raise AssertionError("The web server did not start.")


def execute(panel: Panel, statement: str) -> list[tuple[str, ...]]:
    """Run a statement on the panel's database from outside."""
    with contextlib.closing(sqlite3.connect(panel.state_dir / "panel.sqlite3", timeout=20)) as database, database:
        return database.execute(statement).fetchall()


@contextlib.contextmanager
def without_events(panel: Panel) -> Iterator[None]:
    """Let each write of an event fail, while the code holds a secret."""
    execute(panel, "ALTER TABLE projects_event RENAME TO gone")
    try:
        yield
    finally:
        execute(panel, "ALTER TABLE gone RENAME TO projects_event")


def change_password(url: str, new: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        verifier = session.pgconn.encrypt_password(new.encode(), b"postgres", b"scram-sha-256").decode()
        session.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(verifier)))


def account_secret(database: str) -> str:
    labels = f"app.kubernetes.io/instance={database},apps.kubeblocks.io/system-account=postgres"
    (found,) = connect().list_objects(SECRET, "default", labels=labels)
    return str(found["metadata"]["name"])


def reveal(panel: Panel) -> str:
    return panel.run("credentials", NAME, "--reveal", "--reason", "a test", "--format", "url").stdout.strip()


def reasons(panel: Panel) -> set[str]:
    return {reason for (reason,) in execute(panel, "SELECT reason FROM projects_event")}


def change_sandbox(cluster: EmbeddedCluster, name: str) -> None:
    """Write a password into a field that the panel shows as drift."""
    container = {"name": "sandbox", "image": f"registry.example/sandbox?password={PASSWORD}", "command": [PASSWORD]}
    path = f"/apis/apps/v1/namespaces/default/statefulsets/{name}"
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    administrator_of(cluster).send("PATCH", path, body, content_type=STRATEGIC_PATCH)


def look_everywhere(browser: Browser, project: int) -> None:
    pages = (
        "/projects/",
        f"/projects/{project}/",
        f"/projects/{project}/status/",
        f"/projects/{project}/credentials/",
        "/admin/",
        "/admin/projects/project/",
        f"/admin/projects/project/{project}/change/",
        f"/admin/projects/project/{project}/history/",
        "/admin/projects/databasecluster/",
        "/admin/projects/databasecluster/1/change/",
        "/admin/projects/sandbox/1/change/",
        "/admin/projects/event/",
        "/admin/auditlog/logentry/",
        "/admin/auditlog/logentry/export/",
        "/admin/django_q/failure/",
        "/admin/django_q/ormq/",
        "/healthz",
        "/nowhere",
    )
    for page in pages:
        assert browser.get(page).status_code in (200, 404, 503), page


def fail_in_every_way(panel: Panel, cluster: EmbeddedCluster, browser: Browser, project: int) -> None:
    """Let each step of a pass, a task of the queue, and a reveal fail."""
    for resource in ("secrets", "services", "statefulsets", "clusters"):
        cluster.faults.add("status", status=500, resource=resource, count=2)
        browser.post(f"/projects/{project}/provision/")
        time.sleep(0.4)
    cluster.faults.clear()
    # An event can't be written while the code holds the credentials.
    with without_events(panel):
        answer = browser.post(f"/projects/{project}/credentials/", reason="why", password=TYPED)
        assert answer.status_code in (500, 503)  # with DEBUG, and as the panel's error page
        panel.run("credentials", NAME, "--reveal", "--reason", "x", "--traceback", check=False)
        write_password(cluster, account_secret(database_name(panel)), PASSWORD + "wrong")
        browser.post(f"/projects/{project}/provision/")
        panel.wait_until(lambda: panel.count("SELECT count(*) FROM django_q_task WHERE NOT success") > 0, "failed", 30)
    # The failed pass could not release its lease, which would expire 45 s later.
    execute(panel, "UPDATE projects_project SET lease_until = NULL, lease_token = NULL")
    browser.post(f"/projects/{project}/provision/")
    with_reason = "SELECT count(*) FROM projects_project WHERE reason = '{}'"
    panel.wait_until(lambda: panel.count(with_reason.format("SecretReplaced")) == 1, "wrong credentials are told", 40)
    write_password(cluster, account_secret(database_name(panel)), PASSWORD)
    panel.wait_until(lambda: panel.count(with_reason.format("Ready")) == 1, "in order again", 60)


def database_name(panel: Panel) -> str:
    return str(panel.status(NAME)[0]["database"]["cluster"])


def test_no_secret_appears_anywhere(panel: Panel, cluster: EmbeddedCluster) -> None:
    collected = Collected()
    panel.start("qcluster")
    panel.start("watch")
    quiet = start_web(panel, collected, debug=False)
    loud = start_web(panel, collected, debug=True)
    collected.add("provision", panel.run("provision", NAME, "--wait", "--json").stdout)
    project = panel.count("SELECT id FROM projects_project")
    first = reveal(panel)
    # A variable from the admin's form, and a database password with special characters.
    form = loud.get(f"/admin/projects/project/{project}/change/").text
    hidden = re.findall(r'<input type="hidden" name="(variables-[A-Z_]+|_version)" value="([^"]*)"', form)
    fields = {name: html.unescape(value) for name, value in hidden}
    loud.post(
        f"/admin/projects/project/{project}/change/",
        **{**fields, "variables-TOTAL_FORMS": "1", "variables-0-name": "TOKEN_OF", "variables-0-value": VARIABLE},
        **{"variables-0-project": str(project), "description": "changed"},
    )
    assert panel.count("SELECT count(*) FROM projects_projectvariable") == 1
    change_password(first, PASSWORD)
    write_password(cluster, account_secret(database_name(panel)), PASSWORD)
    panel.wait_until(lambda: quote(PASSWORD, safe="") in reveal(panel), "the new password is captured", 40)
    panel.wait_until(lambda: panel.running() == 1, "Running with the new password", 40)
    shown = loud.send(f"/projects/{project}/credentials/", {"reason": "to see it", "password": TYPED})
    assert "p4Ss@:/%" in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    for browser in (quiet, loud):
        fail_in_every_way(panel, cluster, browser, project)
        look_everywhere(browser, project)
    change_sandbox(cluster, str(panel.status(NAME)[0]["sandbox"]["name"]))
    quiet.post(f"/projects/{project}/provision/")
    panel.wait_until(lambda: panel.count("SELECT count(*) FROM projects_project WHERE drift != '[]'") == 1, "drift", 30)
    look_everywhere(loud, project)
    ran = panel.run("rotate_password", NAME, "--wait", "--timeout-s", "60", check=False)
    collected.add("rotate_password", ran.stdout + ran.stderr)
    assert "PasswordRotated" in reasons(panel), ran.stderr
    rotated = reveal(panel)
    assert rotated != first
    ran = panel.run("rotate_keys", "--new-key")
    collected.add("rotate_keys", ran.stdout + ran.stderr)
    assert reveal(panel) == rotated
    for command in (
        "audit",
        f"plan {NAME}",
        f"plan {NAME} --json",
        "orphans",
        "status",
        "status --json",
        "doctor",
        "doctor --json",
        f"credentials {NAME}",
    ):
        ran = panel.run(*command.split(), check=False)
        collected.add(command, ran.stdout + ran.stderr)
    ran = panel.run("dumpdata", "--all", "-e", "contenttypes", check=False)
    collected.add("dumpdata", ran.stdout + ran.stderr)
    collected.add("results", repr(execute(panel, "SELECT result, args, kwargs FROM django_q_task")))
    with contextlib.closing(sqlite3.connect(panel.state_dir / "panel.sqlite3", timeout=20)) as database:
        collected.add("dump", "\n".join(database.iterdump()))
    collected.add("state directory", panel.everything_written().decode("latin-1"))
    # The collection is complete: it contains the pages of errors and failures.
    everything = "\n".join(collected.texts.values())
    for seen in ("OperationalError", "no such table", "CredentialsRevealed", "TOKEN_OF", "DEFAULT_DATABASE"):
        assert seen in everything, seen
    passwords = [url.partition("://postgres:")[2].partition("@")[0] for url in (first, rotated)]
    assert all(len(password) > 8 for password in passwords)
    for canary in (*passwords, PASSWORD, VARIABLE, DEFAULT, TYPED):
        for encoding in encodings_of(canary):
            found = [name for name, text in collected.texts.items() if encoding in text]
            assert found == [], f"{encoding!r} of {canary!r}"
