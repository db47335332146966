"""Label and field selectors: the query strings of list, watch and collection delete."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devcluster.apiserver.errors import bad_request

_QUALIFIED_PART = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
_DNS_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")


def is_qualified_name(text: str) -> bool:
    """Return whether the text is a label key: an optional DNS prefix (253 characters) and a name (63 characters)."""
    prefix, slash, name = text.rpartition("/")
    if slash and (len(prefix) > 253 or not _DNS_SUBDOMAIN.match(prefix)):
        return False
    return bool(_QUALIFIED_PART.match(name))


def is_label_value(text: str) -> bool:
    return text == "" or bool(_QUALIFIED_PART.match(text))


@dataclass(frozen=True, slots=True)
class Requirement:
    """One clause of a label selector. Operators: `=`, `!=`, `in`, `notin`, `exists`, `!`, `gt`, `lt`."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case _:
                try:
                    number, bound = int(value or ""), int(self.values[0])
                except ValueError:
                    return False
                return number > bound if self.operator == "gt" else number < bound


LabelSelector = tuple[Requirement, ...]

_TOKEN = re.compile(r"\s*(?:(?P<word>[^\s,=!<>()]+)|(?P<operator>==|!=|=|!|<|>|\(|\)|,))")


class _Lexer:
    """Tokenizer of label selectors with one token of lookahead."""

    def __init__(self, text: str) -> None:
        self._text = text.rstrip()
        self._at = 0
        self.current = ""
        self.is_word = False
        self.advance()

    def advance(self) -> str:
        """Return the current token and advance; "" at the end."""
        taken = self.current
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            self.current, self.is_word, self._at = "", False, len(self._text)
        else:
            self.current, self.is_word = found["word"] or found["operator"], found["word"] is not None
            self._at = found.end()
        return taken


def parse_label_selector(text: str) -> LabelSelector:
    """Parse a label selector such as `a=b,c in (d,e),!f`. ApiError 400 with the message of the real parser."""
    lexer = _Lexer(text)
    requirements: list[Requirement] = []
    while lexer.current:
        if not lexer.is_word and lexer.current != "!":
            raise bad_request(f"found '{lexer.current}', expected: !, identifier, or 'end of string'")
        requirement = _parse_requirement(lexer)
        _check_requirement(requirement)
        requirements.append(requirement)
        if not lexer.current:
            break
        if lexer.current != ",":
            raise bad_request(f"found '{lexer.current}', expected: ',' or 'end of string'")
        lexer.advance()
        if not lexer.is_word and lexer.current != "!":
            raise bad_request(f"found '{lexer.current}', expected: identifier after ','")
    return tuple(requirements)


def _parse_requirement(lexer: _Lexer) -> Requirement:
    absent = lexer.current == "!"
    if absent:
        lexer.advance()
    if not lexer.is_word:
        raise bad_request(f"unable to parse requirement: found '{lexer.current}', expected: identifier")
    key = lexer.advance()
    if absent:
        return Requirement(key, "!")
    if lexer.current in {"", ","}:
        return Requirement(key, "exists")
    operator = lexer.advance()
    match operator:
        case "in" | "notin":
            return Requirement(key, operator, _parse_values(lexer))
        case "=" | "==" | "!=" | "<" | ">":
            value = lexer.advance() if lexer.is_word else ""
            return Requirement(key, {"==": "=", ">": "gt", "<": "lt"}.get(operator, operator), (value,))
        case _:
            expected = "in, notin, =, ==, !=, gt, lt"
            raise bad_request(f"unable to parse requirement: found '{operator}', expected: {expected}")


def _parse_values(lexer: _Lexer) -> tuple[str, ...]:
    if lexer.current != "(":
        raise bad_request(f"unable to parse requirement: found '{lexer.current}' expected: '('")
    lexer.advance()
    if not lexer.is_word and lexer.current not in {",", ")"}:
        raise bad_request(f"unable to parse requirement: found '{lexer.current}', expected: ',', ')' or identifier")
    values: list[str] = []
    while True:
        values.append(lexer.advance() if lexer.is_word else "")
        if lexer.current == ")":
            lexer.advance()
            return tuple(dict.fromkeys(values))
        if lexer.current != ",":
            raise bad_request(f"unable to parse requirement: found '{lexer.current}', expected: ',' or ')'")
        lexer.advance()


def _check_requirement(requirement: Requirement) -> None:
    if not is_qualified_name(requirement.key):
        raise bad_request(
            f'unable to parse requirement: <nil>: Invalid value: "{requirement.key}": name part must consist of '
            "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
            "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )
    if requirement.operator in {"gt", "lt"} and not re.fullmatch(r"[+-]?\d+", requirement.values[0]):
        raise bad_request(
            f'unable to parse requirement: values[0][{requirement.key}]: Invalid value: "{requirement.values[0]}": '
            "for 'Gt', 'Lt' operators, the value must be an integer"
        )
    for value in requirement.values:
        if not is_label_value(value):
            raise bad_request(
                f'unable to parse requirement: values[0][{requirement.key}]: Invalid value: "{value}": a valid label '
                "must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
                "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
                "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            )


def labels_match(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    return all(requirement.matches(labels) for requirement in selector)


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    field: str
    equal: bool
    value: str


FieldSelector = tuple[FieldRequirement, ...]


def parse_field_selector(text: str, supported: frozenset[str], *, custom: bool = False) -> FieldSelector:
    """Parse a field selector such as `status.phase!=Running`. ApiError 400 for an unsupported field."""
    requirements: list[FieldRequirement] = []
    for clause in _split_unescaped(text):
        if not clause:
            continue
        found = re.match(r"^(.*?)(!=|==|=)(.*)$", clause, re.DOTALL)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{clause}'")
        field, operator, raw = found.groups()
        if field not in supported:
            if not custom and supported <= {"metadata.name", "metadata.namespace"}:
                raise bad_request(
                    f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
                )
            raise bad_request(f"field label not supported: {field}")
        requirements.append(FieldRequirement(field, operator != "!=", re.sub(r"\\(.)", r"\1", raw)))
    return tuple(requirements)


def _split_unescaped(text: str) -> list[str]:
    return re.split(r"(?<!\\),", text)


def fields_match(selector: FieldSelector, read_field: Callable[[str], str]) -> bool:
    """Return whether all requirements match. `read_field` returns the text of a field, "" if it is not set."""
    return all((read_field(one.field) == one.value) == one.equal for one in selector)
