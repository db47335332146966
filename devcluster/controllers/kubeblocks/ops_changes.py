"""What an OpsRequest changes in the spec of a Cluster, and why it can be refused. Pure."""

from __future__ import annotations

import copy

from devcluster.apiserver.schema.quantities import QuantityError, value_of
from devcluster.client.client import Object
from devcluster.controllers.kubeblocks.states import is_current, spec_of

REPLICAS_ANNOTATION = "kubeblocks-stand-in/replicas-before-stop"
RESTART_ANNOTATION = "kubeblocks.io/restart"
_UP = ("Running", "Failed", "Abnormal")
# Phases of the Cluster in which a request of the type can start; None: in any.
ALLOWED: dict[str, tuple[str, ...] | None] = {
    "Start": (*_UP, "Updating", "Stopped", "Stopping"),
    "Stop": (*_UP, "Updating"),
    "Restart": _UP,
    "VerticalScaling": _UP,
    "HorizontalScaling": _UP,
    "VolumeExpansion": None,
}
_LISTS = {
    "Restart": "restart",
    "VerticalScaling": "verticalScaling",
    "HorizontalScaling": "horizontalScaling",
    "VolumeExpansion": "volumeExpansion",
}


def target_of(request: Object) -> str:
    """Return the name of the Cluster that the request is for."""
    spec = request.get("spec") or {}
    return str(spec.get("clusterName") or spec.get("clusterRef") or "")


def kind_of(request: Object) -> str:
    return str((request.get("spec") or {}).get("type") or "")


def changes_of(request: Object) -> list[Object]:
    """Return the entries of the request, one for each component; none for Start and Stop."""
    found = request["spec"].get(_LISTS.get(kind_of(request), "")) or []
    return [entry for entry in found if isinstance(entry, dict)]


def _component(cluster: Object, name: str) -> Object:
    components: list[Object] = spec_of(cluster).get("componentSpecs") or []
    return next((one for one in components if one.get("name") == name), {})


def refusal_of(request: Object, cluster: Object) -> str:
    """Return why the operator refuses the request, in its words; "" if it accepts it."""
    kind, changes = kind_of(request), changes_of(request)
    if kind not in ALLOWED:
        return f"OpsRequest type {kind} is not served by the stand-in"
    missing = [name for name in (str(one.get("componentName")) for one in changes) if not _component(cluster, name)]
    if missing:
        return (
            f"components: [{' '.join(missing)}] not found, in cluster.spec.componentSpecs or cluster.spec.shardingSpecs"
        )
    for change in changes:
        component = _component(cluster, change["componentName"])
        try:
            refusal = _refused_values(kind, component, change)
        except QuantityError as error:
            refusal = str(error)
        if refusal:
            return refusal
    return ""


def _refused_values(kind: str, component: Object, change: Object) -> str:
    if kind == "HorizontalScaling" and wanted_replicas(component, change) < 1:
        return f"{component.get('replicas') or 1} replicas cannot become {wanted_replicas(component, change)}"
    if kind == "VerticalScaling":
        limits, requests = change.get("limits") or {}, change.get("requests") or {}
        for resource in sorted(limits.keys() & requests.keys()):
            if value_of(str(requests[resource])) > value_of(str(limits[resource])):
                return f'invalid value for "{requests[resource]}": must be less than or equal to {resource} limit'
    if kind == "VolumeExpansion":
        for volume in change.get("volumeClaimTemplates") or []:
            size = _size_of(component, volume["name"])
            if size and value_of(str(volume["storage"])) < value_of(size):
                return (
                    f'requested storage size of volumeClaimTemplate "{volume["name"]}" can not less than '
                    f'status.capacity.storage "{size}" '
                )
    return ""


def wanted_replicas(component: Object, change: Object) -> int:
    now = int(component.get("replicas") or 1)
    out = (change.get("scaleOut") or {}).get("replicaChanges") or 0
    away = (change.get("scaleIn") or {}).get("replicaChanges") or 0
    return int(change["replicas"]) if "replicas" in change else now + int(out) - int(away)


def _template(component: Object, name: str) -> Object:
    templates: list[Object] = component.get("volumeClaimTemplates") or []
    return next((one for one in templates if one.get("name") == name), {})


def _size_of(component: Object, volume: str) -> str:
    spec = _template(component, volume).get("spec") or {}
    return str(((spec.get("resources") or {}).get("requests") or {}).get("storage") or "")


def last_configuration(request: Object, cluster: Object) -> Object | None:
    """Return what a scaling is about to replace, by component; None for other requests."""
    kind, found = kind_of(request), {}
    for change in changes_of(request):
        name = change["componentName"]
        component = _component(cluster, name)
        match kind:
            case "VerticalScaling":
                resources = component.get("resources") or {}
                found[name] = {key: resources[key] for key in ("limits", "requests") if key in resources}
            case "HorizontalScaling":
                found[name] = {"replicas": component.get("replicas", 1)}
            case "VolumeExpansion":
                volumes = [one["name"] for one in change.get("volumeClaimTemplates") or []]
                sizes = [
                    {"name": one, "storage": _size_of(component, one)} for one in volumes if _size_of(component, one)
                ]
                found[name] = {"volumeClaimTemplates": sizes} if sizes else {}
    return {"components": found} if found else None


def patch_of(request: Object, cluster: Object) -> Object:
    """Return the merge patch with which the request changes the Cluster; {} if it changes nothing."""
    kind, components = kind_of(request), copy.deepcopy(spec_of(cluster).get("componentSpecs") or [])
    annotations: Object = {}
    by_name = {one.get("name"): one for one in components}
    if kind in ("Start", "Stop"):
        for component in components:
            annotations |= _set_stopped(cluster, component, is_stopped=kind == "Stop")
    for change in changes_of(request):
        component = by_name[change["componentName"]]
        match kind:
            case "Restart" if is_current(cluster):
                started = {RESTART_ANNOTATION: request["status"]["startTimestamp"]}
                component["annotations"] = {**(component.get("annotations") or {}), **started}
            case "VerticalScaling":
                resources = {key: change[key] for key in ("limits", "requests") if change.get(key)}
                component["resources"] = {**(component.get("resources") or {}), **resources}
            case "HorizontalScaling":
                component["replicas"] = wanted_replicas(component, change)
            case "VolumeExpansion":
                for volume in change.get("volumeClaimTemplates") or []:
                    if template := _template(component, volume["name"]):
                        template["spec"]["resources"]["requests"]["storage"] = volume["storage"]
    if components == spec_of(cluster).get("componentSpecs"):
        return {}
    metadata = {"annotations": annotations} if annotations else {}
    return {"metadata": metadata, "spec": {"componentSpecs": components}}


def _set_stopped(cluster: Object, component: Object, *, is_stopped: bool) -> Object:
    """Stop or start the component; return annotations. 1.0 has a field for it; 0.8 and 0.9 scale to 0 replicas."""
    if is_current(cluster):
        component.pop("stop", None)
        if is_stopped:
            component["stop"] = True
        return {}
    known = cluster["metadata"].get("annotations") or {}
    before = component.get("replicas") or 1
    component["replicas"] = 0 if is_stopped else int(known.get(REPLICAS_ANNOTATION) or 1)
    return {REPLICAS_ANNOTATION: str(before) if is_stopped else None}
