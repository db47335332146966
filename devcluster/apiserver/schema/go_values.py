"""Names and texts of JSON values in the error messages of Go."""

from __future__ import annotations

from typing import Any


def go_kind(value: Any) -> str:
    """Return the name of a JSON value's type in errors of Go's decoder."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "string"


def go_text(value: Any) -> str:
    """Return a value as Go's %v prints it, such as `map[data:map[k:1]]`."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{go_text(one)}" for name, one in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_text(one) for one in value) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)
