"""The base class of the panel's commands: errors as messages, exit codes, help with examples, output as JSON."""

import json
import sys
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.db import DatabaseError

from projects.audit.log import shell_user
from projects.confidential.encrypted_fields import UndecryptableValueError
from projects.confidential.plain_text import plain
from projects.confidential.redaction import redact
from projects.domain.panel_database import explain_unusable, is_unusable
from projects.models import Project
from provisioning.management.summary import describe_project

DONE, FAILED, WRONG_USAGE, TIMED_OUT = 0, 1, 2, 3
INTERRUPTED = 130
_HELP_WIDTH = 100


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of the options; descriptions and examples keep their lines."""


class PanelCommand(BaseCommand):
    """A command whose errors are messages on stderr, without class names and tracebacks (unless `--traceback`).

    `help` is followed by `examples` and `exit_codes` where `--help` prints it.
    """

    examples: ClassVar[Sequence[str]] = ()
    exit_codes: ClassVar[str] = "0 done, 1 failed, 2 wrong usage"
    # The checks of the whole project take longer than most of these commands.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, formatter_class=HelpFormatter, **kwargs)
        parser.description = textwrap.fill(self.help, _HELP_WIDTH)
        lines = ["Examples:", *(f"  manage.py {example}" for example in self.examples), ""] if self.examples else []
        parser.epilog = "\n".join([*lines, f"Exit codes: {self.exit_codes}."])
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return self._execute_explained(*args, **options)
        except CommandError as error:
            if not getattr(self, "_called_from_command_line", False) or options.get("traceback"):
                raise
            self.stderr.write(str(error), lambda text: text)
            sys.exit(error.returncode)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    def _execute_explained(self, *args: Any, **options: Any) -> str | None:
        refuse_undecodable(options)
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            if not is_unusable(error):
                raise
            raise command_error(FAILED, explain_database_error(error)) from error
        except (UndecryptableValueError, ImproperlyConfigured) as error:
            raise command_error(FAILED, str(error)) from error
        except BrokenPipeError:
            # The reader, such as `head`, has closed the pipe. Python must not report that at exit either.
            sys.stdout = None
            return None

    def say(self, line: str) -> None:
        """Print a line for people on stderr, at once."""
        self.stderr.write(line, lambda text: text)
        self.stderr.flush()

    def print_json(self, value: Mapping[str, object]) -> None:
        """Print one line of JSON on stdout."""
        self.stdout.write(json.dumps(value, ensure_ascii=False))

    def print_projects_as_json(self, projects: Iterable[Project]) -> None:
        for project in projects:
            self.print_json(describe_project(project))


def add_json_argument(parser: ArgumentParser, each: str) -> None:
    """Add `--json`, which prints one line of JSON for each project, finding, … on stdout."""
    parser.add_argument("--json", action="store_true", help=f"print one line of JSON per {each} on stdout")


def refuse_undecodable(options: Mapping[str, Any]) -> None:
    """Raise CommandError (2) for an argument with bytes that are not UTF-8: no database stores it."""
    for name, value in options.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
                raise command_error(WRONG_USAGE, f"The argument {name} is not valid UTF-8. Type it again.")


def command_error(code: int, message: str) -> CommandError:
    """Return the error that ends a command with this exit code and this message on stderr. Of what the message quotes,
    only printable characters are kept."""
    return CommandError("\n".join(map(plain, message.split("\n"))), returncode=code)


def explain_database_error(error: DatabaseError) -> str:
    """Return what is likely wrong with the panel's own database, and what to do."""
    text = " ".join(redact(str(error)).split()).rstrip(".")
    return f"{explain_unusable(error) or 'The panel made an error with its database.'} The database says: {text}."


def actor() -> str:
    """Return the user who runs the command, as events and the audit log name them."""
    return shell_user()


def explain_invalid(error: ValidationError) -> str:
    return " ".join(error.messages)


def quoted(text: str) -> str:
    """Return a text that was typed, in quotation marks: one line of at most 60 printable characters."""
    printable = plain(text)
    return f"'{printable[:60]}{'…' if len(printable) > 60 else ''}'"
