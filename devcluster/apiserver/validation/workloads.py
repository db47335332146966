"""Validation of StatefulSets, Deployments, DaemonSets, Jobs and PodDisruptionBudgets."""

from __future__ import annotations

import re

from devcluster.apiserver.errors import (
    Cause,
    JsonObject,
    cause_forbidden,
    cause_invalid,
    cause_not_supported,
    cause_required,
    quote_value,
)
from devcluster.apiserver.validation import names
from devcluster.apiserver.validation.config import check_claim_spec
from devcluster.apiserver.validation.pods import check_pod_spec

_NOT_NEGATIVE = "must be greater than or equal to 0"
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)
_STATEFUL_SET_CHANGES = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)  # fmt: skip


def _check_not_negative(values: JsonObject, fields: tuple[str, ...], field: str) -> list[Cause]:
    return [cause_invalid(f"{field}.{name}", values[name], _NOT_NEGATIVE) for name in fields if values.get(name, 0) < 0]


def _check_selector(spec: JsonObject, what: str) -> tuple[list[Cause], bool]:
    """Return the causes, and whether the labels of the template can be compared with the selector."""
    selector = spec.get("selector")
    if selector is None:
        return [cause_required("spec.selector")], True
    causes = names.check_label_selector(selector, "spec.selector")
    is_readable = not causes
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.append(cause_invalid("spec.selector", {}, f"empty selector is invalid for {what}"))
    if not is_readable:
        message = f"Invalid value: {quote_value(selector)}"
        causes.append({"reason": "FieldValueInvalid", "message": message, "field": "spec.selector"})
    return causes, is_readable


def _check_template(
    spec: JsonObject, *, claims: tuple[str, ...] = (), selector: bool = True, layers: int = 1
) -> list[Cause]:
    """Return the causes for a template. `layers` of the real server check its labels."""
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    causes: list[Cause] = []
    if selector and not names.selector_matches(spec.get("selector", {"matchLabels": {"": ""}}), labels):
        causes.append(
            cause_invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        )
    if labels:
        causes += names.check_labels(labels, "spec.template.labels") * layers
    return causes + check_pod_spec(template.get("spec") or {}, "spec.template.spec", claims)


def _check_always(spec: JsonObject, owner: str) -> list[Cause]:
    pod = (spec.get("template") or {}).get("spec") or {}
    causes: list[Cause] = []
    if pod.get("restartPolicy") != "Always":
        causes.append(cause_not_supported("spec.template.spec.restartPolicy", pod.get("restartPolicy"), ["Always"]))
    if "activeDeadlineSeconds" in pod:
        causes.append(
            cause_forbidden(
                "spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {owner} is not Supported"
            )
        )
    return causes


def check_stateful_set(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes: list[Cause] = []
    service = spec.get("serviceName")
    if service:
        causes += [cause_invalid("spec.serviceName", service, fault) for fault in names.label_faults(service)]
    for index, one in enumerate(spec.get("volumeClaimTemplates") or ()):
        causes += check_claim_spec(one.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    return causes + _check_stateful_set_spec(spec)


def _check_stateful_set_spec(spec: JsonObject) -> list[Cause]:
    """Return the causes that creates and updates share."""
    causes: list[Cause] = []
    if spec.get("podManagementPolicy") not in {"OrderedReady", "Parallel"}:
        causes.append(
            cause_invalid(
                "spec.podManagementPolicy", spec.get("podManagementPolicy"), "must be 'OrderedReady' or 'Parallel'"
            )
        )
    causes += _check_update_strategy(spec.get("updateStrategy") or {})
    causes += _check_not_negative(spec, ("replicas", "minReadySeconds"), "spec")
    causes += _check_not_negative(spec.get("ordinals") or {}, ("start",), "spec.ordinals")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    causes += [
        cause_not_supported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", retention[name], ["Retain", "Delete"])
        for name in ("whenDeleted", "whenScaled")
        if retention.get(name, "Retain") not in {"Retain", "Delete"}
    ]
    selector_causes, is_readable = _check_selector(spec, "statefulset")
    causes += selector_causes
    if is_readable:
        templates = spec.get("volumeClaimTemplates") or []
        claims = tuple(dict.fromkeys((one.get("metadata") or {}).get("name") or "" for one in templates))
        causes += _check_template(spec, claims=claims, layers=2)
    return causes + _check_always(spec, "StatefulSet")


def _check_update_strategy(strategy: JsonObject) -> list[Cause]:
    rolling = strategy.get("rollingUpdate")
    field = "spec.updateStrategy"
    match strategy.get("type"):
        case "OnDelete":
            if rolling is None:
                return []
            shown = {"Partition": rolling.get("partition", 0), "MaxUnavailable": rolling.get("maxUnavailable")}
            return [cause_invalid(f"{field}.rollingUpdate", shown, "only allowed for updateStrategy 'RollingUpdate'")]
        case "RollingUpdate":
            return _check_not_negative(rolling or {}, ("partition",), f"{field}.rollingUpdate")
        case kind:
            shown = {"Type": kind or "", "RollingUpdate": rolling}
            return [cause_invalid(field, shown, "must be 'RollingUpdate' or 'OnDelete'")]


def check_stateful_set_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    causes = _check_stateful_set_spec(body.get("spec") or {})
    new, old = dict(body.get("spec") or {}), dict(live.get("spec") or {})
    for name in _STATEFUL_SET_CHANGES:
        new.pop(name, None)
        old.pop(name, None)
    if new == old:
        return causes
    return [
        *causes,
        cause_forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ),
    ]


def check_stateful_set_status(body: JsonObject) -> list[Cause]:
    counted = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    return _check_counts(body.get("status") or {}, counted, ("observedGeneration", "collisionCount"), "status.")


def check_deployment_status(body: JsonObject) -> list[Cause]:
    counted = ("updatedReplicas", "readyReplicas", "availableReplicas")
    others = ("observedGeneration", "unavailableReplicas", "terminatingReplicas", "collisionCount")
    return _check_counts(body.get("status") or {}, counted, others, "")


def _check_counts(status: JsonObject, counted: tuple[str, ...], others: tuple[str, ...], prefix: str) -> list[Cause]:
    """Return the causes for numbers of Pods. `prefix` is that of a field's name in messages."""
    causes = _check_not_negative(status, ("replicas", *counted, *others), "status")
    causes += [
        cause_invalid(f"status.{name}", status.get(name, 0), "cannot be greater than status.replicas")
        for name in counted
        if status.get(name, 0) > status.get("replicas", 0)
    ]
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        detail = f"cannot be greater than {prefix}readyReplicas"
        causes.append(cause_invalid("status.availableReplicas", available, detail))
    return causes


def check_deployment(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes = _check_replica_template(spec)
    causes += _check_strategy(spec.get("strategy") or {})
    causes += _check_not_negative(spec, ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"), "spec")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        causes.append(cause_invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return causes


def _check_replica_template(spec: JsonObject) -> list[Cause]:
    """Return the causes for number, selector and template of a Deployment or ReplicaSet."""
    causes = _check_not_negative(spec, ("replicas",), "spec")
    selector_causes, is_readable = _check_selector(spec, "deployment")
    causes += selector_causes
    return causes + (_check_template(spec) + _check_always(spec, "ReplicaSet") if is_readable else [])


def _check_strategy(strategy: JsonObject) -> list[Cause]:
    field, rolling = "spec.strategy.rollingUpdate", strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            detail = "may not be specified when strategy `type` is 'Recreate'"
            return [] if rolling is None else [cause_forbidden(field, detail)]
        case "RollingUpdate" if rolling is not None:  # by its default
            unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
            causes = _check_share(unavailable, f"{field}.maxUnavailable")
            causes += [one for one in _check_share(surge, f"{field}.maxSurge") if "100%" not in one["message"]]
            if _share_value(unavailable) == 0 and _share_value(surge) == 0:
                detail = "may not be 0 when `maxSurge` is 0"
                causes.append(cause_invalid(f"{field}.maxUnavailable", unavailable, detail))
            return causes
        case kind:
            shown = {"Type": kind, "RollingUpdate": rolling}
            return [cause_not_supported("spec.strategy", shown, ["Recreate", "RollingUpdate"])]


def check_replica_set(body: JsonObject) -> list[Cause]:
    return _check_replica_template(body.get("spec") or {})


def check_daemon_set(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes, is_readable = _check_selector(spec, "daemonset")
    return [*causes, *_check_template(spec, selector=is_readable), *_check_always(spec, "DaemonSet")]


def check_selector_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    new = (body.get("spec") or {}).get("selector")
    if new == (live.get("spec") or {}).get("selector"):
        return []
    return [cause_invalid("spec.selector", new, "field is immutable")]


def check_job(body: JsonObject) -> list[Cause]:
    return _check_job_spec(body.get("spec") or {}, "spec")


def _check_job_spec(spec: JsonObject, field: str) -> list[Cause]:
    causes: list[Cause] = []
    causes += [
        cause_invalid(f"{field}.{name}", spec[name], _NOT_NEGATIVE)
        for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
        if spec.get(name, 0) < 0
    ]
    template = (spec.get("template") or {}).get("spec") or {}
    if not template.get("containers"):
        causes.append(cause_required(f"{field}.template.spec.containers"))
        return causes
    causes += check_pod_spec(template, f"{field}.template.spec")
    if template.get("restartPolicy") not in {"OnFailure", "Never"}:
        causes.append(cause_required(f"{field}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    return causes


def check_job_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    new, old = body.get("spec") or {}, live.get("spec") or {}
    return [
        cause_invalid(f"spec.{name}", new.get(name), "field is immutable")
        for name in ("selector", "template", "completionMode")
        if new.get(name) != old.get(name)
    ]


def check_cron_job(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes: list[Cause] = []
    schedule = spec.get("schedule") or ""
    if not schedule:
        causes.append(cause_required("spec.schedule"))
    elif not schedule.startswith("@") and len(schedule.split()) != 5:
        found = len(schedule.split())
        causes.append(
            cause_invalid("spec.schedule", schedule, f"expected exactly 5 fields, found {found}: [{schedule}]")
        )
    if len(body["metadata"].get("name", "")) > 52:
        causes.append(cause_invalid("metadata.name", body["metadata"]["name"], "must be no more than 52 characters"))
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    return causes + _check_job_spec(job, "spec.jobTemplate.spec")


def check_disruption_budget(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes: list[Cause] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        shown = {"MinAvailable": spec["minAvailable"], "MaxUnavailable": spec["maxUnavailable"]}
        causes.append(cause_invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            causes += _check_share(spec[name], f"spec.{name}")
    causes += names.check_label_selector(spec.get("selector"), "spec.selector")
    policies = ["AlwaysAllow", "IfHealthyBudget"]
    if spec.get("unhealthyPodEvictionPolicy", policies[0]) not in policies:
        given = spec["unhealthyPodEvictionPolicy"]
        causes.append(cause_not_supported("spec.unhealthyPodEvictionPolicy", given, policies))
    return causes


def _check_share(share: int | str, field: str) -> list[Cause]:
    """Return the causes for a number or percentage of Pods."""
    if isinstance(share, int):
        return [cause_invalid(field, share, _NOT_NEGATIVE)] if share < 0 else []
    if not re.fullmatch("[0-9]+%", share):
        return [cause_invalid(field, share, _PERCENT_TEXT)]
    return [cause_invalid(field, share, "must not be greater than 100%")] if int(share[:-1]) > 100 else []


def _share_value(share: int | str) -> int:
    """Return the number, or that of a percentage; 0 for another text."""
    if isinstance(share, int):
        return share
    found = re.fullmatch("([0-9]+)%?", share)
    return int(found[1]) if found else 0
