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


def _check_replicas(spec: JsonObject) -> list[Cause]:
    replicas = spec.get("replicas", 1)
    return [cause_invalid("spec.replicas", replicas, _NOT_NEGATIVE)] if replicas < 0 else []


def _check_selector(spec: JsonObject, what: str) -> list[Cause]:
    selector = spec.get("selector")
    if selector is None:
        return [cause_required("spec.selector")]
    causes = names.check_label_selector(selector, "spec.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.append(cause_invalid("spec.selector", {}, f"empty selector is invalid for {what}"))
    return causes


def _check_template(
    spec: JsonObject, owner: str, *, claims: tuple[str, ...] = (), selector: bool = True, always: bool = True
) -> list[Cause]:
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    causes: list[Cause] = []
    if selector and not names.selector_matches(spec.get("selector", {"matchLabels": {"": ""}}), labels):
        causes.append(
            cause_invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        )
    if labels:
        causes += names.check_labels(labels, "spec.template.labels") * 2  # the real server reports it twice
    pod = template.get("spec") or {}
    if not pod:
        causes.append(cause_required("spec.template.spec.containers"))
        return causes
    causes += check_pod_spec(pod, "spec.template.spec", claims)
    if always and pod.get("restartPolicy") != "Always":
        causes.append(cause_not_supported("spec.template.spec.restartPolicy", pod.get("restartPolicy"), ["Always"]))
    if always and "activeDeadlineSeconds" in pod:
        causes.append(
            cause_forbidden(
                "spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {owner} is not Supported"
            )
        )
    return causes


def check_stateful_set(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes: list[Cause] = []
    if spec.get("podManagementPolicy") not in {"OrderedReady", "Parallel"}:
        causes.append(
            cause_invalid(
                "spec.podManagementPolicy", spec.get("podManagementPolicy"), "must be 'OrderedReady' or 'Parallel'"
            )
        )
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") not in {"RollingUpdate", "OnDelete"}:
        shown = {"Type": strategy.get("type", ""), "RollingUpdate": strategy.get("rollingUpdate")}
        causes.append(cause_invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'"))
    causes += _check_replicas(spec)
    service = spec.get("serviceName")
    if service:
        causes += [cause_invalid("spec.serviceName", service, fault) for fault in names.label_faults(service)]
    if spec.get("minReadySeconds", 0) < 0:
        causes.append(cause_invalid("spec.minReadySeconds", spec["minReadySeconds"], _NOT_NEGATIVE))
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    causes += [
        cause_not_supported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", retention[name], ["Retain", "Delete"])
        for name in ("whenDeleted", "whenScaled")
        if retention.get(name, "Retain") not in {"Retain", "Delete"}
    ]
    selector_causes = _check_selector(spec, "statefulset")
    causes += selector_causes
    if any(".match" in cause["field"] for cause in selector_causes):
        return [
            *causes,
            {
                "reason": "FieldValueInvalid",
                "message": f"Invalid value: {quote_value(spec['selector'])}",
                "field": "spec.selector",
            },
        ]
    templates = spec.get("volumeClaimTemplates") or []
    claims = tuple(dict.fromkeys((one.get("metadata") or {}).get("name") or "" for one in templates))
    for index, one in enumerate(templates):
        causes += check_claim_spec(one.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    return causes + _check_template(spec, "StatefulSet", claims=claims)


def check_stateful_set_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    new, old = dict(body.get("spec") or {}), dict(live.get("spec") or {})
    for name in _STATEFUL_SET_CHANGES:
        new.pop(name, None)
        old.pop(name, None)
    if new == old:
        return []
    return [
        cause_forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )
    ]


def check_stateful_set_status(body: JsonObject) -> list[Cause]:
    status = body.get("status") or {}
    replicas = status.get("replicas", 0)
    causes: list[Cause] = []
    counted = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    causes += [
        cause_invalid(f"status.{name}", status[name], _NOT_NEGATIVE)
        for name in ("replicas", *counted, "observedGeneration")
        if status.get(name, 0) < 0
    ]
    causes += [
        cause_invalid(f"status.{name}", status.get(name, 0), "cannot be greater than status.replicas")
        for name in counted
        if status.get(name, 0) > replicas
    ]
    if status.get("availableReplicas", 0) > status.get("readyReplicas", 0):
        causes.append(
            cause_invalid(
                "status.availableReplicas", status["availableReplicas"], "cannot be greater than status.readyReplicas"
            )
        )
    return causes


def check_deployment(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes = [*_check_replicas(spec), *_check_selector(spec, "deployment"), *_check_template(spec, "Deployment")]
    strategy = (spec.get("strategy") or {}).get("type")
    if strategy not in {"RollingUpdate", "Recreate"}:
        causes.append(cause_not_supported("spec.strategy.type", strategy, ["Recreate", "RollingUpdate"]))
    return causes


def check_replica_set(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    return [*_check_replicas(spec), *_check_selector(spec, "deployment"), *_check_template(spec, "ReplicaSet")]


def check_daemon_set(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    return [*_check_selector(spec, "daemonset"), *_check_template(spec, "DaemonSet")]


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
