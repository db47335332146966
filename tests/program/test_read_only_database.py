"""A panel whose PostgreSQL became read-only, as after a failover: pages, health and commands report it."""

import json
import subprocess
import sys

import psycopg
import pytest

from tests.faults.postgres import Postgres
from tests.support.processes import ROOT, hermetic_environment

PAGES = """
import json, django
from controlpanel.startup import load_settings
load_settings()
django.setup()
from django.contrib.auth.models import User
from django.test import Client
from projects.models import Project
client = Client(raise_request_exception=False, headers={"Host": "localhost"})
client.force_login(User.objects.get(), backend="django.contrib.auth.backends.ModelBackend")
"""
ASK = """
project = Project.objects.get()
answers = {name: client.post(f"/projects/{project.pk}/{name}/", follow=False) for name in ("provision", "retry")}
answers["health"] = client.get("/healthz")
answers["list"] = client.get("/projects/")
print(json.dumps({name: (answer.status_code, answer.content.decode()) for name, answer in answers.items()}))
"""


@pytest.fixture
def server():
    server = Postgres()
    yield server
    server.close()


def test_read_only_database_is_reported_everywhere(server, tmp_path):
    environment = hermetic_environment(tmp_path, DATABASE_URL=server.url)

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert manage("migrate", "-v0").returncode == 0
    assert manage("createsuperuser", "--noinput", "--username", "root", "--email", "r@example.com").returncode == 0
    session = "import django\n" + PAGES.replace("import json, django", "import json")
    add = "from projects.services.provisioning import add_project\nadd_project('aaa', actor='root')\n"
    subprocess.run([sys.executable, "-c", session + add], env=environment, cwd=ROOT, check=True)
    # Stores the session before the database becomes read-only.
    turn = (
        "import psycopg\n"
        f"with psycopg.connect({server.url!r}, autocommit=True) as c:\n"
        "    c.execute('ALTER DATABASE postgres SET default_transaction_read_only = on')\n"
        "from django.db import connection; connection.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", session + turn + ASK],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout.splitlines()[-1])
    for name in ("provision", "retry"):
        status, body = answers[name]
        assert status == 503
        assert "read-only" in body
    status, body = answers["health"]
    assert status == 503
    assert "read-only" in json.loads(body)["parts"]["database"]["message"]
    assert answers["list"][0] == 200
    refused = manage("provision", "aaa")
    assert refused.returncode == 1
    assert "read-only" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "read-only" in manage("doctor").stdout
    with psycopg.connect(server.url, autocommit=True) as back:
        back.execute("SET default_transaction_read_only = off")
        back.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert manage("provision", "aaa").returncode == 0
