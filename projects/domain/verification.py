"""What is known of a database's credentials, in words. Pure."""

from datetime import datetime
from typing import Protocol

_UNITS = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"))


class _Database(Protocol):
    @property
    def is_verified(self) -> bool: ...
    @property
    def proved_at(self) -> datetime | None: ...
    @property
    def rotation_begun_at(self) -> datetime | None: ...
    @property
    def verification_note(self) -> str: ...


def relative_text(at: datetime, now: datetime) -> str:
    """Return the time between the two, such as `34 s ago` or `in 2 min`. panel.js writes the same text."""
    seconds = round((now - at).total_seconds())
    distance = abs(seconds)
    if distance < 1:
        return "now"
    for below, size, unit in _UNITS:
        if distance < below:
            text = f"{distance // size} {unit}"
            break
    else:
        days = distance // 86_400
        text = f"{days} day{'' if days == 1 else 's'}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def describe_proof(database: _Database, now: datetime) -> str:
    """Return when the credentials were last proved by a connection, or why they are not verified, in sentences."""
    last = f"Last verified {relative_text(database.proved_at, now)}." if database.proved_at else ""
    if database.is_verified and last:
        return last
    return f"{explain_unverified(database)} {last}".strip()


def explain_unverified(database: _Database) -> str:
    """Return why credentials are not verified, in a sentence."""
    if database.rotation_begun_at is not None:
        return "Not verified while the password is being changed."
    return database.verification_note or "Not verified yet."
