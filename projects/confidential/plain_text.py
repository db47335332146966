"""Makes text from outside safe to store, show and log: only printable characters. `one_line` in redaction.py also
limits its length."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """Return `text` with each non-printable character replaced by U+FFFD: control characters, escapes, NUL (which
    PostgreSQL refuses), lone surrogates (which can't be encoded) and bidirectional marks."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _REPLACEMENT for character in text)


def log_line(text: str) -> str:
    """Return `text` as one line for a log, with line breaks, escapes and other non-printable characters written as
    escape sequences, so that input can't forge a line or control the terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def log_block(text: str) -> str:
    """Return a traceback for a log with each line indented, so that no line looks like another record."""
    return "\n".join(f"    {log_line(line)}".rstrip() for line in text.split("\n"))
