"""Hostile arguments of commands: an exit code and one sentence, no traceback, no forged log line."""

import io
import logging
from argparse import _StoreAction

import pytest
from django.core.management import get_commands, load_command_class
from hypothesis import given
from hypothesis import strategies as st

from projects.confidential.plain_text import log_line
from projects.confidential.redaction import RedactingFilter
from projects.models import Event
from projects.services.events import record_event
from provisioning.management.console import PanelCommand
from tests.factories import ProjectFactory, provisioned_project
from tests.hostile.strategies import examples, texts, undone
from tests.support.commands import run

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:Generating overly large repr")]

# These commands run until they are stopped.
_LONG = ("up", "watch", "devcluster")
COMMANDS = sorted(name for name, app in get_commands().items() if app == "provisioning" and name not in _LONG)


@pytest.fixture(autouse=True)
def no_cluster(use_cluster, tmp_path):
    use_cluster(tmp_path / "none")


@st.composite
def calls(draw: st.DrawFn) -> list[str]:
    """A command with any of its arguments and any values."""
    name = draw(st.sampled_from(COMMANDS))
    command = load_command_class("provisioning", name)
    own = [
        action
        for action in command.create_parser("manage.py", name)._actions
        if action.dest not in ("help", "version", "verbosity", "settings", "pythonpath", "traceback", "wait")
    ]
    words = [name]
    for action in own:
        if not action.option_strings:
            many = action.nargs in ("+", "*")
            words += draw(st.lists(VALUES, min_size=0 if action.nargs == "*" else 1, max_size=3 if many else 1))
        elif action.required or draw(st.booleans()):
            words.append(action.option_strings[-1])
            if isinstance(action, _StoreAction):
                words[-1] += f"={draw(VALUES)}"
    return words


VALUES = st.sampled_from(["running", "url", "env", "json", "1", "queue"]) | texts()


def test_every_command_has_a_case():
    assert {"provision", "status", "credentials", "adopt", "delete", "doctor", "prune_events"} <= set(COMMANDS)
    for name in COMMANDS:
        assert isinstance(load_command_class("provisioning", name), PanelCommand)


@examples(120)
@given(calls())
def test_command_ends_with_an_exit_code_and_a_sentence(words):
    with undone():
        provisioned_project(name="running")
        ran = run(*words)
        assert ran.code in (0, 1, 2, 3), words
        assert "Traceback" not in ran.err + ran.out
        assert (ran.code == 0) or ran.err.strip() or ran.out.strip()
        assert all(line.isprintable() for line in ran.err.splitlines() if "argument" not in line), words


@pytest.mark.parametrize("name", ["caf\udce9", "\ud800"])
@pytest.mark.parametrize("command", ["provision", "status", "delete"])
def test_undecodable_argument_is_a_usage_error(command, name):
    ran = run(command, name)
    assert ran.code == 2
    assert ran.lines == []
    assert ran.err == "The argument names is not valid UTF-8. Type it again.\n"


def test_invalid_timeout_is_quoted_on_one_line():
    ran = run("provision", "aaa", "--timeout-s=1\x0b2\x1b[2J")
    assert ran.code != 0
    assert "'1\N{REPLACEMENT CHARACTER}2\N{REPLACEMENT CHARACTER}[2J' is not a number of seconds above 0" in ran.err


def test_days_beyond_the_calendar_are_a_usage_error():
    assert run("prune_events", "--older-than-days", "999999999999").code == 2


# --- what is said is recorded and logged as what it is -----------------------------------------------------------


@examples(60)
@given(actor=texts(), reason=texts())
def test_event_contains_no_control_characters(actor, reason):
    with undone():
        event = record_event(ProjectFactory.create(), actor=actor, reason="Test", message=f"{actor} said {reason}")
        event.full_clean(exclude=["actor"])
        stored = Event.objects.get(pk=event.pk)
        assert stored.message.isprintable()
        assert len(stored.actor) <= 150
        assert stored.actor.isprintable()


def log(message: str, *arguments: object) -> list[str]:
    """Return the lines that the panel's log handler writes for a record."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(logging.Formatter("2026 %(levelname)s %(message)s"))
    logger = logging.Logger("hostile")
    logger.addHandler(handler)
    try:
        raise ValueError(*arguments)
    except ValueError:
        logger.exception(message, *arguments)
    return output.getvalue().split("\n")


@examples(80)
@given(texts())
def test_no_input_forges_a_log_line(text):
    first, *others = log("Something came: %s", text)
    assert first.startswith("2026 ERROR Something came: ")
    assert all(line == "" or line.startswith("    ") for line in others)
    for line in (first, *others):
        assert line.isprintable()
        line.encode()


def test_line_breaks_and_colors_are_escaped_in_the_log():
    first, *others = log("From outside: %s", "x\n2026 INFO all is well\x1b[2J")
    assert first == "2026 ERROR From outside: x\\n2026 INFO all is well\\x1b[2J"
    assert not any(line.startswith("2026") for line in others)
    assert log_line("Grüße, 世界") == "Grüße, 世界"
