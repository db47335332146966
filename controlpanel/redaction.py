"""The one mechanism that keeps passwords out of logs and error texts."""

import logging
import re

MASK = "••••••"
_PATTERNS = (
    # user:password@host in any URL; the password may hold anything but / and whitespace, up to the last @.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/]+(@)", re.IGNORECASE), rf"\1{MASK}\2"),
    (
        re.compile(
            r"((?:pg)?password|passwd|secret_key|token|authorization)"
            r"(\"?'?\s*[=:]\s*(?:Bearer\s+)?)(\"[^\"]*\"|'[^']*'|[^\s,;&}]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{MASK}",
    ),
)


def redact(text: str) -> str:
    """Return `text` with the passwords of URLs and of password=… pairs masked."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFilter(logging.Filter):
    """Masks secrets in a record's message and in its traceback, whatever logger it came from."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True
