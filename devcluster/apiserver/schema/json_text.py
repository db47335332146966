"""Parse JSON as Go does: no NaN, repeated keys are marked, and syntax errors have the messages of encoding/json."""

from __future__ import annotations

import json
from typing import Any


class JsonError(ValueError):
    """The text is not JSON. The message resembles that of Go's decoder."""


class Repeated(dict[str, Any]):
    """A JSON object with a repeated key. The last value is kept."""

    repeated: tuple[str, ...] = ()


def load_json(raw: bytes) -> Any:
    """Like json.loads, but refuses NaN and Infinity and marks objects with repeated keys (`Repeated`)."""
    if not raw.strip():
        raise JsonError("unexpected end of JSON input")
    try:
        return json.loads(raw, object_pairs_hook=_build_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise JsonError("invalid UTF-8 in JSON text") from None
    except json.JSONDecodeError as error:
        raise JsonError(_go_syntax_error(error)) from None
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except ValueError as error:
        raise JsonError(str(error)) from None


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
    }.get(error.msg, "in string literal")
    return f"invalid character '{text[position]}' {where}"
