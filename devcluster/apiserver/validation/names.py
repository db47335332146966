"""Syntax of names, labels and ports, with the messages of k8s.io/apimachinery/pkg/util/validation."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from devcluster.apiserver.errors import Cause, cause_invalid, cause_required
from devcluster.apiserver.errors import JsonObject as JsonObject
from devcluster.apiserver.schema.selectors import is_label_value, is_qualified_name

_LABEL_FORM = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_FORM = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = re.compile(f"^{_LABEL_FORM}$")
_SUBDOMAIN = re.compile(f"^{_SUBDOMAIN_FORM}$")
_WILDCARD = re.compile(rf"^\*\.{_SUBDOMAIN_FORM}$")
_CONFIG_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_PORT_NAME = re.compile(r"^[-a-z0-9]+$")
_PATH_SEGMENT_BAD = ("/", "%")

LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric "
    f"character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL_FORM}')"
)
SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an "
    f"alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN_FORM}')"
)
WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
    "of lower case alphanumeric "
    "characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is "
    rf"'\*\.{_SUBDOMAIN_FORM}')"
)
QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_KEY_TEXT = (
    "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS "
    "subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
CONFIG_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used "
    "for validation is '[-._a-zA-Z0-9]+')"
)
IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def longer_than(limit: int) -> str:
    return f"must be no more than {limit} characters"


def label_faults(text: str) -> list[str]:
    """Return the faults of an RFC 1123 label: names of Services, containers and namespaces."""
    faults = [longer_than(63)] if len(text) > 63 else []
    if _LABEL.match(text):
        return faults
    return [*faults, "must not contain dots" if _SUBDOMAIN.match(text) else LABEL_TEXT]


def subdomain_faults(text: str) -> list[str]:
    """Return the faults of an RFC 1123 subdomain: most object names."""
    faults = [longer_than(253)] if len(text) > 253 else []
    return faults if _SUBDOMAIN.match(text) else [*faults, SUBDOMAIN_TEXT]


def wildcard_faults(text: str) -> list[str]:
    return [] if _WILDCARD.match(text) else [WILDCARD_TEXT]


def path_segment_faults(text: str) -> list[str]:
    """Return the faults of a path segment: names of RBAC objects."""
    if text in {".", ".."}:
        return [f"may not be '{text}'"]
    return [f"may not contain '{bad}'" for bad in _PATH_SEGMENT_BAD if bad in text]


def qualified_faults(text: str) -> list[str]:
    prefix, slash, name = text.rpartition("/")
    if slash and "/" in prefix:
        return [_LABEL_KEY_TEXT]
    faults: list[str] = []
    if slash:
        if not prefix:
            faults.append("prefix part must be non-empty")
        else:
            faults += ["prefix part " + fault for fault in subdomain_faults(prefix)]
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append("name part " + longer_than(63).replace("characters", "bytes"))
    if not is_qualified_name(name) and len(name) <= 63:
        faults.append(QUALIFIED_TEXT)
    return faults


def label_value_faults(text: str) -> list[str]:
    if len(text) > 63:
        faults = ["must be no more than 63 bytes"]
        return faults if is_label_value(text[:63].strip("-_.")) else [*faults, LABEL_VALUE_TEXT]
    return [] if is_label_value(text) else [LABEL_VALUE_TEXT]


def config_key_faults(text: str) -> list[str]:
    faults = [longer_than(253)] if len(text) > 253 else []
    if not _CONFIG_KEY.match(text):
        faults.append(CONFIG_KEY_TEXT)
    if text in {".", ".."}:
        faults.append(f"must not be '{text}'")
    elif text.startswith(".."):
        faults.append("must not start with '..'")
    return faults


def port_name_faults(text: str) -> list[str]:
    """Return the faults of an IANA service name."""
    faults = ["must be no more than 15 characters"] if len(text) > 15 else []
    if not _PORT_NAME.match(text):
        faults.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        faults.append("must contain at least one letter (a-z)")
    if "--" in text:
        faults.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        faults.append("must not begin or end with a hyphen")
    return faults


def port_faults(number: Any) -> list[str]:
    return [] if isinstance(number, int) and 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_labels(labels: JsonObject | None, field: str) -> list[Cause]:
    causes: list[Cause] = []
    for name, value in (labels or {}).items():
        causes += [cause_invalid(field, name, fault) for fault in qualified_faults(name)]
        causes += [cause_invalid(field, value, fault) for fault in label_value_faults(value)]
    return causes


def check_label_selector(selector: JsonObject | None, field: str) -> list[Cause]:
    """Return the causes for matchLabels and matchExpressions of a metav1.LabelSelector."""
    if not selector:
        return []
    causes = check_labels(selector.get("matchLabels"), f"{field}.matchLabels")
    for index, one in enumerate(selector.get("matchExpressions") or ()):
        where = f"{field}.matchExpressions[{index}]"
        operator, values = one.get("operator", ""), one.get("values") or []
        if operator in {"In", "NotIn"} and not values:
            causes.append(cause_required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in {"Exists", "DoesNotExist"} and values:
            causes.append(
                {
                    "reason": "FieldValueForbidden",
                    "message": "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    "field": f"{where}.values",
                }
            )
        elif operator not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            causes.append(cause_invalid(f"{where}.operator", operator, "not a valid selector operator"))
        causes += [
            cause_invalid(f"{where}.key", one.get("key", ""), fault) for fault in qualified_faults(one.get("key", ""))
        ]
    return causes


def selector_matches(selector: JsonObject | None, labels: JsonObject | None) -> bool:
    """Return whether a metav1.LabelSelector selects these labels."""
    given = labels or {}
    for name, value in ((selector or {}).get("matchLabels") or {}).items():
        if given.get(name) != value:
            return False
    for one in (selector or {}).get("matchExpressions") or ():
        value, values = given.get(one.get("key")), one.get("values") or []
        match one.get("operator"):
            case "In":
                if value not in values:
                    return False
            case "NotIn":
                if value in values:
                    return False
            case "Exists":
                if value is None:
                    return False
            case "DoesNotExist":
                if value is not None:
                    return False
            case _:
                return False
    return True
