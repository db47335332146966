"""Masks passwords in logs, error messages and everything else that the panel writes or shows.

Two rules, in this order: known secrets (known_secrets.py) are masked wherever they appear, then text that looks like a
secret: the password in a URL, the value in `password=…`.

Which known secrets are masked depends on who reads the text. Operators read logs and error reports: `redact_all` masks
every secret that this process has held recently. Users read timelines, messages and the audit log, and they choose some
of the secrets: `redact` masks the panel's own secrets and those that the current scope has held. A scope is one
request, or the passes of one project. Otherwise a user could mask words in other users' records, or test a guess of
somebody else's secret by checking whether it is masked.
"""

import logging
import re
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

from projects.confidential.known_secrets import MASK, KnownSecrets
from projects.confidential.plain_text import log_block, log_line, plain

__all__ = [
    "MASK",
    "RedactedText",
    "RedactingFilter",
    "guard_exception_hooks",
    "mask_all",
    "one_line",
    "redact",
    "redact_all",
    "redaction_scope",
    "remember",
]

# Characters of a text that are examined: the longest error response that is read. Masking this much takes 10 ms.
LOOKED_AT = 64 * 1024

_PATTERNS = (
    # user:password@host in any URL. The password may contain anything but / and white space, up to the last @.
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,60}://[^\s:/@]*:)[^\s/]+(@)", re.IGNORECASE), rf"\1{MASK}\2"),
    (
        re.compile(
            r"((?:pg)?password|passwd|secret_key|token|authorization)"
            r"(\"?'?\s*[=:]\s*(?:Bearer\s+)?)(\"[^\"]*\"|'[^']*'|[^\s,;&}]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{MASK}",
    ),
)
_known = KnownSecrets()
# Secrets that the current scope has held. None outside of a scope, as in a command, which masks all that it has held.
_held: ContextVar[set[str] | None] = ContextVar("held_secrets", default=None)
_MOST_SCOPES = 1000
_held_by_name: OrderedDict[str, set[str]] = OrderedDict()
_scopes_lock = threading.Lock()


class RedactedText(str):
    """Text whose secrets are already masked. RedactedTextField stores it unchanged."""

    __slots__ = ()


@contextmanager
def redaction_scope(name: str = "") -> Iterator[None]:
    """Inside the block, `redact` masks only the panel's secrets and those held in this scope. A named scope keeps what
    earlier blocks of that name have held; an unnamed one starts empty."""
    token = _held.set(_scope_of(name) if name else set())
    try:
        yield
    finally:
        _held.reset(token)


def _scope_of(name: str) -> set[str]:
    with _scopes_lock:
        held = _held_by_name.setdefault(name, set())
        _held_by_name.move_to_end(name)
        while len(_held_by_name) > _MOST_SCOPES:
            _held_by_name.popitem(last=False)
        return held


def remember(value: str, *, keep: bool = False) -> None:
    """Mask `value` from now on in logs and in the texts of this scope. With `keep`, mask it in all texts while the
    process runs: a secret of the panel itself."""
    _known.add(value, keep=keep)
    held = _held.get()
    if held is not None:
        held.add(value)


def mask_all(text: str) -> str:
    """Return `text` with every secret that this process knows masked, in any encoding."""
    return _known.mask(text)


def redact(text: str, *, spare: Collection[str] = ()) -> RedactedText:
    """Return `text` for users, with the secrets of this scope and of the panel, passwords in URLs and `password=…`
    values masked. Words in `spare`, such as the name of the acting user, are not masked."""
    return RedactedText(_mask_patterns(_known.mask(text, held=_held.get(), spare=spare)))


def redact_all(text: str) -> str:
    """Return `text` for operators: like `redact`, but with every secret that this process knows."""
    return _mask_patterns(mask_all(text))


def _mask_patterns(text: str) -> str:
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def one_line(text: str, limit: int, *, spare: Collection[str] = ()) -> str:
    """Return `text` as one printable line of at most `limit` characters, with each run of white space as one space.

    If this changes the text, secrets are masked first, because a secret that is cut or joined wouldn't be recognized.
    Text that needs no change is returned as it is, so object names stay intact. `spare` works as in `redact`.
    """
    if len(text) <= limit and plain(" ".join(text.split())) == text:
        return text
    line = plain(" ".join(redact(text[:LOOKED_AT], spare=spare).split()))
    if len(line) <= limit and len(text) > LOOKED_AT:
        # The last word may be the start of a secret.
        line = line.rpartition(" ")[0]
    return line[:limit]


class RedactingFilter(logging.Filter):
    """Masks secrets in the message, the traceback and the stack of every log record, and escapes line breaks, so that
    logged input can't forge a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = log_line(redact_all(record.getMessage()))
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = log_block(redact_all(record.exc_text))
        if record.stack_info:
            record.stack_info = log_block(redact_all(record.stack_info))
        return True


def guard_exception_hooks() -> None:
    """Install exception hooks that mask secrets in the traceback of an uncaught exception, in any thread."""

    def print_masked(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        sys.stderr.write(log_block(redact_all("".join(traceback.format_exception(kind, error, trace)))) + "\n")

    def print_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_type is not SystemExit:
            print_masked(failed.exc_type, failed.exc_value, failed.exc_traceback)

    sys.excepthook = print_masked
    threading.excepthook = print_thread
