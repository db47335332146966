"""A disk of a few megabytes that holds the panel's SQLite database and can be filled."""

import contextlib
import errno
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.db import connection

from tests.faults.run import ImpossibleError

_SIZE = "16m"
_BLOCK = b"\0" * 65_536


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """Mount the disk within the block, with the panel's database on it. Raises ImpossibleError."""
    if connection.vendor != "sqlite":
        raise ImpossibleError("The panel's database is no file.")
    with tempfile.TemporaryDirectory(prefix="faults-disk-") as name:
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", name]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            raise ImpossibleError(f"Mounting a tmpfs is refused here: {mounted.stderr.strip()}")
        try:
            with _moved_to(Path(name) / "panel.sqlite3"):
                yield Path(name)
        finally:
            # Lazily: a failed statement may keep its file open until its traceback is freed.
            subprocess.run(["umount", "--lazy", name], check=True)


@contextlib.contextmanager
def _moved_to(path: Path) -> Iterator[None]:
    """Let the panel use a copy of its database at `path` within the block. The copy is discarded."""
    home = connection.settings_dict["NAME"]
    with contextlib.closing(sqlite3.connect(home)) as source, contextlib.closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
    connection.close()
    connection.settings_dict["NAME"] = str(path)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = home


def fill(disk: Path, *, free_bytes: int) -> None:
    """Write a file until the disk is full, then free `free_bytes`."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(_BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        filler.truncate(filler.tell() - free_bytes)


def free(disk: Path) -> None:
    (disk / "filler").unlink(missing_ok=True)
