"""Kubernetes quantities (`500m`, `1.5Gi`, `1e3`): syntax, value and canonical text of resource.Quantity."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

_FORM = re.compile(r"^([+-]?)(\d*\.?\d*)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_LOOSE_FORM = re.compile(r"^[+-]?\d*\.?\d*[eEinumkKMGTP]*[-+]?\d*$")
SUFFIX_TEXT = "unable to parse quantity's suffix"
ERROR_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


class QuantityError(ValueError):
    """The text is not a quantity."""


def value_of(text: str) -> Fraction:
    """Return the exact value. QuantityError if the text is no quantity."""
    found = _FORM.match(text)
    if found is None or not text:
        raise QuantityError(SUFFIX_TEXT if text and _LOOSE_FORM.match(text) else ERROR_TEXT)
    sign, digits, suffix = found.group(1), found.group(2), found.group(3) or ""
    number = Fraction(Decimal(digits if digits.strip(".") else "0"))  # a missing number is 0
    if suffix in _BINARY:
        number *= 1024 ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        number *= Fraction(10) ** _DECIMAL[suffix]
    else:
        number *= Fraction(10) ** int(suffix[1:])
    return -number if sign == "-" else number


def _suffix_of(text: str) -> str:
    found = _FORM.match(text)
    return (found.group(3) if found else "") or ""


def _write(value: Fraction, suffix: str) -> str:
    """Return the canonical text of a value in the format of `suffix`: binary, decimal or exponent."""
    sign, magnitude = ("-", -value) if value < 0 else ("", value)
    if magnitude == 0:
        return "0"
    if suffix in _BINARY and magnitude >= 1024 and magnitude.denominator == 1:
        number, power = int(magnitude), 0
        while number % 1024 == 0 and power < 6:
            number, power = number // 1024, power + 1
        return sign + str(number) + next((name for name, one in _BINARY.items() if one == power), "")
    if magnitude.denominator != 1 and suffix in _BINARY:
        suffix = ""
    exponent = -9
    scaled = magnitude * 10**9
    number = -(-scaled.numerator // scaled.denominator)  # finer than nano rounds up
    while number % 1000 == 0 and exponent < 18:
        number, exponent = number // 1000, exponent + 3
    if suffix[:1] in {"e", "E"} and len(suffix) > 1:
        return f"{sign}{number}" + (f"e{exponent}" if exponent else "")
    return sign + str(number) + next(name for name, one in _DECIMAL.items() if one == exponent)


@lru_cache(maxsize=512)
def _canonical_text(text: str) -> str:
    return _write(value_of(text), _suffix_of(text))


def canonical(value: str | int | float) -> str:
    """Return the text that the server stores: `1` for `1000m`, `1Gi` for `1024Mi`, `500m` for 0.5."""
    return _canonical_text(value.strip() if isinstance(value, str) else repr(value))


def add(left: str, right: str) -> str:
    """Return the sum in the format of `left`, or in that of `right` if `left` is zero."""
    value = value_of(left)
    return _write(value + value_of(right), _suffix_of(left if value else right))


def subtract(left: str, right: str) -> str:
    """Return the difference in the format of `left`, or in that of `right` if `left` is zero."""
    value = value_of(left)
    return _write(value - value_of(right), _suffix_of(left if value else right))


def round_up(text: str) -> str:
    """Return the quantity rounded up to an integer."""
    value = value_of(text)
    return _write(Fraction(-(-value.numerator // value.denominator)), _suffix_of(text))
