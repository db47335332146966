"""Logs refused requests as one line each. Their tracebacks point at no bug."""

import logging


class RefusalFilter(logging.Filter):
    """Replaces the traceback of a 4xx response with the exception's message."""

    def filter(self, record: logging.LogRecord) -> bool:
        status = getattr(record, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500 and record.exc_info:
            message, reason = record.getMessage(), " ".join(str(record.exc_info[1] or "").split())
            record.msg, record.args = message if reason in message else f"{message}: {reason}", None
            record.exc_info = record.exc_text = None
        return True
