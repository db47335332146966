"""Files that only their owner can read: keys that the panel creates if the environment provides none, logs, records."""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

# Each of them shows that a directory is the panel's.
_STATE_FILES = ("secret_key", "encryption_key", "panel.sqlite3")


def private_file(path: Path) -> Path:
    """Return `path`; create it if it is missing, readable by its owner only. Raises ImproperlyConfigured."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError as error:
        hint = "Point STATE_DIR at a directory that this user may write to."
        raise ImproperlyConfigured(f"The file {path} can't be used: {error.strerror}. {hint}") from None
    return path


def private_directory(directory: Path) -> None:
    """Create a directory that only its owner can enter, and take the rights of others from one that an earlier version
    created, with its files. A directory of another user is left alone. OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.geteuid():
        return
    directory.chmod(0o700)
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and status.st_uid == os.geteuid():
                path.chmod(0o600)


def close_state_directory(directory: Path) -> None:
    """Create the panel's state directory, or take other users' rights to list it and write to it.

    A directory that the panel hasn't used before is left alone: it may be one that others share. Users may pass through
    it if they could before, or if root creates it: databases of the embedded cluster run as separate users. Never
    raises: the code that needs a file there reports a problem.
    """
    passable = 0o711 if os.geteuid() == 0 else 0o700
    with contextlib.suppress(OSError):
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            directory.chmod(passable)
        elif any((directory / name).exists() for name in _STATE_FILES):
            status = directory.stat()
            if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
                directory.chmod(stat.S_IMODE(status.st_mode) & passable | 0o700)


def read_or_create(path: Path, generate: str) -> str:
    """Return the key in `path`. The first call generates a key ("fernet" or "django") and stores it with mode 0600.

    Two processes may race to be first: the file is linked into place when it is complete, so both read the same key.
    Raises ImproperlyConfigured if the directory can't be used.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            key = Fernet.generate_key().decode() if generate == "fernet" else secrets.token_urlsafe(64)
            draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(key)
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ImproperlyConfigured(
            f"The key file {path} can't be used: {reason}. Point STATE_DIR at a directory that this user may write to."
        ) from None
    if not key:
        raise ImproperlyConfigured(
            f"The key file {path} is empty. Restore it from a backup; delete it only if nothing is encrypted with it."
        )
    return key


def check_encryption_keys(keys: list[str], source: str) -> list[str]:
    """Return `keys` without blanks. Raises ImproperlyConfigured, which names their source, unless all are Fernet
    keys."""
    tidy = [key.strip() for key in keys if key.strip()]
    try:
        for key in tidy:
            Fernet(key)
    except ValueError:
        tidy = []
    if not tidy:
        raise ImproperlyConfigured(
            f"{source} holds something that is not a Fernet key. Restore it, or make a new key with "
            "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'`."
        )
    return tidy


def read_encryption_keys(path: Path) -> list[str]:
    """Return the keys in the file, one per line. The first call generates one. Raises ImproperlyConfigured."""
    return check_encryption_keys(read_or_create(path, "fernet").splitlines(), f"The key file {path}")


def replace_encryption_keys(path: Path, change: Callable[[list[str]], list[str]]) -> list[str]:
    """Replace the keys in the file by `change(keys)`, completely or not at all, and return them. Changes are serialized
    by a lock.

    Each change creates a new file, so that other processes detect it by the inode. Raises ImproperlyConfigured.
    """
    try:
        with private_file(path.with_name(f"{path.name}.lock")).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = change(read_encryption_keys(path))
            draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write("".join(f"{key}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
    except OSError as error:
        raise ImproperlyConfigured(f"The key file {path} can't be written: {error.strerror}.") from None
    return keys
