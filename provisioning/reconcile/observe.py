"""What one pass has seen of its project's objects, fetched when a decision needs it and once a pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from projects.domain.connection import Connection
from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project, Sandbox
from provisioning import heartbeats
from provisioning.decisions.readiness import Readiness, State, explain_pod, judge_cluster, judge_sandbox
from provisioning.decisions.types import Observed, ObservedCredentials, Remaining, Verification
from provisioning.kube.client import Kube, connect
from provisioning.kube.kinds import POD, SECRET, SERVICE, STATEFULSET, Kind, cluster_kind
from provisioning.models import ClusterChange
from provisioning.objects.credentials import (
    Missing,
    component_of,
    environment_digest,
    read_connection,
    service_names,
)
from provisioning.objects.diff import Difference
from provisioning.objects.endpoints import annotated_endpoint
from provisioning.objects.manifests import CLUSTER_V1, SandboxSpec, ingress_host
from provisioning.objects.names import INSTANCE_LABEL
from provisioning.reconcile.sandbox_spec import build_spec

# Asking why a pod is not ready is worth a request only when it takes longer than it should.
_POD_PATIENCE = timedelta(seconds=8)


@dataclass
class World:
    """The cluster as one pass knows it. Actions put in what the API server answered them."""

    connect: Callable[[], Kube] = connect
    cluster: Mapping[str, Any] | None = None
    is_cluster_known: bool = False
    secrets: list[Mapping[str, Any]] | None = None
    service: Mapping[str, Any] | None = None
    statefulset: Mapping[str, Any] | None = None
    is_statefulset_known: bool = False
    sandbox_note: str = ""
    verification: Verification | None = None
    verification_note: str = ""
    # Of the sandbox, where a pass looks at all of it.
    sandbox_service: Mapping[str, Any] | None = None
    is_sandbox_service_known: bool = False
    labelled: dict[Kind, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    # What differs from what was applied, None until it was looked for; complete where everything was compared.
    drift: tuple[Difference, ...] | None = None
    is_drift_complete: bool = False
    remaining: dict[tuple[Kind, str, str], Remaining] = field(default_factory=dict)
    # What has the label of a project that is deleted, and was made by somebody else.
    left: list[tuple[Kind, str, str]] = field(default_factory=list)
    # What this pass has asked the deletion of: it is not asked twice, even if the API server says yes and does nothing.
    asked_to_go: set[tuple[Kind, str, str]] = field(default_factory=set)

    @property
    def kube(self) -> Kube:
        """The client, made when the first request needs it: not all passes do. Raises NotConfiguredError."""
        return self.connect()

    def forget_sandbox(self) -> None:
        """Everything of the sandbox but its StatefulSet was applied anew."""
        self.sandbox_service, self.is_sandbox_service_known = None, False
        self.labelled, self.drift = {}, None

    def forget_cluster(self) -> None:
        self.cluster, self.is_cluster_known, self.secrets, self.service = None, False, None, None


def cluster_api(world: World, database: DatabaseCluster | None) -> Kind:
    """Return the kind to address a project's Cluster by: what it was written with, else what is served."""
    return cluster_kind(world.kube.cluster_api_version(database.api_version if database else ""))


def observe_running(
    world: World, project: Project, database: DatabaseCluster, sandbox: Sandbox | None, now: datetime
) -> Observed:
    """Return what a running project's next decision needs. Raises KubeError."""
    is_followed = is_just_captured(project, database, now)
    if not world.is_cluster_known and not is_followed:
        world.cluster = world.kube.get_or_none(cluster_api(world, database), database.namespace, database.name)
        world.is_cluster_known = True
    cluster = judge_cluster(world.cluster) if world.is_cluster_known else _as_captured(project, database)
    credentials, missing = ObservedCredentials.UNKNOWN, None
    if cluster.state is State.READY and not is_followed:
        found = observe_connection(world, database)
        if isinstance(found, Missing):
            credentials, missing = ObservedCredentials.MISSING, found
        else:
            credentials = ObservedCredentials.SAME if found == database.connection else ObservedCredentials.CHANGED
    if sandbox and sandbox.applied_at and not world.is_statefulset_known:
        world.statefulset = world.kube.get_or_none(STATEFULSET, sandbox.namespace, sandbox.name)
        world.is_statefulset_known = True
        if judge_sandbox(world.statefulset).state is State.WAITING and now - sandbox.applied_at > _POD_PATIENCE:
            pods = world.kube.list_objects(POD, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}")
            world.sandbox_note = next((note for note in map(explain_pod, pods) if note), "")
    variables = project_environment(project)
    captured, default, spec = database.connection, default_connection(project), build_spec(project, sandbox)
    return Observed(
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
    """Whether the database and its captured credentials need no second look: the pass is one of those that wait for
    the sandbox, and the watcher, which would have told of a change, has followed the cluster since before the capture.
    """
    if (
        project.phase != Phase.CREATING
        or project.observed_generation < project.wanted_generation
        or database.phase != Phase.RUNNING
        or database.captured_at is None
        or not (database.is_verified or not settings.VERIFY_CONNECTIONS)
    ):
        return False
    followed = heartbeats.read_watch_coverage(now)
    if followed is None:
        return False
    # By the watcher's clock, which may be behind this one's.
    before = database.captured_at - followed.most_behind
    if followed.since > before:
        return False
    changes = ClusterChange.objects.filter(namespace=database.namespace, cluster=database.name)
    return not changes.filter(at__gte=before).exists()


def _as_captured(project: Project, database: DatabaseCluster) -> Readiness:
    """Return what was seen of the Cluster when its credentials were captured."""
    return Readiness(
        State.READY,
        Reason.READY,
        "",
        phase=database.observed_phase,
        owner=str(project.uid),
        uid=database.object_uid,
        generation=database.wanted_generation,
        observed_generation=database.observed_generation,
    )


def observe_connection(world: World, database: DatabaseCluster) -> Connection | Missing:
    """Read the Cluster's Secrets and Service; return its credentials or what is missing. Raises KubeError."""
    component = component_of(world.cluster)
    if world.secrets is None:
        world.secrets = world.kube.list_objects(
            SECRET,
            database.namespace,
            labels=f"{INSTANCE_LABEL}={database.name},app.kubernetes.io/managed-by=kubeblocks",
        )
        for name in service_names(database.name, component, database.api_version or CLUSTER_V1):
            world.service = world.kube.get_or_none(SERVICE, database.namespace, name)
            if world.service is not None:
                break
    return read_connection(
        world.secrets,
        world.service,
        cluster=database.name,
        component=component,
        namespace=database.namespace,
        hosts=settings.ENDPOINT_HOSTS,
    )


def default_connection(project: Project) -> Connection | None:
    """Return the owner's default database if this project may start with it."""
    return settings.DEFAULT_DATABASE if project.default_database_allowed else None


def project_environment(project: Project) -> dict[str, str]:
    """Return a project's own variables, decrypted, and PROJECT_NAME. Raises UndecryptableValueError."""
    # As a pass fetches it, a project says whether there are any: one query less where there are none.
    rows = project.variables.all() if getattr(project, "has_variables", True) else ()
    return {**{variable.name: variable.value.reveal() for variable in rows}, "PROJECT_NAME": project.name}


def digest_of(variables: Mapping[str, str], connection: Connection, spec: SandboxSpec) -> str:
    """Return the digest of all that a sandbox is made of: when it changes, the sandbox is restarted."""
    environment = {**sandbox_environment(variables, connection), "": spec.fingerprint}
    return environment_digest(environment, settings.SECRET_KEY)


def sandbox_environment(variables: Mapping[str, str], connection: Connection) -> dict[str, str]:
    """Return all that a sandbox gets as its environment: the project's variables, the connection, and how libpq may
    log in with it."""
    return {**variables, **connection.environment, **settings.DATABASE_CLIENT_ENVIRONMENT}


def observe_urls(world: World, project: Project, sandbox: Sandbox) -> dict[str, str]:
    """Return where people reach the sandbox's ports: {port name: URL}. Raises KubeError."""
    spec = build_spec(project, sandbox)
    if spec.domain:
        return {port: f"{spec.scheme}://{ingress_host(sandbox.name, port, spec.domain)}/" for port in spec.ports}
    if not world.is_sandbox_service_known:
        world.sandbox_service = world.kube.get_or_none(SERVICE, sandbox.namespace, sandbox.name)
        world.is_sandbox_service_known = True
    urls = {}
    for port, number in spec.ports.items():
        endpoint = annotated_endpoint(world.sandbox_service, settings.ENDPOINT_HOSTS, port)
        host, shown = endpoint or (f"{sandbox.name}.{sandbox.namespace}.svc", number)
        urls[port] = f"http://{f'[{host}]' if ':' in host else host}:{shown}/"
    return urls
