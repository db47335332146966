"""The one mechanism that keeps passwords out of logs, error texts and whatever else is written or shown.

Two rules, in this order: secrets that this process has held lately (known_secrets.py) are masked wherever they appear,
and so is what looks like one: the password in a URL, the value in `password=…`.
"""

import logging
import re
import sys
import threading
import traceback
from types import TracebackType

from projects.confidential.known_secrets import MASK, KnownSecrets
from projects.confidential.plain_text import log_block, log_line, plain

__all__ = ["MASK", "RedactingFilter", "guard_exception_hooks", "mask_known", "one_line", "redact", "remember"]

# What lies further behind in a text is not looked at: as long as the longest refusal that is read. It costs 10 ms.
LOOKED_AT = 64 * 1024

_PATTERNS = (
    # user:password@host in any URL; the password may hold anything but / and whitespace, up to the last @.
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


def remember(value: str, *, keep: bool = False) -> None:
    """Mask `value` from now on wherever this process writes something; with `keep`, for as long as it runs."""
    _known.add(value, keep=keep)


def mask_known(text: str) -> str:
    """Return `text` with the secrets that this process knows masked, in whatever encoding."""
    return _known.mask(text)


def redact(text: str) -> str:
    """Return `text` with known secrets, the passwords of URLs and of password=… pairs masked."""
    text = _known.mask(text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def one_line(text: str, limit: int) -> str:
    """Return `text` as one plain line of at most `limit` characters: each run of white space becomes a space.

    Where that changes the text, secrets are masked first: cut in two, or its lines joined, one would not be known for
    one any more. A text that is such a line already is returned as it is, so that names stay names.
    """
    if len(text) <= limit and plain(" ".join(text.split())) == text:
        return text
    line = plain(" ".join(redact(text[:LOOKED_AT]).split()))
    if len(line) <= limit and len(text) > LOOKED_AT:
        # Its last word may be the beginning of a secret.
        line = line.rpartition(" ")[0]
    return line[:limit]


class RedactingFilter(logging.Filter):
    """Masks secrets in a record's message, traceback and stack, whatever logger it came from, and keeps them on lines
    of their own: who can have something logged can't forge a line of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = log_line(redact(record.getMessage()))
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = log_block(redact(record.exc_text))
        if record.stack_info:
            record.stack_info = log_block(redact(record.stack_info))
        return True


def guard_exception_hooks() -> None:
    """Have Python mask secrets in the traceback of an error that nobody caught, in any thread."""

    def print_masked(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        sys.stderr.write(log_block(redact("".join(traceback.format_exception(kind, error, trace)))) + "\n")

    def print_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_type is not SystemExit:
            print_masked(failed.exc_type, failed.exc_value, failed.exc_traceback)

    sys.excepthook = print_masked
    threading.excepthook = print_thread
