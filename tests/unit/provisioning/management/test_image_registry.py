"""The check of a sandbox's image, against stub registries."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from provisioning.management import image_registry
from provisioning.management.findings import Verdict
from provisioning.management.image_registry import examine_image, manifest_url
from tests.support.serving import serving


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("node:22", "https://registry-1.docker.io/v2/library/node/manifests/22"),
        ("team/app", "https://registry-1.docker.io/v2/team/app/manifests/latest"),
        ("docker.io/team/app:1", "https://registry-1.docker.io/v2/team/app/manifests/1"),
        ("registry.example.org:5000/team/app:1.2", "https://registry.example.org:5000/v2/team/app/manifests/1.2"),
        ("registry.example.org/app@sha256:abc", "https://registry.example.org/v2/app/manifests/sha256:abc"),
        ("localhost/app:1", "https://localhost/v2/app/manifests/1"),
    ],
)
def test_image_names_are_read_as_the_runtime_reads_them(image, url):
    assert manifest_url(image) == url


@contextmanager
def registry(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield server.server_port


@pytest.mark.parametrize(
    ("status", "verdict", "said"),
    [
        (200, Verdict.OK, "has the image"),
        (404, Verdict.FAILED, "has no image"),
        (401, Verdict.WARNING, "Unknown: the registry 127.0.0.1"),
        (302, Verdict.WARNING, "answered 302"),
        (503, Verdict.WARNING, "answered 503"),
    ],
)
def test_answers_are_told_apart(monkeypatch, status, verdict, said):
    with registry(status) as port:
        # The stub has no certificate.
        plain = manifest_url(f"127.0.0.1:{port}/app:1").replace("https:", "http:")
        monkeypatch.setattr(image_registry, "manifest_url", lambda image: plain)
        finding = examine_image(f"127.0.0.1:{port}/app:1", "sandboxes")
    assert finding.verdict is verdict
    assert said in finding.message


def test_registry_out_of_reach_is_unknown():
    finding = examine_image("127.0.0.1:1/app:1", "sandboxes")
    assert finding.verdict is Verdict.WARNING
    assert finding.message.startswith("Unknown: the registry 127.0.0.1:1")
