"""The functions of CEL rules: those of CEL, and those of Kubernetes for strings, lists, sets, quantities and addresses.

Each takes plain Python values. CelError, or an exception that the interpreter turns into one, says that the function
has no result for the values. Not there: url, format, type, semver, authorizer.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any

from devcluster.apiserver.schema.quantities import QuantityError, value_of

Value = Any
_DURATION = re.compile(
    r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))*"
)
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[-+]\d\d:\d\d)")


class CelError(Exception):
    """The expression fails on a value, for example because a key is missing. The real server refuses the object."""


@dataclass(frozen=True)
class Optional:
    """A value that may be absent (None), as `.?` returns it."""

    value: Value


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    r"""Compile a pattern in the syntax of RE2, where `$` is only the end of the text."""
    parts = re.split(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])", text)
    return re.compile(
        "".join(part.replace("$", r"\Z") if at % 2 == 0 else part for at, part in enumerate(parts)), re.ASCII
    )


def _ascii_case(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(change(one) if one.isascii() else one for one in text)


def _find(text: str, pattern: str) -> str:
    found = _pattern(pattern).search(text)
    return found[0] if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [one[0] for one in _pattern(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    return text.split(separator, limit - 1 if limit > 0 else -1) if separator else list(text)


def _index_of(where: str | list[Value], what: Value) -> int:
    if isinstance(where, str):
        return where.find(what)
    return where.index(what) if what in where else -1


def _last_index_of(where: str | list[Value], what: Value) -> int:
    if isinstance(where, str):
        return where.rfind(what)
    return len(where) - 1 - where[::-1].index(what) if what in where else -1


def _character_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise CelError(f"index out of range: {index}")
    return text[index : index + 1]


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise CelError(f"invalid substring range. start: {start}, end: {end}")
    return text[start:end]


def _string(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _integer(value: Value) -> int:
    if isinstance(value, str) and not re.fullmatch(r"[-+]?\d+", value, re.ASCII):
        raise CelError(f"not an integer: {value!r}")
    return int(value)


def _or_value(value: Optional, default: Value) -> Value:
    return default if value.value is None else value.value


def _optional_value(value: Optional) -> Value:
    if value.value is None:
        raise CelError("optional.none() dereference")
    return value.value


def _is(convert: Callable[[str], object]) -> Callable[[str], bool]:
    """Return a function that says whether `convert` takes a text."""

    def answer(text: str) -> bool:
        try:
            convert(text)
        except (CelError, ValueError, QuantityError):
            return False
        return True

    return answer


def _quantity(text: str) -> Fraction:
    try:
        return value_of(text)
    except QuantityError as error:
        raise CelError(str(error)) from None


def _compare(one: Fraction, other: Fraction) -> int:
    return (one > other) - (one < other)


def _contains_ip(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, address: str | ipaddress.IPv4Address | ipaddress.IPv6Address
) -> bool:
    return ipaddress.ip_address(address) in network


def _duration(text: str) -> timedelta:
    if not _DURATION.fullmatch(text):
        raise CelError(f"invalid duration {text!r}")
    parts = re.findall(r"([\d.]+)(ns|us|µs|ms|s|m|h)", text)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)


def _timestamp(text: str) -> datetime:
    if not _TIMESTAMP.fullmatch(text):
        raise CelError(f"invalid timestamp {text!r}")
    return datetime.fromisoformat(text).astimezone(UTC)


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "bool": bool,
    "double": float,
    "int": _integer,
    "string": _string,
    "size": len,
    # Strings
    "charAt": _character_at,
    "contains": lambda text, part: part in text,
    "endsWith": str.endswith,
    "find": _find,
    "findAll": _find_all,
    "indexOf": _index_of,
    "join": lambda items, separator="": separator.join(items),
    "lastIndexOf": _last_index_of,
    "lowerAscii": _ascii_case(str.lower),
    "matches": lambda text, pattern: _pattern(pattern).search(text) is not None,
    "replace": _replace,
    "split": _split,
    "startsWith": str.startswith,
    "substring": _substring,
    "trim": str.strip,
    "upperAscii": _ascii_case(str.upper),
    # Lists
    "isSorted": lambda items: items == sorted(items),
    "max": max,
    "min": min,
    "sum": sum,
    # Optional values
    "hasValue": lambda value: value.value is not None,
    "orValue": _or_value,
    "value": _optional_value,
    # Quantities
    "isQuantity": _is(_quantity),
    "quantity": _quantity,
    "compareTo": _compare,
    "isGreaterThan": lambda one, other: one > other,
    "isLessThan": lambda one, other: one < other,
    # Addresses
    "isIP": _is(ipaddress.ip_address),
    "ip": ipaddress.ip_address,
    "isCIDR": _is(ipaddress.ip_network),
    "cidr": ipaddress.ip_network,
    "containsIP": _contains_ip,
    # Time
    "duration": _duration,
    "timestamp": _timestamp,
}

NAMESPACES: Mapping[str, Mapping[str, Callable[..., Value]]] = {
    "sets": {
        "contains": lambda items, part: all(one in items for one in part),
        "equivalent": lambda one, other: all(item in other for item in one) and all(item in one for item in other),
        "intersects": lambda one, other: any(item in other for item in one),
    },
}
