"""Observing a running project: its Cluster, credentials and sandbox, each read once a pass, when it is needed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from projects.domain.connection import Connection
from projects.domain.states import Origin, Phase, Reason
from projects.models import DatabaseCluster, Project, Sandbox
from provisioning import heartbeats
from provisioning.decisions.cluster_state import explain_unattended, is_unattended
from provisioning.decisions.proofs import compare_credentials, is_proof_due
from provisioning.decisions.readiness import Readiness, State, judge_cluster, judge_sandbox
from provisioning.decisions.types import CREDENTIALS_UNREAD, ExistingDatabase, Observed, ObservedCredentials
from provisioning.identity import prove_own_cluster
from provisioning.kube.kinds import SECRET, SERVICE, STATEFULSET, Kind, cluster_kind
from provisioning.models import ClusterChange
from provisioning.objects.credentials import (
    Missing,
    choose_secret,
    component_of,
    environment_digest,
    read_connection,
    service_names,
)
from provisioning.objects.endpoints import annotated_endpoint
from provisioning.objects.manifests import CLUSTER_V1, SandboxSpec, ingress_host
from provisioning.objects.names import (
    INSTANCE_LABEL,
    PROJECT_ID_LABEL,
    AdoptionNeededError,
    find_existing_cluster,
    read_existing_cluster,
)
from provisioning.objects.readers import uid_of
from provisioning.reconcile.context import PassContext, Proof
from provisioning.reconcile.diagnose import explain_database, explain_sandbox
from provisioning.reconcile.sandbox_spec import build_spec
from provisioning.reconcile.verify import verify_connection


def cluster_api(context: PassContext, database: DatabaseCluster) -> Kind:
    """Return the kind of a project's Cluster, in the API version that it was written in, else in one that is served.
    Raises KubeError."""
    return cluster_kind(context.kube.cluster_api_version(database.api_version))


def observe_existing_database(context: PassContext) -> Observed:
    """Look for a Cluster that is the project's though no live row says so.

    A Cluster that an earlier row of the project names by its uid is the project's. One that only a label or a name
    points to needs somebody who may adopt, since anyone who may write Clusters can label or name one like that. Raises
    KubeError, UndecidedClusterError.
    """
    snapshot = context.snapshot
    if snapshot.existing is None:
        snapshot.existing = _find_existing_database(context)
    return Observed(cluster=judge_cluster(None), existing=snapshot.existing)


def _find_existing_database(context: PassContext) -> ExistingDatabase | None:
    project, kube = context.project, context.kube
    kind = cluster_kind(kube.cluster_api_version())
    listed = kube.list_objects(kind, project.namespace, labels=f"{PROJECT_ID_LABEL}={project.uid}")
    listed += kube.list_objects(kind, project.namespace, labels=f"!{PROJECT_ID_LABEL}")
    clusters = [read_existing_cluster(item) for item in listed]
    others = DatabaseCluster.objects.filter(retired_at=None).exclude(project_id=project.pk)
    named = Q(namespace=project.namespace, name__in=[cluster.name for cluster in clusters])
    held = others.filter(named | Q(object_uid__in=[cluster.uid for cluster in clusters if cluster.uid]))
    taken = {value for row in held.values_list("name", "object_uid") for value in row if value}
    own = DatabaseCluster.objects.filter(project_id=project.pk).exclude(object_uid="").order_by("pk")
    earlier = {row.object_uid: row for row in own}
    found = find_existing_cluster(
        clusters,
        kubernetes_name=project.kubernetes_name,
        raw_name=project.name,
        uid=project.uid,
        known_uids=earlier,
        taken=taken,
    )
    if found is None:
        return None
    if found.uid in earlier:
        return ExistingDatabase(found.name, Origin(earlier[found.uid].origin), found.uid)
    if not project.adopts_by_name:
        raise AdoptionNeededError(found.name, project.namespace)
    return ExistingDatabase(found.name, Origin.ADOPTED, found.uid)


def observe_running(context: PassContext, database: DatabaseCluster, now: datetime) -> Observed:
    """Return what the next decision about a running project needs. Raises KubeError, UndecryptableValueError."""
    project, sandbox, snapshot = context.project, context.sandbox, context.snapshot
    is_unchanged = is_just_captured(project, database, now)
    if not snapshot.is_cluster_known and not is_unchanged:
        snapshot.cluster = context.kube.get_or_none(cluster_api(context, database), database.namespace, database.name)
        snapshot.is_cluster_known = True
        if snapshot.cluster is None and database.applied_at is not None:
            # Everything is missing in another cluster.
            prove_own_cluster(context.kube, is_fresh=True)
    cluster = judge_cluster(snapshot.cluster) if snapshot.is_cluster_known else _as_captured(project, database)
    cluster = _explain_cluster(context, database, cluster, now)
    captured = database.connection
    credentials: ObservedCredentials | Missing = CREDENTIALS_UNREAD
    in_force = captured
    if is_unchanged:
        credentials = ObservedCredentials.SAME
    elif cluster.state is State.READY:
        found = observe_connection(context, database)
        credentials = compare_with_secret(context, database, captured, found)
        in_force = captured if isinstance(found, Missing) else found
    _observe_sandbox(context, now)
    is_ours = cluster.owner == str(project.uid) and database.applied_at is not None
    if credentials is not CREDENTIALS_UNREAD and is_ours:
        _prove(context, database, captured, in_force, now)
    proof = snapshot.proofs.get(in_force) if in_force else None
    captured_proof = snapshot.proofs.get(captured) if captured else None
    variables = project_environment(project)
    default, spec = default_connection(project), build_spec(project, sandbox)
    return Observed(
        cluster=cluster,
        serves=_serves(context, database, cluster, captured),
        credentials=credentials,
        verification=proof.verification if proof else None,
        verification_note=proof.note if proof else "",
        captured_verification=captured_proof.verification if captured_proof else None,
        sandbox=judge_sandbox(snapshot.statefulset) if snapshot.is_statefulset_known else None,
        sandbox_note=snapshot.sandbox_note,
        digest=digest_of(variables, captured, spec) if captured else "",
        default_digest=digest_of(variables, default, spec) if default else "",
    )


def _explain_cluster(context: PassContext, database: DatabaseCluster, cluster: Readiness, now: datetime) -> Readiness:
    """Return what was judged with its cause, if it is late or if no operator looks at it. Raises KubeError."""
    snapshot = context.snapshot
    if snapshot.cluster is not None and is_unattended(snapshot.cluster, now):
        message = explain_unattended(snapshot.cluster, now)
        return replace(cluster, reason=Reason.OPERATOR_NOT_RUNNING, message=message)
    if snapshot.database_note is None:
        snapshot.database_note = explain_database(context, database, cluster, now)
    if not snapshot.database_note:
        return cluster
    return replace(cluster, message=f"{cluster.message} {snapshot.database_note}")


def _serves(context: PassContext, database: DatabaseCluster, cluster: Readiness, captured: Connection | None) -> bool:
    """Whether a database that KubeBlocks is changing accepts connections with its captured credentials."""
    is_ours = cluster.owner == str(context.project.uid) and database.running_at is not None
    if not (cluster.is_changing and is_ours and captured and settings.VERIFY_CONNECTIONS):
        return False
    proofs = context.snapshot.proofs
    if captured not in proofs:
        proof = Proof(*verify_connection(captured), timezone.now())
        # Only a success is recorded: that a database which restarts refuses connections says nothing of its password.
        if not proof.is_verified:
            return False
        proofs[captured] = proof
    return proofs[captured].is_verified


def compare_with_secret(
    context: PassContext, database: DatabaseCluster, captured: Connection | None, found: Connection | Missing
) -> ObservedCredentials | Missing:
    """Compare the credentials in the Cluster's Secrets with the captured ones."""
    snapshot = context.snapshot
    if isinstance(found, Missing):
        snapshot.credentials = None
        return found
    secret = choose_secret(snapshot.secrets or [], database.name, component_of(snapshot.cluster))
    snapshot.secret_uid = uid_of(secret)
    snapshot.credentials = compare_credentials(
        found,
        captured,
        was_proved=database.proved_at is not None,
        is_other_secret=database.secret_uid not in ("", snapshot.secret_uid),
        verifies=settings.VERIFY_CONNECTIONS,
    )
    return snapshot.credentials


def _prove(
    context: PassContext,
    database: DatabaseCluster,
    captured: Connection | None,
    in_force: Connection | None,
    now: datetime,
) -> None:
    """Connect with the credentials in force unless they are proved, and with the captured ones where the Secret has
    others that fail. Never while the password is being changed, or if VERIFY_CONNECTIONS is off."""
    if not settings.VERIFY_CONNECTIONS or database.rotation_requested_at is not None or in_force is None:
        return
    snapshot = context.snapshot
    is_known = database.is_verified and in_force == captured and not _wants_proof(context, database, now)
    if not is_known:
        _connect_once(context, in_force)
        is_kept = captured is not None and snapshot.credentials is ObservedCredentials.REPLACED
        if is_kept and captured and not snapshot.proofs[in_force].is_verified:
            _connect_once(context, captured)


def _connect_once(context: PassContext, connection: Connection) -> None:
    proofs = context.snapshot.proofs
    if connection not in proofs:
        proofs[connection] = Proof(*verify_connection(connection), timezone.now())


def _wants_proof(context: PassContext, database: DatabaseCluster, now: datetime) -> bool:
    """Whether verified credentials are to be proved again: a user asked, the time has come, or the sandbox turns
    unready."""
    sandbox, statefulset = context.sandbox, context.snapshot.statefulset
    was_ready = sandbox is not None and sandbox.phase == Phase.RUNNING and sandbox.ready_at is not None
    is_turning = was_ready and context.snapshot.is_statefulset_known
    return (
        database.verification_requested_at is not None
        or is_proof_due(str(context.project.uid), database.proved_at, now, settings.VERIFY_INTERVAL_S)
        or (is_turning and judge_sandbox(statefulset).state is not State.READY)
    )


def _observe_sandbox(context: PassContext, now: datetime) -> None:
    sandbox, snapshot = context.sandbox, context.snapshot
    if sandbox is None or sandbox.applied_at is None or snapshot.is_statefulset_known:
        return
    snapshot.statefulset = context.kube.get_or_none(STATEFULSET, sandbox.namespace, sandbox.name)
    snapshot.is_statefulset_known = True
    if judge_sandbox(snapshot.statefulset).state is State.WAITING:
        snapshot.sandbox_note = explain_sandbox(context, sandbox, now)


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


def observe_connection(context: PassContext, database: DatabaseCluster) -> Connection | Missing:
    """Read the Cluster's Secrets and Service; return its credentials or what is missing. Raises KubeError."""
    snapshot, component = context.snapshot, component_of(context.snapshot.cluster)
    if snapshot.secrets is None:
        snapshot.secrets = context.kube.list_objects(
            SECRET,
            database.namespace,
            labels=f"{INSTANCE_LABEL}={database.name},app.kubernetes.io/managed-by=kubeblocks",
        )
        for name in service_names(database.name, component, database.api_version or CLUSTER_V1):
            snapshot.service = context.kube.get_or_none(SERVICE, database.namespace, name)
            if snapshot.service is not None:
                break
    return read_connection(
        snapshot.secrets,
        snapshot.service,
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
    rows = project.variables.all() if project.has_variables else ()
    return {**{variable.name: variable.value.reveal() for variable in rows}, "PROJECT_NAME": project.name}


def digest_of(variables: Mapping[str, str], connection: Connection, spec: SandboxSpec) -> str:
    """Return the digest of a sandbox's environment and spec. The sandbox restarts when it changes."""
    environment = {**sandbox_environment(variables, connection), "": spec.fingerprint}
    return environment_digest(environment, settings.SECRET_KEY)


def sandbox_environment(variables: Mapping[str, str], connection: Connection) -> dict[str, str]:
    """Return all that a sandbox gets as its environment: the project's variables, the connection, and how libpq may
    log in with it."""
    return {**variables, **connection.environment, **settings.DATABASE_CLIENT_ENVIRONMENT}


def observe_urls(context: PassContext, sandbox: Sandbox) -> dict[str, str]:
    """Return where people reach the sandbox's ports: {port name: URL}. Raises KubeError."""
    spec, snapshot = build_spec(context.project, sandbox), context.snapshot
    if spec.domain:
        return {port: f"{spec.scheme}://{ingress_host(sandbox.name, port, spec.domain)}/" for port in spec.ports}
    if not snapshot.is_sandbox_service_known:
        snapshot.sandbox_service = context.kube.get_or_none(SERVICE, sandbox.namespace, sandbox.name)
        snapshot.is_sandbox_service_known = True
    urls = {}
    for port, number in spec.ports.items():
        endpoint = annotated_endpoint(snapshot.sandbox_service, settings.ENDPOINT_HOSTS, port).allowed
        host, shown = endpoint or (f"{sandbox.name}.{sandbox.namespace}.svc", number)
        urls[port] = f"http://{f'[{host}]' if ':' in host else host}:{shown}/"
    return urls
