"""A text field that is encrypted at rest, and a text field that masks secrets before it stores them."""

from typing import Any

from cryptography.fernet import InvalidToken
from django.db import models

from projects.confidential import keyring
from projects.confidential.redaction import RedactedText, redact, remember

# Marks how a stored value is encrypted, so that another scheme can be added.
_PREFIX = "fernet:"


class UndecryptableValueError(Exception):
    """A stored secret was encrypted with a key that the panel no longer has."""

    def __init__(self) -> None:
        super().__init__(
            "A stored secret can't be decrypted: its key is not among ENCRYPTION_KEYS (or in the key file in "
            "STATE_DIR). Add the old key after the current one; `manage.py rotate_keys` says what to do if it is "
            "lost."
        )


def encrypt(value: str) -> str:
    """Return `value` encrypted with the first key, in its stored form."""
    return _PREFIX + keyring.current().first.encrypt(value.encode()).decode()


def decrypt(stored: str) -> str:
    """Return the plain text of a stored value. Raises UndecryptableValueError if no key decrypts it."""
    if not stored.startswith(_PREFIX):
        raise UndecryptableValueError
    try:
        return keyring.current().all.decrypt(stored[len(_PREFIX) :].encode()).decode()
    except InvalidToken:
        raise UndecryptableValueError from None


def rotate(stored: str) -> str | None:
    """Return a stored value re-encrypted with the first key, or None if it already is or is empty. Raises
    UndecryptableValueError."""
    if not stored:
        return None
    if stored.startswith(_PREFIX):
        try:
            keyring.current().first.decrypt(stored[len(_PREFIX) :].encode())
        except InvalidToken:
            pass
        else:
            return None
    return encrypt(decrypt(stored))


class EncryptedText:
    """A stored value that is decrypted on demand only, so that no repr, admin form or dump shows the plain text."""

    __slots__ = ("stored",)

    def __init__(self, stored: str = "") -> None:
        self.stored = stored

    @classmethod
    def of(cls, text: str) -> "EncryptedText":
        remember(text)
        return cls(encrypt(text) if text else "")

    def reveal(self) -> str:
        """Return the plain text, "" if there is none. Raises UndecryptableValueError."""
        text = decrypt(self.stored) if self.stored else ""
        remember(text)
        return text

    @property
    def size(self) -> int:
        """The bytes of the plain text, up to 18 too many: what its ciphertext tells without a key."""
        return max(len(self.stored) - len(_PREFIX), 0) * 3 // 4 - 57 if self.stored else 0

    def __bool__(self) -> bool:
        return bool(self.stored)

    def __str__(self) -> str:
        return "••••••" if self.stored else ""

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncryptedText) and other.stored == self.stored

    def __hash__(self) -> int:
        return hash(self.stored)


class EncryptedTextField(models.TextField[EncryptedText, EncryptedText]):
    """Stores ciphertext and returns EncryptedText. Accepts EncryptedText only, so plain text can't be stored by
    mistake."""

    def from_db_value(self, value: str | None, *_: Any) -> EncryptedText:
        return EncryptedText(value or "")

    def to_python(self, value: Any) -> EncryptedText:
        """Accept ciphertext as written by `dumpdata`, and plain text from anywhere else."""
        if isinstance(value, EncryptedText):
            return value
        if isinstance(value, str) and value.startswith(_PREFIX):
            return EncryptedText(value)
        return EncryptedText.of(value or "")

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))

    def get_prep_value(self, value: Any) -> str:
        if isinstance(value, EncryptedText):
            return value.stored
        if value in ("", None):
            return ""
        raise TypeError(f"{self.name} takes EncryptedText, not plain text.")


class RedactedTextField(models.TextField[str, str]):
    """Text for users that may quote other sources. Secrets in it are masked before it is stored, by `save` and by
    `update`."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        if isinstance(value, RedactedText):
            return str(value)
        return str(redact(value)) if isinstance(value, str) else value
