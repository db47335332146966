"""Files that a tenant may have replaced, and files that only their owner may read."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from devcluster.node import postgres_binaries
from devcluster.node.private_files import change_owner, open_log, read_end, read_regular, remove_tree, tighten

NOBODY = 65534
needs_uids = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give tenants separate users")


@pytest.mark.parametrize("name", ["pipe", "link", "directory"])
def test_only_regular_files_are_read(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("content")
    assert read_regular(tmp_path / "file", 4) == "cont"
    with pytest.raises(OSError, match=r"regular|symbolic|directory"):
        read_regular(tmp_path / name)


def test_log_is_private_and_bounded_and_no_link(tmp_path):
    (tmp_path / "log").write_text("x" * 20)
    (tmp_path / "log").chmod(0o644)
    for limit, size in ((20, 21), (5, 1)):
        descriptor = open_log(tmp_path / "log", limit)
        os.write(descriptor, b"y")
        os.close(descriptor)
        status = (tmp_path / "log").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_size) == (0o600, size)
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(OSError, match="symbolic"):
        open_log(tmp_path / "link", 5)


def test_only_the_end_of_a_log_is_read(tmp_path):
    (tmp_path / "log").write_text("the end")
    assert read_end(tmp_path / "log", 300) == "the end"
    assert read_end(tmp_path / "log", 3) == "end"
    (tmp_path / "log").write_text("")
    assert read_end(tmp_path / "log", 3) == ""


def test_tree_of_any_depth_is_removed_without_following_links(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(tmp_path / "kept")
    inside = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=inside)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = deeper
    os.close(inside)
    remove_tree(tree)
    assert not tree.exists()
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.parametrize("rival", ["another cluster", "another user"])
def test_programs_are_copied_although_another_takes_the_place(tmp_path, monkeypatch, rival):
    binaries = tmp_path / "package" / "pginstall" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "postgres").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rename = Path.rename

    def rename_late(draft: Path, cache: Path) -> Path:
        if rival == "another user":
            cache.touch()
        else:
            (cache / "package" / "pginstall" / "bin").mkdir(parents=True)
            (cache / "package" / "pginstall" / "bin" / "postgres").touch()
        return rename(draft, cache)

    monkeypatch.setattr(Path, "rename", rename_late)
    assert (postgres_binaries._copied_to_reach(binaries) / "postgres").exists()
    assert len([path for path in tmp_path.glob("controlpanel-pginstall-*") if path.is_dir()]) == 1


@pytest.mark.parametrize(("passable", "folder_mode"), [(True, 0o711), (False, 0o700)])
def test_rights_of_others_are_taken_without_following_links(tmp_path, passable, folder_mode):
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "folder").mkdir(parents=True)
    outside.mkdir()
    for path in (tree / "file", tree / "folder" / "program", outside / "file"):
        path.write_text("x")
        path.chmod(0o755)
    (tree / "folder").chmod(0o777)
    (tree / "link").symlink_to(outside)
    (tree / "file-link").symlink_to(outside / "file")
    tighten(tree, passable=passable)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tree / "folder", tree / "file", tree / "folder/program")]
    assert modes == [folder_mode, 0o700, 0o700]
    assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o755


@needs_uids
def test_new_owner_gets_neither_what_links_lead_to_nor_files_with_two_names(tmp_path):
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "inner").mkdir(parents=True)
    (outside / "folder").mkdir(parents=True)
    for path in (tree / "own", tree / "inner" / "own", outside / "secret", outside / "folder" / "secret"):
        path.write_text("x")
    for path in (tree, *tree.rglob("*"), *outside.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.link(outside / "secret", tree / "second-name")
    (tree / "link").symlink_to(outside / "secret")
    (tree / "inner" / "link").symlink_to(outside / "folder")
    change_owner(tree, NOBODY, 12345)
    assert {path.lstat().st_uid for path in (tree, tree / "own", tree / "inner", tree / "inner" / "own")} == {12345}
    assert {path.stat().st_uid for path in outside.rglob("*")} == {NOBODY}
