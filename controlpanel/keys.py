"""Keys that the panel makes for itself when the environment gives none."""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured


def private_file(path: Path) -> Path:
    """Return `path`, made if it is missing and readable by its owner alone. Raises ImproperlyConfigured."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError as error:
        hint = "Point STATE_DIR at a directory that this user may write to."
        raise ImproperlyConfigured(f"The file {path} can't be used: {error.strerror}. {hint}") from None
    return path


def read_or_create(path: Path, generate: str) -> str:
    """Return the key in `path`; on the first call make one ("fernet" or "django") and store it with mode 0600.

    Two processes may race for the first call: the file is linked into place whole, so both read the same key.
    Raises ImproperlyConfigured, in one sentence, when the directory can't be used.
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
