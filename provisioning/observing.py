"""What one pass has seen of its project's objects, fetched when a decision needs it and once a pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from projects.connection import Connection
from projects.models import DatabaseCluster, Project, Sandbox
from projects.states import Origin, Phase
from provisioning import kube as k
from provisioning import liveness
from provisioning.credentials import (
    Missing,
    component_of,
    environment_digest,
    read_connection,
    service_names,
)
from provisioning.decisions import CredentialsSeen, Remaining, Seen, Verification
from provisioning.manifests import CLUSTER_V1, SandboxSpec, ingress_host
from provisioning.models import SecretChange
from provisioning.names import ENDPOINT_ANNOTATION, INSTANCE_LABEL, ORIGIN_LABEL, PROJECT_ID_LABEL, project_id_of
from provisioning.readiness import (
    Object,
    State,
    annotations_of,
    explain_pod,
    judge_cluster,
    judge_sandbox,
    labels_of,
    metadata_of,
    text,
)
from provisioning.sandboxes import build_spec

# Asking why a pod is not ready is worth a request only when it takes longer than it should.
_POD_PATIENCE = timedelta(seconds=8)
_OWNED_KINDS = (k.STATEFULSET, k.POD, k.SERVICE, k.SECRET, k.PVC, k.INGRESS)


@dataclass
class World:
    """The cluster as one pass knows it. Actions put in what the API server answered them."""

    kube: k.Kube
    cluster: Mapping[str, Any] | None = None
    is_cluster_known: bool = False
    secrets: list[Mapping[str, Any]] | None = None
    service: Mapping[str, Any] | None = None
    statefulset: Mapping[str, Any] | None = None
    is_statefulset_known: bool = False
    sandbox_note: str = ""
    verification: Verification | None = None
    verification_note: str = ""
    remaining: dict[tuple[k.Kind, str, str], Remaining] = field(default_factory=dict)

    def forget_cluster(self) -> None:
        self.cluster, self.is_cluster_known, self.secrets, self.service = None, False, None, None


def cluster_api(world: World, database: DatabaseCluster | None) -> k.Kind:
    """Return the kind to address a project's Cluster by: what it was written with, else what is served."""
    return k.cluster_kind(world.kube.cluster_api_version(database.api_version if database else ""))


def observe_running(
    world: World, project: Project, database: DatabaseCluster, sandbox: Sandbox | None, now: datetime
) -> Seen:
    """Return what a running project's next decision needs. Raises KubeError."""
    if not world.is_cluster_known:
        world.cluster = world.kube.get_or_none(cluster_api(world, database), database.namespace, database.name)
        world.is_cluster_known = True
    cluster = judge_cluster(world.cluster)
    credentials, missing = CredentialsSeen.UNKNOWN, None
    if cluster.state is State.READY and not is_just_captured(project, database, now):
        found = observe_connection(world, database)
        if isinstance(found, Missing):
            credentials, missing = CredentialsSeen.MISSING, found
        else:
            credentials = CredentialsSeen.SAME if found == database.connection else CredentialsSeen.CHANGED
    if sandbox and sandbox.applied_at and not world.is_statefulset_known:
        world.statefulset = world.kube.get_or_none(k.STATEFULSET, sandbox.namespace, sandbox.name)
        world.is_statefulset_known = True
        if judge_sandbox(world.statefulset).state is State.WAITING and now - sandbox.applied_at > _POD_PATIENCE:
            pods = world.kube.list_objects(k.POD, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}")
            world.sandbox_note = next((note for note in map(explain_pod, pods) if note), "")
    variables = project_environment(project)
    captured, default, spec = database.connection, default_connection(project), build_spec(project, sandbox)
    return Seen(
        cluster=cluster,
        credentials=credentials,
        missing=missing,
        verification=world.verification,
        verification_note=world.verification_note,
        sandbox=judge_sandbox(world.statefulset) if world.is_statefulset_known else None,
        sandbox_note=world.sandbox_note,
        digest=digest_of(variables, captured, spec) if captured else "",
        default_digest=digest_of(variables, default, spec) if default else "",
    )


def is_just_captured(project: Project, database: DatabaseCluster, now: datetime) -> bool:
    """Whether the captured credentials need no second look: the pass is one of those that wait for the sandbox, and
    the watcher, which would have told of a change of the Secret, has followed the cluster since before the capture."""
    if (
        project.phase != Phase.CREATING
        or project.observed_generation < project.wanted_generation
        or database.phase != Phase.RUNNING
        or database.captured_at is None
        or not (database.is_verified or not settings.VERIFY_CONNECTIONS)
    ):
        return False
    since = liveness.in_step_since(now)
    if since is None or since > database.captured_at:
        return False
    changes = SecretChange.objects.filter(namespace=database.namespace, cluster=database.name)
    return not changes.filter(at__gte=database.captured_at).exists()


def observe_connection(world: World, database: DatabaseCluster) -> Connection | Missing:
    """Read the Cluster's Secrets and Service; return its credentials or what is missing. Raises KubeError."""
    component = component_of(world.cluster)
    if world.secrets is None:
        world.secrets = world.kube.list_objects(
            k.SECRET,
            database.namespace,
            labels=f"{INSTANCE_LABEL}={database.name},app.kubernetes.io/managed-by=kubeblocks",
        )
        for name in service_names(database.name, component, database.api_version or CLUSTER_V1):
            world.service = world.kube.get_or_none(k.SERVICE, database.namespace, name)
            if world.service is not None:
                break
    return read_connection(
        world.secrets, world.service, cluster=database.name, component=component, namespace=database.namespace
    )


def default_connection(project: Project) -> Connection | None:
    """Return the owner's default database if this project may start with it."""
    return settings.DEFAULT_DATABASE if project.default_database_allowed else None


def project_environment(project: Project) -> dict[str, str]:
    """Return a project's own variables, decrypted, and PROJECT_NAME. Raises UndecryptableValueError."""
    variables = {variable.name: variable.value.reveal() for variable in project.variables.all()}
    return {**variables, "PROJECT_NAME": project.name}


def digest_of(variables: Mapping[str, str], connection: Connection, spec: SandboxSpec) -> str:
    """Return the digest of all that a sandbox is made of: when it changes, the sandbox is restarted."""
    return environment_digest({**variables, **connection.environment, "": spec.fingerprint}, settings.SECRET_KEY)


def observe_urls(world: World, project: Project, sandbox: Sandbox) -> dict[str, str]:
    """Return where people reach the sandbox's ports: {port name: URL}. Raises KubeError."""
    spec = build_spec(project, sandbox)
    if spec.domain:
        return {port: f"{spec.scheme}://{ingress_host(sandbox.name, port, spec.domain)}/" for port in spec.ports}
    service = world.kube.get_or_none(k.SERVICE, sandbox.namespace, sandbox.name)
    annotations = annotations_of(service)
    return {
        port: f"http://{annotations[f'{ENDPOINT_ANNOTATION}.{port}']}/"
        if f"{ENDPOINT_ANNOTATION}.{port}" in annotations
        else f"http://{sandbox.name}.{sandbox.namespace}.svc:{number}/"
        for port, number in spec.ports.items()
    }


def observe_remaining(world: World, project: Project, namespaces: set[str]) -> Seen:
    """Return what is left of a project that is to be deleted: everything with its label, and what KubeBlocks derived
    from its Clusters. Raises KubeError."""
    remaining: dict[tuple[k.Kind, str, str], Remaining] = {}
    selector = f"{PROJECT_ID_LABEL}={project.uid}"
    for namespace in sorted(namespaces):
        rows = list(project.databases.filter(namespace=namespace))
        adopted_names = {row.name for row in rows if row.origin == Origin.ADOPTED}
        doomed_names = {row.name for row in rows if row.origin == Origin.CREATED or project.delete_adopted}
        clusters: list[Object] = []
        try:
            cluster_kind = k.cluster_kind(world.kube.cluster_api_version())
            clusters += world.kube.list_objects(cluster_kind, namespace, labels=selector)
            found = {text(metadata_of(item).get("name")) for item in clusters}
            uids = {row.name: row.object_uid for row in rows}
            for name in sorted(doomed_names - found):
                item = world.kube.get_or_none(cluster_kind, namespace, name)
                if item is None:
                    continue
                if project_id_of(labels_of(item)) is None and text(metadata_of(item).get("uid")) == uids[name]:
                    clusters.append(item)  # ours, whose label someone took off
                else:
                    doomed_names.discard(name)  # somebody else's by now: neither it nor its Secrets are waited for
        except k.RefusedError as error:
            if error.code != 404:
                raise  # 404: no KubeBlocks, no Clusters
        for item in clusters:
            name = text(metadata_of(item).get("name"))
            # The row knows too: a Cluster that people labelled by hand has no origin label.
            is_adopted = labels_of(item).get(ORIGIN_LABEL) == Origin.ADOPTED or name in adopted_names
            _add(remaining, cluster_kind, namespace, item, is_adopted=is_adopted)
            if not is_adopted or project.delete_adopted:
                doomed_names.add(name)
        for kind in _OWNED_KINDS:
            for item in world.kube.list_objects(kind, namespace, labels=selector):
                _add(remaining, kind, namespace, item)
        if doomed_names:
            instances = f"{INSTANCE_LABEL} in ({','.join(sorted(doomed_names))})"
            for kind in (k.SECRET, k.PVC):
                for item in world.kube.list_objects(kind, namespace, labels=instances):
                    if not labels_of(item).get(PROJECT_ID_LABEL):
                        _add(remaining, kind, namespace, item, is_ours=False)
    world.remaining = remaining
    return Seen(cluster=judge_cluster(None), remaining=tuple(remaining.values()))


def _add(
    remaining: dict[tuple[k.Kind, str, str], Remaining],
    kind: k.Kind,
    namespace: str,
    item: Object,
    *,
    is_adopted: bool = False,
    is_ours: bool = True,
) -> None:
    name = text(metadata_of(item).get("name"))
    is_deleting = bool(metadata_of(item).get("deletionTimestamp"))
    # Pods go with their StatefulSet.
    is_ours = is_ours and kind is not k.POD
    remaining[kind, namespace, name] = Remaining(f"{kind.name} {name}", is_deleting, is_adopted, is_ours)
