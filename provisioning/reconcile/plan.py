"""Plans: what the next step of a pass would be. A plan observes and decides as a pass does, and applies nothing.

Manifests are sent to the API server as a dry run, so admission, defaults and refusals are the real ones. A plan holds
no lease, so it can't store its context.
"""

import uuid
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import asdict, dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, assert_never

from django.conf import settings

from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason, Step
from projects.models import DatabaseCluster, Project
from projects.services.adoption import Adoptable
from provisioning.decisions.types import Action, Decision
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import kind_of
from provisioning.objects.diff import Difference, conceal, describe, find_drift
from provisioning.objects.names import INSTANCE_LABEL
from provisioning.objects.readers import Object, labels_of, metadata_of, text
from provisioning.reconcile.apply_database import build_cluster, build_cluster_labels, ensure_database
from provisioning.reconcile.apply_sandbox import build_sandbox, ensure_sandbox, sandbox_connection
from provisioning.reconcile.context import PassContext, build_context
from provisioning.reconcile.lease import Lease
from provisioning.reconcile.loop import observe_and_decide

# In place of the random part of a name.
_UNCHOSEN = "x" * 6


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """An object that the step would touch. `verb`: apply, label, release, delete, keep or wait for; `diff`: the fields
    that would change."""

    verb: str
    name: str
    diff: list[dict[str, str]] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step, the project's message with it, and the steps that follow.

    `action`: "" if there is nothing to do. `message`: "" for a supposed request, whose step has not begun.
    `adds_project`: whether the project does not exist yet.
    """

    project: str
    action: str
    what: str
    message: str
    objects: list[PlannedObject] = field(default_factory=list)
    afterwards: list[str] = field(default_factory=list)
    drift: list[dict[str, str]] = field(default_factory=list)
    adds_project: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the plan as lines for people."""
        what = f" would {self.what}" if self.action else ": nothing to do"
        yield f"{self.project}{what}. {self.message}".rstrip()
        for item in self.objects:
            yield f"  {item.verb} {item.name}" + (f"  ({item.note})" if item.note else "")
            yield from (f"    {line}" for change in item.diff for line in _diff_lines(change))
        if self.drift and not self.objects:
            yield "  changed outside the panel:"
            for change in self.drift:
                yield f"    {change['object']}"
                yield from (f"      {line}" for line in _diff_lines(change))
        if self.afterwards:
            yield f"  afterwards: {', '.join(self.afterwards)}"


def _diff_lines(change: Mapping[str, str]) -> Iterator[str]:
    if change["live"] != "gone":
        yield f"- {change['path']}: {change['live']}"
    yield f"+ {change['path']}: {change['applied']}"


def plan(
    project: Project,
    now: datetime,
    *,
    desired: DesiredState | None = None,
    delete_adopted: bool = False,
    adopted: Adoptable | None = None,
    is_retry: bool = False,
    on_database: Mapping[str, object] = MappingProxyType({}),
) -> Plan:
    """Return the next step of the project's pass, as if the request that the arguments describe had been made.

    `desired`: a request for this state, repeated if `is_retry`; `adopted`: its database; `on_database`: what another
    request sets on the database's row. The project may be unsaved. Raises KubeError, UndecidedClusterError and
    UndecryptableValueError.
    """
    context = _build_context(project, now)
    if context.project.is_forgotten:
        return Plan(project.name, "", "", "The project was forgotten: no pass runs for it.")
    is_begun = context.project.phase in Phase.in_progress() and desired in (None, context.project.desired_state)
    if desired is not None:
        _suppose(context.project, desired, delete_adopted=delete_adopted, is_retry=is_retry)
    for name, value in on_database.items() if context.database is not None else ():
        setattr(context.database, name, value)
    if adopted is not None:
        _suppose_adopted(context, adopted)
    decision = observe_and_decide(context, now)
    if decision.action is Action.ENSURE_DATABASE:
        # As in a pass, but the row is never stored.
        ensure_database(context)
        decision = observe_and_decide(context, now)
    found = [describe(item) for item in context.snapshot.drift or ()]
    is_new = project._state.adding
    if decision.action is None:
        return Plan(project.name, "", "", decision.project.message, drift=found, adds_project=is_new)
    objects = list(_plan_objects(context, decision))
    return Plan(
        project.name,
        decision.action.value,
        _describe_action(decision.action, context),
        decision.project.message if (desired is None and not on_database) or is_begun else "",
        objects,
        list(_list_later_steps(decision.action)),
        found,
        is_new,
    )


def _describe_action(action: Action, context: PassContext) -> str:
    """Return the action as the end of a sentence that begins with "… would"."""
    database = context.database.name if context.database else ""
    sandbox = context.sandbox.name if context.sandbox else ""
    match action:
        case Action.ENSURE_DATABASE:
            return "choose a name for the database"
        case Action.APPLY_CLUSTER:
            return f"apply the Cluster {database}"
        case Action.ADOPT_CLUSTER:
            return f"adopt {database}, a Cluster that exists: only its labels would change"
        case Action.REPLACE_DATABASE:
            return f"replace the Cluster {database}, which is gone, with a new one"
        case Action.CAPTURE_CREDENTIALS:
            return f"capture the credentials of {database}"
        case Action.RESTORE_SECRET:
            return f"write the verified password of {database} back to its Secret"
        case Action.USE_SECRET:
            return f"use the password in the Secret of {database}, which is not verified"
        case Action.ROTATE_PASSWORD:
            return f"rotate the password of {database}"
        case Action.APPLY_SANDBOX:
            return f"apply the sandbox {sandbox}"
        case Action.APPLY_SANDBOX_WITH_DEFAULT:
            return f"apply the sandbox {sandbox} with the default database"
        case Action.REVERT_DRIFT:
            return "revert changes made outside the panel"
        case Action.DELETE_OBJECTS:
            return "delete its objects in the cluster"
        case Action.RELEASE_CLUSTER:
            return "remove the panel's labels from the Clusters that are kept"
        case Action.FINISH_DELETION:
            return "mark the project as deleted: every object is deleted"
        case Action.FINISH_CANCELLATION:
            return "mark the project as new: every object is deleted"
        case _:
            assert_never(action)


def _build_context(project: Project, now: datetime) -> PassContext:
    """Return a context that can't be stored, as its lease is not held. An unsaved project has no other rows."""
    if project._state.adding:
        supposed = copy(project)
        context = PassContext(Lease.over(supposed, uuid.uuid4(), now), supposed, None, None)
    else:
        context = build_context(Lease.over(Project.objects.for_pass().get(pk=project.pk), uuid.uuid4(), now))
    context.name_suffix = _UNCHOSEN
    return context


def _suppose(project: Project, desired: DesiredState, *, delete_adopted: bool, is_retry: bool) -> None:
    """Change the intent in memory, as a request changes the row."""
    project.wanted_generation += 1
    project.desired_state, project.delete_adopted = desired, delete_adopted
    match desired:
        case DesiredState.RUNNING:
            project.asked_generation = project.wanted_generation
            # Commands may adopt. Retry may adopt if the request that it repeats could.
            project.adopts_by_name = project.adopts_by_name or not is_retry
        case DesiredState.REGISTERED | DesiredState.DELETED:
            project.phase, project.reason = Phase.DELETING, Reason.DELETING


def _suppose_adopted(context: PassContext, cluster: Adoptable) -> None:
    """Make the Cluster the project's database, in memory."""
    live = context.database
    if live is not None and (live.namespace, live.name) == (cluster.namespace, cluster.name):
        return
    context.database = DatabaseCluster(
        project=context.project,
        name=cluster.name,
        namespace=cluster.namespace,
        origin=Origin.ADOPTED,
        object_uid=cluster.uid,
        api_version=cluster.api_version,
    )


def _plan_objects(context: PassContext, decision: Decision) -> Iterator[PlannedObject]:
    """Yield the objects that the step would touch. Raises KubeError."""
    database, snapshot = context.database, context.snapshot
    match decision.action:
        case Action.APPLY_CLUSTER if database is not None and snapshot.cluster is None:
            yield _plan_apply(context, build_cluster(context, database), None)
        case Action.APPLY_CLUSTER | Action.ADOPT_CLUSTER if database is not None:
            yield _plan_labels(context, database)
        case Action.APPLY_SANDBOX:
            yield from _plan_sandbox(context, CredentialsSource.CAPTURED)
        case Action.APPLY_SANDBOX_WITH_DEFAULT:
            yield from _plan_sandbox(context, CredentialsSource.DEFAULT)
        case Action.REVERT_DRIFT:
            for item in snapshot.drift or ():
                yield PlannedObject("apply", f"{item.kind} {item.name}", [describe(item)], item.obstacle)
        case Action.DELETE_OBJECTS | Action.RELEASE_CLUSTER:
            for (_, namespace, _), left in snapshot.remaining.items():
                kind, _, name = left.label.partition(" ")
                verb = "release" if left.is_kept else "delete" if left.is_deletable else "wait for"
                yield PlannedObject(verb, f"{kind} {namespace}/{name}")
            for what, namespace, name in snapshot.foreign:
                yield PlannedObject("keep", f"{what.name} {namespace}/{name}", note="not created by the panel")
        case _:
            return


def _plan_labels(context: PassContext, database: DatabaseCluster) -> PlannedObject:
    name, there = text(metadata_of(context.snapshot.cluster).get("name"), 253), labels_of(context.snapshot.cluster)
    changes = [
        Difference("Cluster", name, f"metadata.labels.{label}", value, there.get(label, "gone"))
        for label, value in build_cluster_labels(context, database).items()
        if there.get(label) != value
    ]
    return PlannedObject("label", f"Cluster {context.project.namespace}/{name}", [describe(item) for item in changes])


def _plan_sandbox(context: PassContext, source: CredentialsSource) -> Iterator[PlannedObject]:
    connection = sandbox_connection(context, source)
    if connection is None:
        return
    sandbox = ensure_sandbox(context)
    for manifest in build_sandbox(context, sandbox, connection).all:
        kind = kind_of(manifest)
        items = context.kube.list_objects(kind, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}")
        name = text(metadata_of(manifest).get("name"), 253)
        live = next((item for item in items if metadata_of(item).get("name") == name), None)
        yield _plan_apply(context, manifest, live)


def _plan_apply(context: PassContext, manifest: Object, live: Object | None) -> PlannedObject:
    """Return what applying the manifest would change, by a dry run. Values of Secrets are concealed."""
    kind = str(manifest["kind"])
    namespace, name = (text(metadata_of(manifest).get(key), 253) for key in ("namespace", "name"))
    note = ""
    if not name.endswith(_UNCHOSEN) or kind == "Cluster":
        try:
            context.kube.apply(manifest, kind_of(manifest).plural, is_dry_run=True)
        except RefusedError as error:
            note = f"refused: {error.code}" if kind == "Secret" else f"refused: {error}"
    sent = conceal(manifest, settings.SECRET_KEY)
    there: Object = conceal({**live, "kind": kind}, settings.SECRET_KEY) if live is not None else {}
    changes = [describe(item) for item in find_drift(sent, there)]
    return PlannedObject("apply", f"{kind} {namespace}/{name}", changes, note or ("" if live else "new"))


def _list_later_steps(action: Action) -> Iterator[str]:
    """Yield the steps that follow."""
    if action in (Action.DELETE_OBJECTS, Action.RELEASE_CLUSTER):
        yield "wait until every object is deleted, then retire the rows"
        return
    if action is Action.ROTATE_PASSWORD:
        yield "verify it by a connection, write it to the database's Secret, restart the sandbox with it"
        return
    order = {
        Action.APPLY_CLUSTER: Step.CLUSTER_APPLIED,
        Action.ADOPT_CLUSTER: Step.CLUSTER_APPLIED,
        Action.REPLACE_DATABASE: Step.REQUESTED,
        Action.CAPTURE_CREDENTIALS: Step.CREDENTIALS_CAPTURED,
        Action.APPLY_SANDBOX: Step.SANDBOX_APPLIED,
    }
    reached = order.get(action)
    if reached is not None:
        steps = list(Step)
        yield from (str(step.label).lower() for step in steps[steps.index(reached) + 1 :])
