"""The one mechanism that masks secrets in logs."""

import io
import logging

import pytest

from controlpanel.redaction import RedactingFilter, redact

CANARY = "c4n4ry"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://postgres:{CANARY}@h:5432/db",
        f"could not connect to postgresql://u:{CANARY}@[::1]/db?x=1",
        f"https://user:{CANARY}@proxy",
        f"password={CANARY}",
        f'{{"password": "{CANARY}"}}',
        f"PGPASSWORD='{CANARY} with spaces'",
        f"Authorization: Bearer {CANARY}",
        f"token={CANARY}&x=1",
    ],
)
def test_redact(text):
    assert CANARY not in redact(text)


def test_other_text_is_kept():
    text = "The database at 127.0.0.1:5432 does not accept the captured user and password."
    assert redact(text) == text


def test_messages_arguments_and_tracebacks_are_masked():
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("test.redaction")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning("url %s", f"postgresql://u:{CANARY}@h/d")
        try:
            raise ValueError(f"password={CANARY}")
        except ValueError:
            logger.exception("failed")
    finally:
        logger.removeHandler(handler)
    assert "url postgresql://u:" in output.getvalue()
    assert "ValueError" in output.getvalue()
    assert CANARY not in output.getvalue()
