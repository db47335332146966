"""Files of the embedded cluster that other users can't read, and files that a tenant may have replaced by a link.

Root follows no link in a directory that a tenant can write: such a link may lead to any file of the machine.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path

_NO_WAIT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def read_regular(path: Path, limit: int = 65_536) -> str:
    """Return the start of a file that a tenant can replace. OSError for a link, a pipe, a device."""
    descriptor = os.open(path, _NO_WAIT)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read(limit).decode(errors="replace")


def read_end(path: Path, limit: int) -> str:
    """Return the end of a log, which a tenant may have made gigabytes long."""
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - limit, 0))
        return file.read(limit).decode(errors="replace")


def open_log(path: Path, limit: int) -> int:
    """Return a descriptor that appends to the log, which only its owner can read. A log above `limit` bytes is emptied.

    OSError if it is a link.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    if os.fstat(descriptor).st_size > limit:
        os.ftruncate(descriptor, 0)
    return descriptor


def make_private(directory: Path, *, passable: bool) -> None:
    """Create a directory that only its owner can list and write; others can pass through it if `passable`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o711 if passable else 0o700)


def remove_tree(directory: Path) -> None:
    """Remove a directory with all that a tenant has made in it, as far as possible. No link is followed. Blocks.

    shutil.rmtree ends with a RecursionError where directories are nested too deep.
    """
    subprocess.run(["rm", "-rf", "--", str(directory)], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def change_owner(tree: Path, old: int, new: int) -> None:
    """Give the entries of a tree that belong to user `old` to user and group `new`.

    No link is followed, and a file with further names is left alone: they may be outside the tree.
    """

    def change(name: str, folder: int | None) -> None:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if status.st_uid == old and (status.st_nlink == 1 or not stat.S_ISREG(status.st_mode)):
            os.chown(name, new, new, dir_fd=folder, follow_symlinks=False)

    for _, folders, files, descriptor in os.fwalk(tree, topdown=False, follow_symlinks=False):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                change(name, descriptor)
    change(str(tree), None)


def tighten(directory: Path, *, passable: bool) -> None:
    """Take every right of other users from the files and directories in `directory` that belong to this user, except
    to pass through directories if `passable`. Links are not followed, directories of other users are not entered."""
    user = os.geteuid()
    for folder, folders, files, descriptor in os.fwalk(directory, follow_symlinks=False):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if status.st_uid != user:
                    if name in folders:
                        folders.remove(name)
                    continue
                extra = 0o066 if passable and stat.S_ISDIR(status.st_mode) else 0o077
                if not stat.S_ISLNK(status.st_mode) and status.st_mode & extra:
                    Path(folder, name).chmod(stat.S_IMODE(status.st_mode) & ~extra)
