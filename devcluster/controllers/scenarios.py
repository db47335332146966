"""Scenarios: rules that make the KubeBlocks stand-in slow, wrong or stuck for matching Clusters.

The ConfigMap `kube-system/kubeblocks-stand-in` contains one rule for each key, in YAML with the fields of Scenario. The
first matching rule, in alphabetical order of keys, applies to a Cluster. A Cluster recovers when its rule is changed or
removed. Example:

    slow: |
      match: "late-*"            # a glob on the Cluster's name, or on namespace/name
      running_after_s: 90        # from creation; null: never
      secret_after_s: null
    broken: |
      match: "bad-*"
      fail: {after_s: 3, phase: Failed, message: "no space left on device"}
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import yaml

NAMESPACE = "kube-system"
CONFIG_MAP = "kubeblocks-stand-in"
NEVER = math.inf

SecretVariant = Literal["full", "empty-password", "half", "undefined"]
Phase = Literal["Creating", "Running", "Updating", "Stopping", "Stopped", "Deleting", "Failed", "Abnormal"]
STUCK_EMPTY = "empty"


@dataclass(frozen=True)
class Failure:
    """`after_s` after its creation, the Cluster enters `phase`. `message` replaces the one of the condition Ready."""

    after_s: float = 0.0
    phase: Literal["Failed", "Abnormal"] = "Failed"
    message: str = ""


@dataclass(frozen=True)
class Scenario:
    """A rule for matching Clusters. Times are seconds after creation; NEVER (YAML: null) means not at all.

    `running_after_s` and `secret_after_s` default to the options of the embedded cluster. `stuck` keeps the Cluster in
    a phase ("empty": in none, with the condition ProvisioningStarted=False). `no_endpoints`: phase Running without a
    server. `slow_delete_s` is the minimum duration of a deletion.
    """

    match: str = "*"
    running_after_s: float | None = None
    secret_after_s: float | None = None
    secret: SecretVariant = "full"  # noqa: S105 - a kind of Secret
    stuck: str = ""
    message: str = ""
    fail: Failure | None = None
    no_endpoints: bool = False
    slow_delete_s: float = 0.0

    def fits(self, namespace: str, name: str) -> bool:
        return fnmatch.fnmatchcase(name, self.match) or fnmatch.fnmatchcase(f"{namespace}/{name}", self.match)

    def to_yaml(self) -> str:
        """Return the value in the ConfigMap, which `parse_scenario` reads."""
        defaults = asdict(Scenario())
        values = {key: value for key, value in asdict(self).items() if key == "match" or value != defaults[key]}
        for key in ("running_after_s", "secret_after_s"):
            if values.get(key) == NEVER:
                values[key] = None
        return yaml.safe_dump(values)


DEFAULT = Scenario()


def _seconds(value: Any, name: str, *, may_be_null: bool) -> float:
    if value is None and may_be_null:
        return NEVER
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} must be a number of seconds, not {value!r}")
    return float(value)


def _one_of(value: Any, name: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _failure(value: Any) -> Failure:
    if not isinstance(value, Mapping) or set(value) - {f.name for f in fields(Failure)}:
        raise ValueError("fail must be a mapping with after_s, phase, message")
    return Failure(
        after_s=_seconds(value.get("after_s", 0.0), "fail.after_s", may_be_null=False),
        phase=_one_of(value.get("phase", "Failed"), "fail.phase", ("Failed", "Abnormal")),
        message=str(value.get("message", Failure.message)),
    )


def parse_scenario(text: str) -> Scenario:
    """Return a rule from its YAML. ValueError names the invalid field."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(raw, Mapping):
        raise ValueError("it is not a mapping of fields")  # noqa: TRY004 - one kind of error for what is written wrong
    if unknown := {str(key) for key in raw} - {f.name for f in fields(Scenario)}:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {name: str(raw[name]) for name in ("match", "message") if name in raw}
    for name in ("running_after_s", "secret_after_s"):
        if name in raw:
            values[name] = _seconds(raw[name], name, may_be_null=True)
    if "slow_delete_s" in raw:
        values["slow_delete_s"] = _seconds(raw["slow_delete_s"], "slow_delete_s", may_be_null=False)
    if "secret" in raw:
        values["secret"] = _one_of(raw["secret"], "secret", get_args(SecretVariant))
    if raw.get("stuck"):
        values["stuck"] = _one_of(raw["stuck"], "stuck", (STUCK_EMPTY, *get_args(Phase)))
    if raw.get("fail") is not None:
        values["fail"] = _failure(raw["fail"])
    if "no_endpoints" in raw:
        if not isinstance(raw["no_endpoints"], bool):
            raise ValueError("no_endpoints must be true or false")
        values["no_endpoints"] = raw["no_endpoints"]
    return Scenario(**values)


@dataclass(frozen=True)
class Scenarios:
    """The rules, and error messages of invalid rules by name."""

    rules: Mapping[str, Scenario] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_config_map(cls, config_map: Mapping[str, Any] | None) -> Scenarios:
        """Return the rules of a ConfigMap. Invalid rules are skipped and reported in `errors`."""
        rules: dict[str, Scenario] = {}
        errors: dict[str, str] = {}
        for name, text in sorted(((config_map or {}).get("data") or {}).items()):
            try:
                rules[name] = parse_scenario(str(text))
            except ValueError as error:
                errors[name] = f"The rule {name} in ConfigMap {NAMESPACE}/{CONFIG_MAP} is left out: {error}."
        return cls(rules, errors)

    def of(self, namespace: str, name: str) -> Scenario:
        """Return the rule for a Cluster, or the default without failures."""
        return next((rule for rule in self.rules.values() if rule.fits(namespace, name)), DEFAULT)
