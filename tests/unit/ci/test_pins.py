"""Packages are pinned by version and hash in `make setup`, the image and the audit."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.support.processes import hermetic_environment

HASH = "    --hash=sha256:" + "0" * 64


def audit(repository, tmp_path, requirements):
    (tmp_path / "requirements.txt").write_text(requirements)
    (tmp_path / "requirements-dev.txt").write_text("-r requirements.txt\n")
    return subprocess.run(
        [sys.executable, str(repository / ".ci" / "audit.py")],
        cwd=tmp_path,
        env=hermetic_environment(tmp_path, OSV_URL="http://127.0.0.1:9/v1/query"),
        capture_output=True,
        text=True,
        check=False,
    )


def test_pin_with_hashes_passes(repository, tmp_path):
    ran = audit(repository, tmp_path, f"django=={version('django')} \\\n{HASH} \\\n{HASH}\n")
    assert ran.returncode == 0, ran.stdout
    assert "1 packages are pinned" in ran.stdout


@pytest.mark.parametrize(
    ("requirements", "said"),
    [
        (f"django=={version('django')}\n", "django has no hashes: run `make lock ARGS=--keep`."),
        (f"psycopg[binary]=={version('psycopg')}\n", "psycopg has no hashes"),
        (f"django>=5 \\\n{HASH}\n", "'django>=5' is not pinned to one version"),
        (f"django=={version('django')} \\\n    --hash=md5:{'0' * 32}\n", "is not pinned to one version"),
        (f"django @ https://example.com/django.whl \\\n{HASH}\n", "is not pinned to one version"),
        (f"django==0.1 \\\n{HASH}\n", "django is pinned to 0.1, but"),
    ],
)
def test_pin_without_hash_fails_the_audit(repository, tmp_path, requirements, said):
    ran = audit(repository, tmp_path, requirements)
    assert ran.returncode == 1
    assert said in ran.stdout


def test_packages_are_installed_by_hash_everywhere(repository):
    for file in ("Makefile", "deploy/Dockerfile"):
        for line in re.findall(r"pip install .*", (repository / file).read_text()):
            assert "--require-hashes" in line or "pip-tools" in line, line
