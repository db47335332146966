"""`--help` of each command: its examples are valid calls, and its exit codes are listed."""

import shlex

import pytest
from django.core.management import get_commands, load_command_class

from provisioning.management.console import PanelCommand

COMMANDS = sorted(name for name, app in get_commands().items() if app == "provisioning")


def load(name: str) -> PanelCommand:
    command = load_command_class("provisioning", name)
    assert isinstance(command, PanelCommand)
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_valid_calls(name: str) -> None:
    command = load(name)
    parser = command.create_parser("manage.py", name)
    for example in command.examples:
        called, *arguments = shlex.split(example.partition(" > ")[0])
        assert called == name
        parser.parse_args(arguments)
        assert f"  manage.py {example}\n" in parser.format_help()


@pytest.mark.parametrize("name", COMMANDS)
def test_exit_codes_are_listed(name: str) -> None:
    command = load(name)
    assert f"Exit codes: {command.exit_codes}." in command.create_parser("manage.py", name).format_help()
