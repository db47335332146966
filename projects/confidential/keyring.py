"""The current keys of the encrypted columns. A running process picks up a change of the key file automatically."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from projects.confidential.key_files import check_encryption_keys, read_encryption_keys
from projects.confidential.redaction import remember

logger = logging.getLogger(__name__)
# Distinguishes two versions of the file, which is replaced and never modified.
_Mark = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Keyring:
    """The first key encrypts; every key decrypts."""

    keys: tuple[str, ...]
    first: Fernet
    all: MultiFernet


# The last keys that were read, and the version of their file. One variable for both, so that threads see them together.
_read: tuple[Keyring, _Mark | None] | None = None


def is_in_file() -> bool:
    """Whether the keys are in the key file. Otherwise they come from the environment and are read at the start."""
    return not settings.ENCRYPTION_KEYS


def current() -> Keyring:
    """Return the current keys. Raises ImproperlyConfigured if no usable keys were ever read.

    The file is checked on each call (2 µs), so no process encrypts with an old key after a new one was added, and each
    can decrypt what another has encrypted. If the file can't be used, the keys that were read before stay in use.
    """
    global _read
    known, known_mark = _read or (None, None)
    if not is_in_file():
        return known or _remember(check_encryption_keys(settings.ENCRYPTION_KEYS, "ENCRYPTION_KEYS"), None)
    mark = _mark_of(settings.ENCRYPTION_KEY_FILE)
    if known is not None and mark in (known_mark, None):
        return known
    try:
        return _remember(read_encryption_keys(settings.ENCRYPTION_KEY_FILE), mark)
    except ImproperlyConfigured as error:
        if known is None:
            raise
        logger.error("%s The panel continues with the keys that it read before.", error)
        _read = known, mark
        return known


def _remember(keys: list[str], mark: _Mark | None) -> Keyring:
    global _read
    fernets = [Fernet(key) for key in keys]
    for key in keys:
        remember(key, keep=True)
    keyring = Keyring(tuple(keys), fernets[0], MultiFernet(fernets))
    _read = keyring, mark
    return keyring


def _mark_of(path: Path) -> _Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _forget(*, setting: str, **_: Any) -> None:
    global _read
    if setting in ("ENCRYPTION_KEYS", "ENCRYPTION_KEY_FILE"):
        _read = None


setting_changed.connect(_forget)
