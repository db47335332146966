"""An interpreter for the subset of CEL (Common Expression Language) that rules of CustomResourceDefinitions use.

Supports literals, operators, field and index access (also optional, `.?`), `has`, the macros all, exists, exists_one,
filter and map, and the functions in cel_functions.py. Other expressions raise CelUnsupportedError, and the rule is
skipped with a warning. tests/contract/crds/rules.yaml holds the interpreter against a real API server;
docs/decisions/0007-cel-interpreter.md says why this is no library.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from devcluster.apiserver.validation.cel_functions import FUNCTIONS, NAMESPACES, CelError, Optional

Value = Any
Scope = Mapping[str, Value]
Node = Callable[[Scope], Value]


class CelUnsupportedError(Exception):
    """The expression uses a feature that this interpreter does not support."""


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+\.\d+(?:[eE][+-]?\d+)?|\d+u?)
    | (?P<raw>r"[^"]*"|r'[^']*')
    | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>\|\||&&|==|!=|<=|>=|\.\?|[-+*/%<>!?:.,()\[\]{}])
    )""",
    re.VERBOSE,
)
_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_MACROS = {"all", "exists", "exists_one", "filter", "map"}
_INTEGERS = range(-(2**63), 2**63)


@lru_cache(maxsize=512)
def compile_rule(text: str) -> Node:
    """Return the rule as a function of `self` and `oldSelf`. CelUnsupportedError if it does not parse."""
    parser = _Parser(_tokenize(text))
    node = parser.ternary()
    if parser.peek() != ("end", ""):
        raise CelUnsupportedError(f"unexpected {parser.peek()[1]!r}")
    return node


def _tokenize(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.end() == position:
            raise CelUnsupportedError(f"cannot read {text[position : position + 10]!r}")
        kind = found.lastgroup or ""
        value = found[kind]
        if kind == "name" and value == "in":
            kind = "operator"
        tokens.append((kind, value))
        position = found.end()
    return [*tokens, ("end", "")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _take(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, *operators: str) -> str:
        kind, value = self.peek()
        if kind == "operator" and value in operators:
            self._at += 1
            return value
        return ""

    def _expect(self, operator: str) -> None:
        if not self._accept(operator):
            raise CelUnsupportedError(f"expected {operator!r}, found {self.peek()[1]!r}")

    def ternary(self) -> Node:
        condition = self._binary(0)
        if not self._accept("?"):
            return condition
        then = self.ternary()
        self._expect(":")
        otherwise = self.ternary()
        return lambda scope: then(scope) if _bool(condition(scope)) else otherwise(scope)

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while operator := self._accept(*_LEVELS[level]):
            left = _combine(operator, left, self._binary(level + 1))
        return left

    def _unary(self) -> Node:
        if self._accept("!"):
            inner = self._unary()
            return lambda scope: not _bool(inner(scope))
        if self._accept("-"):
            inner = self._unary()
            return lambda scope: -inner(scope)
        return self._postfix(self._primary())

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._accept("."):
                name = self._take()[1]
                node = self._method(node, name) if self._accept("(") else _field(node, name)
            elif self._accept(".?"):
                node = _optional_field(node, self._take()[1])
            elif self._accept("["):
                index = self.ternary()
                self._expect("]")
                node = _index(node, index)
            else:
                return node

    def _method(self, target: Node, name: str) -> Node:
        if name in _MACROS:
            variable = self._take()[1]
            self._expect(",")
            body = self.ternary()
            if name == "map" and self._accept(","):
                target, body = _macro("filter", target, variable, body), self.ternary()
            self._expect(")")
            return _macro(name, target, variable, body)
        return _call(FUNCTIONS, name, [target, *self._arguments(")")])

    def _arguments(self, closing: str) -> list[Node]:
        arguments: list[Node] = []
        while not self._accept(closing):
            arguments.append(self.ternary())
            if self.peek()[1] != closing:
                self._expect(",")
        return arguments

    def _primary(self) -> Node:
        kind, text = self._take()
        match kind:
            case "number":
                number: int | float = float(text) if "." in text else int(text.rstrip("u"))
                return lambda scope: number
            case "string":
                plain = ast.literal_eval(text)
                return lambda scope: plain
            case "raw":
                raw = text[2:-1]
                return lambda scope: raw
            case "name":
                return self._name(text)
            case _:
                pass
        if text == "(":
            inner = self.ternary()
            self._expect(")")
            return inner
        if text == "[":
            items = self._arguments("]")
            return lambda scope: [item(scope) for item in items]
        if text == "{":
            return self._map()
        raise CelUnsupportedError(f"unexpected {text!r}")

    def _map(self) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self._accept("}"):
            key = self.ternary()
            self._expect(":")
            pairs.append((key, self.ternary()))
            if self.peek()[1] != "}":
                self._expect(",")
        return lambda scope: {key(scope): value(scope) for key, value in pairs}

    def _name(self, text: str) -> Node:
        if text in {"true", "false", "null"}:
            constant = {"true": True, "false": False, "null": None}[text]
            return lambda scope: constant
        if text in NAMESPACES and self._accept("."):
            name = self._take()[1]
            self._expect("(")
            return _call(NAMESPACES[text], name, self._arguments(")"))
        if not self._accept("("):
            return _variable(text)
        if text == "has":
            target = self._postfix(self._primary())
            self._expect(")")
            return _has(target)
        return _call(FUNCTIONS, text, self._arguments(")"))


def _bool(value: Value) -> bool:
    if not isinstance(value, bool):
        raise CelError("no such overload")
    return value


def _variable(name: str) -> Node:
    def read(scope: Scope) -> Value:
        if name not in scope:
            raise CelUnsupportedError(f"unknown variable {name!r}")
        return scope[name]

    return read


def _unescape(name: str) -> str:
    """Return the property name for an escaped one, such as `__dash__`."""
    for escaped, plain in (("__dash__", "-"), ("__dot__", "."), ("__slash__", "/"), ("__underscores__", "__")):
        name = name.replace(escaped, plain)
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def _field(target: Node, name: str) -> Node:
    key = _unescape(name)

    def read(scope: Scope) -> Value:
        value = target(scope)
        if not isinstance(value, dict) or key not in value:
            raise CelError(f"no such key: {key}")
        return value[key]

    read.presence = (target, key)  # type: ignore[attr-defined]
    return read


def _optional_field(target: Node, name: str) -> Node:
    key = _unescape(name)

    def read(scope: Scope) -> Value:
        value = target(scope)
        if isinstance(value, Optional):
            value = value.value
        return Optional(value.get(key) if isinstance(value, dict) else None)

    return read


def _has(node: Node) -> Node:
    presence = getattr(node, "presence", None)
    if presence is None:
        raise CelUnsupportedError("has() takes a field")
    target, key = presence

    def ask(scope: Scope) -> Value:
        value = target(scope)
        return isinstance(value, dict) and value.get(key) is not None

    return ask


def _index(target: Node, index: Node) -> Node:
    def read(scope: Scope) -> Value:
        value, key = target(scope), index(scope)
        try:
            return value[key]
        except (KeyError, IndexError, TypeError):
            raise CelError(f"no such key: {key}") from None

    return read


def _macro(name: str, target: Node, variable: str, body: Node) -> Node:
    def run(scope: Scope) -> Value:
        items = target(scope)
        if not isinstance(items, (list, dict)):
            raise CelError("no such overload")
        inner = dict(scope)

        def answer(item: Value) -> Value:
            inner[variable] = item
            return body(inner)

        match name:
            case "all":
                return all(_bool(answer(item)) for item in items)
            case "exists":
                return any(_bool(answer(item)) for item in items)
            case "exists_one":
                return sum(1 for item in items if _bool(answer(item))) == 1
            case "filter":
                return [item for item in items if _bool(answer(item))]
            case _:
                return [answer(item) for item in items]

    return run


def _combine(operator: str, left: Node, right: Node) -> Node:
    if operator == "||":
        return lambda scope: _either(left, right, scope, stop=True)
    if operator == "&&":
        return lambda scope: _either(left, right, scope, stop=False)

    def run(scope: Scope) -> Value:
        one, other = left(scope), right(scope)
        try:
            return _operate(operator, one, other)
        except (TypeError, ZeroDivisionError) as error:
            raise CelError(str(error)) from None

    return run


def _either(left: Node, right: Node, scope: Scope, *, stop: bool) -> bool:
    """Evaluate `||` or `&&`, which ignore an error on one side if the other side decides."""
    try:
        if _bool(left(scope)) is stop:
            return stop
    except CelError:
        if _bool(right(scope)) is stop:
            return stop
        raise
    return _bool(right(scope))


def _operate(operator: str, one: Value, other: Value) -> Value:
    match operator:
        case "==":
            return one == other and isinstance(one, bool) == isinstance(other, bool)
        case "!=":
            return not (one == other and isinstance(one, bool) == isinstance(other, bool))
        case "<":
            return one < other
        case "<=":
            return one <= other
        case ">":
            return one > other
        case ">=":
            return one >= other
        case "in":
            return one in other
        case "+":
            return _bounded(one + other)
        case "-":
            return _bounded(one - other)
        case "*":
            return _bounded(one * other)
        case "/":
            return _bounded(_quotient(one, other)) if isinstance(one, int) and isinstance(other, int) else one / other
        case _:
            return one - other * _quotient(one, other)


def _quotient(one: int, other: int) -> int:
    """Return the quotient rounded toward zero, exact for 64-bit numbers."""
    quotient = abs(one) // abs(other)
    return quotient if (one < 0) == (other < 0) else -quotient


def _bounded(value: Value) -> Value:
    if isinstance(value, int) and value not in _INTEGERS:
        raise CelError("integer overflow")
    return value


def _call(functions: Mapping[str, Callable[..., Value]], name: str, arguments: list[Node]) -> Node:
    function = functions.get(name)
    if function is None:
        raise CelUnsupportedError(f"unknown function {name!r}")

    def run(scope: Scope) -> Value:
        try:
            return function(*(argument(scope) for argument in arguments))
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, re.error) as error:
            raise CelError(f"{name}: {error}") from None

    return run
