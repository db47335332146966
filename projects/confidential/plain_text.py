"""Text from outside, made fit to be stored, shown and logged: nothing but characters that print. `one_line`, in
redaction.py, bounds it too."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """Return `text` with each character that is not printable replaced by U+FFFD: control and escape characters, NUL
    (which PostgreSQL refuses), lone surrogates (which no encoding takes), marks that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _REPLACEMENT for character in text)


def log_line(text: str) -> str:
    """Return `text` as one line of a log: line breaks, escapes and whatever else does not print are written out, so
    that nothing that came from outside looks like a line of its own or paints the terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def log_block(text: str) -> str:
    """Return a traceback for a log: its lines stay lines, each indented, so that none looks like another record."""
    return "\n".join(f"    {log_line(line)}".rstrip() for line in text.split("\n"))
