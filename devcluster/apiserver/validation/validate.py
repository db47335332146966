"""Entry points of validation: the causes of a 422 for creates and updates of any kind.

This module checks metadata. Other modules check the built-in kinds; `custom_resources` checks custom resources.
"""

from __future__ import annotations

from collections.abc import Callable

from devcluster.apiserver.errors import (
    Cause,
    JsonObject,
    cause_forbidden,
    cause_invalid,
    cause_required,
    cause_too_long,
)
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.validation import access, config, custom_resources, names, network, pods, workloads

_TOTAL_ANNOTATION_BYTES = 256 * 1024
_STANDARD_FINALIZERS = {"kubernetes", "orphan", "foregroundDeletion"}
_FREELY_NAMED = {"events", "poddisruptionbudgets.policy"}
"""Kinds whose names the real server does not validate."""
_CHECKED_ONCE = {
    "deployments.apps", "networkpolicies.networking.k8s.io", "resourcequotas", "services", "statefulsets.apps",
}  # fmt: skip
"""Kinds whose own checks of an update don't include those of a create's metadata."""
_UPDATED_OTHERWISE = {"pods", "statefulsets.apps"}
"""Kinds whose check of an update stands for itself: that of a create is no part of it."""
_LABEL_NAMED = {"namespaces", "services", "statefulsets.apps"}

_CREATE: dict[str, Callable[[JsonObject], list[Cause]]] = {
    "pods": pods.check_pod,
    "configmaps": config.check_config_map,
    "secrets": config.check_secret,
    "persistentvolumeclaims": config.check_claim,
    "resourcequotas": config.check_quota,
    "leases.coordination.k8s.io": config.check_lease,
    "events": config.check_event,
    "services": network.check_service,
    "ingresses.networking.k8s.io": network.check_ingress,
    "networkpolicies.networking.k8s.io": network.check_network_policy,
    "statefulsets.apps": workloads.check_stateful_set,
    "deployments.apps": workloads.check_deployment,
    "replicasets.apps": workloads.check_replica_set,
    "daemonsets.apps": workloads.check_daemon_set,
    "jobs.batch": workloads.check_job,
    "cronjobs.batch": workloads.check_cron_job,
    "poddisruptionbudgets.policy": workloads.check_disruption_budget,
    "roles.rbac.authorization.k8s.io": access.check_role,
    "clusterroles.rbac.authorization.k8s.io": access.check_role,
    "rolebindings.rbac.authorization.k8s.io": access.check_binding,
    "clusterrolebindings.rbac.authorization.k8s.io": access.check_binding,
    "customresourcedefinitions.apiextensions.k8s.io": custom_resources.check_definition,
}
_UPDATE: dict[str, Callable[[JsonObject, JsonObject], list[Cause]]] = {
    "configmaps": config.check_config_map_update,
    "secrets": config.check_secret_update,
    "persistentvolumeclaims": config.check_claim_update,
    "services": network.check_service_update,
    "pods": pods.check_pod_update,
    "statefulsets.apps": workloads.check_stateful_set_update,
    "deployments.apps": workloads.check_selector_update,
    "replicasets.apps": workloads.check_selector_update,
    "daemonsets.apps": workloads.check_selector_update,
    "jobs.batch": workloads.check_job_update,
    "rolebindings.rbac.authorization.k8s.io": access.check_binding_update,
    "clusterrolebindings.rbac.authorization.k8s.io": access.check_binding_update,
    "storageclasses.storage.k8s.io": config.check_storage_class_update,
}
_STATUS: dict[str, Callable[[JsonObject], list[Cause]]] = {
    "statefulsets.apps": workloads.check_stateful_set_status,
    "namespaces": config.check_namespace_status,
    "deployments.apps": workloads.check_deployment_status,
    "services": network.check_service_status,
    "persistentvolumeclaims": config.check_claim_status,
}


def validate_create(kind: ResourceType, body: JsonObject) -> list[Cause]:
    """Return the causes of a refused create; empty if the object is valid."""
    causes = _check_metadata(kind, body["metadata"])
    if not kind.builtin:
        return causes + custom_resources.check_custom(kind, body, None)
    check = _CREATE.get(kind.table)
    return causes + (check(body) if check is not None else [])


def validate_update(kind: ResourceType, body: JsonObject, live: JsonObject, subresource: str) -> list[Cause]:
    """Return the causes of a refused update of `live` to `body`, the complete new object."""
    causes = _check_metadata_update(kind, body["metadata"], live["metadata"], subresource)
    if not kind.builtin:
        return causes + custom_resources.check_custom(kind, body, live)
    if subresource:
        check_status = _STATUS.get(kind.table)
        return causes + (check_status(body) if check_status is not None and subresource == "status" else [])
    check, compare = _CREATE.get(kind.table), _UPDATE.get(kind.table)
    if check is not None and kind.table not in _UPDATED_OTHERWISE:
        causes += check(body)
    if compare is not None:
        causes += compare(body, live)
    return causes


def _check_metadata(kind: ResourceType, metadata: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    name = metadata.get("name") or ""
    if not name:
        causes.append(cause_required("metadata.name", "name or generateName is required"))
    else:
        causes += [cause_invalid("metadata.name", name, fault) for fault in _name_faults(kind, name)]
    if metadata.get("generateName"):
        base = metadata["generateName"].rstrip("-") or metadata["generateName"]
        generated = [
            cause_invalid("metadata.generateName", metadata["generateName"], fault)
            for fault in _name_faults(kind, base)
        ]
        causes = generated + causes
    causes += names.check_labels(metadata.get("labels"), "metadata.labels")
    return causes + _check_shared_metadata(kind, metadata)


def _name_faults(kind: ResourceType, name: str) -> list[str]:
    if kind.builtin and kind.table in _FREELY_NAMED:
        return []
    if kind.builtin and kind.table in _LABEL_NAMED:
        return names.label_faults(name)
    if kind.builtin and kind.group == "rbac.authorization.k8s.io":
        return names.path_segment_faults(name)
    return names.subdomain_faults(name)


def _check_shared_metadata(kind: ResourceType, metadata: JsonObject) -> list[Cause]:
    finalizers = _check_finalizers(metadata, is_builtin=kind.builtin)
    return _check_annotations(metadata) + _check_owners(metadata) + finalizers


def _check_annotations(metadata: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    for key, value in (metadata.get("annotations") or {}).items():
        causes += [cause_invalid("metadata.annotations", key, fault) for fault in names.qualified_faults(key.lower())]
        size += len(key.encode()) + len(value.encode("utf-8", "surrogatepass"))
    if size > _TOTAL_ANNOTATION_BYTES:
        causes.append(cause_too_long("metadata.annotations", f"may not be more than {_TOTAL_ANNOTATION_BYTES} bytes"))
    return causes


def _check_owners(metadata: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    controllers = 0
    for owner in metadata.get("ownerReferences") or ():
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                detail = "version must not be empty" if field == "apiVersion" else "must not be empty"
                causes.append(cause_invalid(f"metadata.ownerReferences.{field}", "", detail))
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        causes.append(
            cause_invalid(
                "metadata.ownerReferences",
                metadata["ownerReferences"],
                'Only one reference can have Controller set to true. Found "true" in references for '
                + " and ".join(
                    f"{one.get('kind')}/{one.get('name')}"
                    for one in metadata["ownerReferences"]
                    if one.get("controller")
                ),
            )
        )
    return causes


def _check_finalizers(metadata: JsonObject, *, is_builtin: bool) -> list[Cause]:
    causes: list[Cause] = []
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        causes += [
            cause_invalid("metadata.finalizers", finalizer, fault) for fault in names.qualified_faults(finalizer)
        ]
        if is_builtin and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            causes.append(
                cause_invalid(
                    f"metadata.finalizers[{index}]",
                    finalizer,
                    "name is neither a standard finalizer name nor is it fully qualified",
                )
            )
    return causes


def _check_metadata_update(kind: ResourceType, new: JsonObject, old: JsonObject, subresource: str) -> list[Cause]:
    """Return the causes as often as the real server reports them: each of its layers checks metadata again."""
    common = names.check_labels(new.get("labels"), "metadata.labels") + _check_annotations(new) + _check_owners(new)
    full = common + _check_finalizers(new, is_builtin=kind.builtin)
    added = [one for one in new.get("finalizers") or () if one not in (old.get("finalizers") or ())]
    update = list(common)
    if "deletionTimestamp" in old and added:
        update.append(
            cause_forbidden(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{', '.join(_go(one) for one in added)}}}",
            )
        )
    again = full if kind.builtin and not subresource and kind.table not in _CHECKED_ONCE else []
    return full + update * 2 + again


def _go(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
