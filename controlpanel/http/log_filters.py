"""How refused requests are logged: a line each. The panel is not at fault, so a traceback of it tells nothing."""

import logging


class RefusalFilter(logging.Filter):
    """Puts the sentence of a refusal (an answer 4xx) in place of its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        status = getattr(record, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500 and record.exc_info:
            said, why = record.getMessage(), " ".join(str(record.exc_info[1] or "").split())
            record.msg, record.args = said if why in said else f"{said}: {why}", None
            record.exc_info = record.exc_text = None
        return True
