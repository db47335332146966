"""`.ci/audit.py`, which `make check` runs: a package with a known vulnerability fails it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import hermetic_environment
from tests.support.serving import serving

HOLE: dict[str, Any] = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "summary": "Anybody may do anything.",
    "published": "2026-01-31T08:00:00Z",
    "modified": "2026-01-31T08:00:00Z",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "django"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}


class Source(BaseHTTPRequestHandler):
    """A source of vulnerabilities as osv.dev is one: Django has a hole, nothing else has."""

    holes: tuple[dict[str, Any], ...] = (HOLE,)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = self.holes if asked["package"]["name"].lower() == "django" else ()
        body = json.dumps({"vulns": found} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class CleanSource(Source):
    holes = ()


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), request.param)) as server:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"


def audit(repository: Path, tmp_path: Path, source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ".ci/audit.py"],
        cwd=repository,
        env=hermetic_environment(tmp_path, OSV_URL=source),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", [Source], indirect=True)
def test_known_vulnerability_fails_the_audit(repository, tmp_path, source):
    ran = audit(repository, tmp_path, source)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"django {version('django')} has GHSA-aaaa-bbbb-cccc; fixed in 99.1." in ran.stdout.splitlines()


@pytest.mark.parametrize("source", [CleanSource], indirect=True)
def test_audit_without_findings_names_its_source(repository, tmp_path, source):
    ran = audit(repository, tmp_path, source)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "have no known vulnerability" in ran.stdout


def test_unreachable_source_is_reported(repository, tmp_path):
    ran = audit(repository, tmp_path, "http://127.0.0.1:9/v1/query")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "known vulnerabilities were not checked" in ran.stdout
