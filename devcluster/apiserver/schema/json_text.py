"""Parse JSON as Go does: no NaN, repeated keys are marked, text that is not Unicode is replaced, and syntax errors have
the messages of encoding/json."""

from __future__ import annotations

import json
import re
from typing import Any

SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """The text is not JSON. The message resembles that of Go's decoder."""


class Repeated(dict[str, Any]):
    """A JSON object with a repeated key. The last value is kept."""

    repeated: tuple[str, ...] = ()


def load_json(raw: bytes) -> Any:
    """Like json.loads, but refuses NaN and Infinity and marks objects with repeated keys (`Repeated`).

    In strings, each byte that is not UTF-8 and each half of a surrogate pair becomes U+FFFD. Raises JsonError.
    """
    if not raw.strip():
        raise JsonError("unexpected end of JSON input")
    text = raw.decode("utf-8", "surrogateescape")
    is_unicode = SURROGATE.search(text) is None and _SURROGATE_ESCAPE.search(raw) is None
    try:
        parsed = json.loads(
            text,
            object_pairs_hook=_build_object if is_unicode else _build_replaced_object,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise JsonError(_go_syntax_error(error)) from None
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except ValueError as error:
        raise JsonError(str(error)) from None
    return parsed if is_unicode else _replace(parsed)


def replace_surrogates(text: str) -> str:
    """Return the text as Go encodes it: with U+FFFD for each byte that is not UTF-8 and each lone surrogate."""
    return SURROGATE.sub("\ufffd", text)


def _replace(value: Any) -> Any:
    """Replace surrogates in a text, or in the texts of a list. Objects are built without any."""
    match value:
        case str():
            return replace_surrogates(value)
        case list():
            return [_replace(item) for item in value]
        case _:
            return value


def _build_replaced_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return _build_object([(replace_surrogates(name), _replace(value)) for name, value in pairs])


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) == len(pairs):
        return built
    names = [name for name, _ in pairs]
    marked = Repeated(built)
    marked.repeated = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
    return marked


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"invalid character '{text[0]}' looking for beginning of value")


def _go_syntax_error(error: json.JSONDecodeError) -> str:
    text, position = error.doc, error.pos
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    if position >= len(text):
        return "unexpected end of JSON input"
    where = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting value": "looking for beginning of value",
        "Extra data": "after top-level value",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
        "Unexpected UTF-8 BOM (decode using utf-8-sig)": "looking for beginning of value",
    }.get(error.msg, "in string literal")
    # Go names the first byte, as if it were a character.
    first = chr(text[position].encode("utf-8", "surrogateescape")[0])
    return f"invalid character '{first}' {where}"
