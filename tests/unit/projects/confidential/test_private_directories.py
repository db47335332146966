"""Directories of the panel's state, which other users can't read."""

import os
import stat
from pathlib import Path

import pytest

from projects.confidential.key_files import close_state_directory, private_directory

PASSABLE = 0o711 if os.geteuid() == 0 else 0o700


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_directory_of_an_earlier_version_is_closed_with_its_files(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "web.log").write_text("x")
    (tmp_path / "outside").write_text("x")
    (logs / "link").symlink_to(tmp_path / "outside")
    for path in (logs, logs / "web.log", tmp_path / "outside"):
        path.chmod(0o755)
    private_directory(logs)
    assert (mode_of(logs), mode_of(logs / "web.log")) == (0o700, 0o600)
    assert mode_of(tmp_path / "outside") == 0o755


def test_new_state_directory_is_closed(tmp_path):
    close_state_directory(tmp_path / "new" / "state")
    assert mode_of(tmp_path / "new" / "state") == PASSABLE


@pytest.mark.parametrize("name", ["secret_key", "encryption_key", "panel.sqlite3"])
def test_state_directory_of_an_earlier_version_is_closed(tmp_path, name):
    tmp_path.chmod(0o755)
    (tmp_path / name).touch()
    close_state_directory(tmp_path)
    assert mode_of(tmp_path) == PASSABLE


@pytest.mark.parametrize(("name", "mode"), [("notes.txt", 0o755), ("secret_key", 0o1777)])
def test_directory_that_others_share_is_left_alone(tmp_path, name, mode):
    (tmp_path / name).touch()
    tmp_path.chmod(mode)
    close_state_directory(tmp_path)
    assert mode_of(tmp_path) == mode
    tmp_path.chmod(0o700)


def test_state_directory_that_cannot_be_created_is_reported_later(tmp_path):
    (tmp_path / "file").touch()
    close_state_directory(tmp_path / "file" / "state")
    assert not (tmp_path / "file" / "state").exists()
