"""What the password in a database's Secret is worth, and when the captured one is proved again. Pure."""

import zlib
from datetime import datetime, timedelta

from projects.domain.connection import Connection
from provisioning.decisions.types import ObservedCredentials, Verification

_UNPROVED_CANDIDATE = (
    "The sandbox keeps the previous password. If the server has the password of the Secret, choose “Use the "
    "Secret's password” (`manage.py use_secret`). If not, choose “Write the password back” (`manage.py "
    "restore_secret`)."
)
_REJECTED_CANDIDATE = (
    "The Secret of {name} has another password, which the server does not accept. Probably the Secret was deleted, and "
    "KubeBlocks created it with a new password. The sandbox keeps the password that works. Choose “Write the password "
    "back” (`manage.py restore_secret`) before the database's Pods restart, or set the Secret's password with psql in "
    "the database's Pod."
)
_NEITHER = (
    "The server accepts neither the password in use nor the one in the Secret of {name}. The sandbox's open "
    "connections continue; it can't open new ones. Set one of the two with psql in the database's Pod, or put the "
    "password in force into the Secret. The panel keeps the password that was verified, and retries automatically."
)


def compare_credentials(
    found: Connection, captured: Connection | None, *, was_proved: bool, is_other_secret: bool, verifies: bool
) -> ObservedCredentials:
    """Compare the credentials in a Secret with the captured ones.

    A password that replaced a proved one is a candidate (REPLACED) until it is proved: KubeBlocks creates a deleted
    Secret with a random password, which the server does not have. Without connections (`verifies` false), so is the
    password of a Secret that was created after the capture (`is_other_secret`).
    """
    if found == captured:
        return ObservedCredentials.SAME
    is_same_login = captured is not None and (found.username, found.password) == (captured.username, captured.password)
    if captured is None or is_same_login:
        return ObservedCredentials.CHANGED
    is_at_stake = was_proved or (is_other_secret and not verifies)
    return ObservedCredentials.REPLACED if is_at_stake else ObservedCredentials.CHANGED


def explain_replaced(name: str, candidate: Verification | None, captured: Verification | None, note: str) -> str:
    """Return the message about a Secret whose password replaced a proved one. `note`: the outcome of connecting with
    the Secret's password, "" if the panel did not connect."""
    if candidate is Verification.REJECTED:
        return (_NEITHER if captured is Verification.REJECTED else _REJECTED_CANDIDATE).format(name=name)
    why = note or "VERIFY_CONNECTIONS is false, so the panel did not connect with it."
    return f"The Secret of {name} has another password, which is not verified. {why} {_UNPROVED_CANDIDATE}"


def is_proof_due(key: str, proved_at: datetime | None, now: datetime, interval_s: int) -> bool:
    """Whether the captured credentials of the project `key` are to be proved again, once in each `interval_s` (0:
    never).

    Each project has its own moment of the interval, so that the proofs of many projects are spread evenly.
    """
    if not interval_s or proved_at is None:
        return False
    offset_s = zlib.crc32(key.encode()) % interval_s
    interval = timedelta(seconds=interval_s)
    epoch = datetime.fromtimestamp(offset_s, tz=now.tzinfo)
    return (now - epoch) // interval > (proved_at - epoch) // interval
