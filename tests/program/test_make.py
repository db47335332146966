"""`make setup` on a virtual environment whose Python has changed under it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Path:
    """A checkout that needs no packages."""
    shutil.copy(repository / "Makefile", tmp_path)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("")
    return tmp_path


def make(project: Path, *arguments: str, code: int = 0) -> str:
    ran = subprocess.run(
        ["make", *arguments, f"PYTHON={sys.executable}"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout if code == 0 else ran.stderr


def runs(project: Path) -> bool:
    command = [str(project / ".venv" / "bin" / "python"), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_changed_python_rebuilds_the_environment(project: Path) -> None:
    assert "Making .venv" in make(project, "setup")
    assert make(project, "setup") == ""
    # Removed: the links of the environment lead nowhere.
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.99")
    said = make(project, "setup")
    assert said.startswith("The Python of .venv is gone or was upgraded.\nMaking .venv with")
    assert runs(project)
    # Upgraded: it looks for packages in another folder.
    (packages,) = (project / ".venv" / "lib").glob("python3.*")
    packages.rename(packages.with_name("python3.9"))
    assert "is gone or was upgraded" in make(project, "setup")
    assert runs(project)
    assert make(project, "setup") == ""


def test_dangling_link_is_explained(project: Path) -> None:
    (project / ".venv").symlink_to("/nonexistent/venv")
    said = make(project, "setup", code=2)
    sentence = ".venv is a link to /nonexistent/venv, which does not exist. Remove the link, then run make again."
    assert said.splitlines()[0] == sentence
    assert "Traceback" not in said
