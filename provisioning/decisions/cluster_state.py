"""Reads from a KubeBlocks Cluster what its phase alone doesn't say: who stopped it, whether its spec is rolled out,
whether an operator looks at it, and what keeps it from being deleted. Pure.

Source: recordings of KubeBlocks v1.0.2. Its versions before 1.0 stop a component by setting its replicas to 0.
"""

from datetime import datetime, timedelta

from provisioning.objects.credentials import component_of
from provisioning.objects.readers import Object, created_at, mapping, metadata_of, moment, number, objects, text

# The operator writes its finalizer within 0.3 s of the creation.
OPERATOR_PATIENCE = timedelta(seconds=10)
KEPT_POLICY = "DoNotTerminate"
_STOPPED = ("Stopped", "Stopping")
_OPERATOR = "kubeblocks"
_HOW_TO_START_IT = (
    "Look at its Deployment: `kubectl get deployments -A -l app.kubernetes.io/name=kubeblocks`. The panel continues "
    "automatically."
)


def phase_of(cluster: Object | None) -> str:
    return text(mapping(mapping(cluster).get("status")).get("phase"))


def _component(cluster: Object | None) -> Object:
    """Return the spec of the component that the project uses."""
    name = component_of(cluster)
    specs = objects(mapping(mapping(cluster).get("spec")).get("componentSpecs"))
    return next((spec for spec in specs if text(spec.get("name")) == name), {})


def is_stopped(cluster: Object) -> bool:
    """Whether somebody stopped the database: it does not start by itself."""
    component = _component(cluster)
    if component.get("stop") is True:
        return True
    is_legacy = not text(cluster.get("apiVersion")).endswith("/v1")
    return phase_of(cluster) in _STOPPED and is_legacy and component.get("replicas") == 0


def explain_stopped(cluster: Object) -> str:
    """Return that the database is stopped, by what, and how to start it."""
    metadata = metadata_of(cluster)
    name, namespace = text(metadata.get("name"), 253), text(metadata.get("namespace"), 63)
    is_flag = _component(cluster).get("stop") is True
    field = "spec.componentSpecs[].stop is true" if is_flag else "it has 0 replicas"
    state = "is stopping" if phase_of(cluster) == "Stopping" else "is stopped"
    return (
        f"The database {state}: {field}{_who_changed(cluster)}. Its data is kept. It does not start by itself. Start "
        f"it with an OpsRequest of type Start (`kbcli cluster start {name} -n {namespace}`); the panel continues "
        "automatically."
    )


def _who_changed(cluster: Object) -> str:
    """Return who wrote the component last, as far as the API server recorded it."""
    entries = [
        entry
        for entry in objects(metadata_of(cluster).get("managedFields"))
        if "f:componentSpecs" in mapping(mapping(entry.get("fieldsV1")).get("f:spec"))
    ]
    if not entries:
        return ""
    entry = max(entries, key=lambda item: text(item.get("time")))
    manager, at = text(entry.get("manager"), 60), text(entry.get("time"), 30)
    # The operator itself sets the flag only for an OpsRequest.
    how = ", probably for an OpsRequest of type Stop" if manager == _OPERATOR else ""
    return f", last written by {manager}{how}, at {at}" if manager and at else ""


def is_rolled_out(cluster: Object) -> bool:
    """Whether the spec was handed on to every component.

    KubeBlocks sets `upToDate` from 1.0.1 on, with the component's `observedGeneration`. A Cluster without either comes
    from an older version, whose phase has to be believed.
    """
    status = mapping(cluster.get("status"))
    generation, observed = number(metadata_of(cluster).get("generation")), number(status.get("observedGeneration"))
    if observed and observed < generation:
        return False
    components = [mapping(component) for component in mapping(status.get("components")).values()]
    return all(
        component.get("upToDate") is True
        for component in components
        if "upToDate" in component or "observedGeneration" in component
    )


def is_unattended(cluster: Object, now: datetime) -> bool:
    """Whether no operator has looked at a Cluster since its creation, or since its deletion was requested."""
    metadata, status = metadata_of(cluster), mapping(cluster.get("status"))
    deleted = moment(metadata.get("deletionTimestamp"))
    if deleted is not None:
        is_kept = mapping(cluster.get("spec")).get("terminationPolicy") == KEPT_POLICY
        return not is_kept and phase_of(cluster) != "Deleting" and now - deleted > OPERATOR_PATIENCE
    created = created_at(cluster)
    is_untouched = not metadata.get("finalizers") and not status.get("conditions") and not phase_of(cluster)
    return is_untouched and created is not None and now - created > OPERATOR_PATIENCE


def explain_unattended(cluster: Object, now: datetime) -> str:
    """Return what an operator has not done."""
    metadata = metadata_of(cluster)
    deleted = moment(metadata.get("deletionTimestamp"))
    since = deleted or created_at(cluster) or now
    what = "its deletion was requested" if deleted else "its creation"
    return (
        f"KubeBlocks has not looked at the Cluster {text(metadata.get('name'), 253)} in the "
        f"{(now - since).total_seconds():.0f} s since {what}: its operator is probably not running, or does not watch "
        f"this namespace. {_HOW_TO_START_IT}"
    )


def explain_kept(cluster: Object) -> str:
    """Return why KubeBlocks keeps a Cluster whose deletion was requested, and what to do; "" if it doesn't."""
    metadata = metadata_of(cluster)
    policy = mapping(cluster.get("spec")).get("terminationPolicy")
    if not metadata.get("deletionTimestamp") or policy != KEPT_POLICY:
        return ""
    name, namespace = text(metadata.get("name"), 253), text(metadata.get("namespace"), 63)
    patch = '{"spec":{"terminationPolicy":"Delete"}}'
    return (
        f"The terminationPolicy of the Cluster {name} is {KEPT_POLICY}, so KubeBlocks keeps it running. To delete it "
        f"with its data: `kubectl -n {namespace} patch cluster {name} --type merge -p '{patch}'`."
    )
