"""Standard output and errors that can't end a command: any character can be written, and readers may go away."""

import codecs
import os
import sys
from collections.abc import Callable
from typing import Any

# What the shell reports of a program that SIGPIPE has ended.
READER_GONE = 141
_PLAIN = {"…": "...", "’": "'"}
_HANDLER = "panel.plain"


def _write_plain(error: UnicodeError) -> tuple[str, int]:
    """Replace what the encoding lacks by JSON's escapes, so that lines of JSON stay JSON.

    Ellipses and apostrophes, which many messages have, become plain ones.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character) or _escape(character) for character in lacking), error.end


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def prepare_streams() -> None:
    """Let standard output and errors take any character, and read arguments as UTF-8 whatever the locale."""
    codecs.register_error(_HANDLER, _write_plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Callable[..., Any] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)
    sys.argv = [os.fsencode(argument).decode("utf-8", "surrogateescape") for argument in sys.argv]


def drop_unread() -> None:
    """Drop what can't be written because the reader has gone, as in `status | head`: the interpreter would complain of
    it at exit, and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _write_to_nowhere()


def _write_to_nowhere() -> None:
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
        for descriptor in (1, 2):
            os.dup2(nowhere.fileno(), descriptor)
