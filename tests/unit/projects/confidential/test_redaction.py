"""Secrets are masked in logs, messages and tracebacks, also where a limit cuts them."""

import io
import json
import logging
import time

import pytest

from projects.confidential.redaction import MASK, RedactingFilter, one_line, redact, remember
from projects.models import Event
from projects.services.credentials import reveal_credentials
from provisioning.decisions.readiness import judge_cluster
from provisioning.kube.errors import build_refusal
from provisioning.objects.readers import text
from tests.factories import provisioned_project

CANARY = "c4n4ry"
# As long as a password, and in three lines as a key.
PASSWORD = "canary-Pa55/word@of:the?database"
KEY = "-----BEGIN KEY-----\ncanary0123456789\n-----END KEY-----"


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
def test_secrets_are_masked(text):
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


def test_secret_that_a_limit_cuts_is_masked():
    remember(PASSWORD)
    for before in range(101 - len(PASSWORD), 100):
        line = one_line("x" * before + PASSWORD + " is no good", 100)
        assert line == ("x" * before + MASK + " is no good")[:100]


@pytest.mark.parametrize("before", [0, 15, 60])
def test_password_of_a_cut_url_is_masked(before):
    assert CANARY not in one_line(f"{'x' * before} postgresql://postgres:{CANARY}{'y' * 80}@h:5432/db", 80)


@pytest.mark.parametrize("limit", [40, 1000])
def test_secret_with_joined_lines_is_masked(limit):
    remember(KEY)
    assert one_line(f"The key {KEY} is refused.", limit) == f"The key {MASK} is refused."[:limit]


def test_text_beyond_the_search_limit_is_omitted():
    remember(PASSWORD)
    for spaces in range(65_536 - len(PASSWORD), 65_536):
        assert one_line(" " * spaces + PASSWORD, 500) in ("", MASK)


def test_name_that_is_also_a_secret_is_kept():
    """Only words are masked: an object that is called like the value of a variable has to be found."""
    remember("shop-agentruntime-x9k2mq")
    assert text("shop-agentruntime-x9k2mq") == "shop-agentruntime-x9k2mq"


@pytest.mark.parametrize("unit", ["a.", "a://", "password ", "x:y@", "://a:"])
def test_long_text_is_searched_quickly(unit):
    started = time.process_time()
    one_line(unit * 1_000_000, 500)
    assert time.process_time() - started < 5


def refused(message: str) -> str:
    return json.dumps({"kind": "Status", "apiVersion": "v1", "message": message})


@pytest.mark.parametrize(
    "body",
    [
        refused("admission webhook denied: " + "x" * 460 + PASSWORD),
        refused(f"denied:\n{KEY}"),
        "<html>" + "y" * 180 + PASSWORD,
    ],
)
def test_refusal_contains_no_part_of_a_secret(body):
    remember(PASSWORD)
    remember(KEY)
    said = str(build_refusal(422, body.encode(), {}))
    assert MASK in said
    assert "canary" not in said


def test_status_of_a_cluster_contains_no_part_of_a_secret():
    remember(PASSWORD)
    said = {"type": "ProvisioningStarted", "status": "False", "message": "x" * 480 + PASSWORD}
    message = judge_cluster({"metadata": {}, "status": {"conditions": [said]}}).message
    assert MASK in message
    assert "canary" not in message


@pytest.mark.django_db
def test_reason_of_a_reveal_contains_no_part_of_a_secret():
    project = provisioned_project()
    for reason in ("x" * 180 + PASSWORD, KEY):
        remember(reason[180:] or reason)
        reveal_credentials(project, actor="ann", reason=reason)
    for event in Event.objects.all():
        assert MASK in event.message
        assert "canary" not in event.message
