"""Invariants of the panel's rows, its queue and the cluster that hold after any fault. Pure: from Evidence to
sentences.

`check_always` holds at any moment, also during a fault. `check_settled` holds once faults are over, every project has
settled, and a sweep has checked each of them since.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

from projects.domain.connection import InvalidConnectionError, parse_url
from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason
from projects.models import DatabaseCluster, Project, Sandbox
from tests.faults.evidence import MAY_ADOPT, Evidence, Json

_DOMAIN = "controlpanel.fullstackagent.io"
_PROJECT_ID, _ORIGIN, _DIGEST = f"{_DOMAIN}/project-id", f"{_DOMAIN}/origin", f"{_DOMAIN}/environment"
_INSTANCE = "app.kubernetes.io/instance"
_SHORTEST_SECRET = 8


def check_always(evidence: Evidence) -> list[str]:
    """Return a sentence for each violation of what holds at any moment."""
    return [
        *_one_of_each(evidence),
        *_every_object_has_a_row(evidence),
        *_nothing_adopted_is_deleted(evidence),
        *_nothing_is_adopted_unasked(evidence),
        *_every_row_says_why(evidence),
        *_nothing_waits_for_nothing(evidence),
        *_nothing_is_made_up(evidence),
        *_no_name_is_used_twice(evidence),
        *_no_secret_is_written(evidence),
    ]


def check_settled(evidence: Evidence) -> list[str]:
    """Return a sentence for each violation of what holds for settled projects."""
    return [
        *check_always(evidence),
        *_everything_is_settled(evidence),
        *_no_object_outlives_its_row(evidence),
        *_rows_agree_with_the_cluster(evidence),
    ]


# --- objects, read independently of the panel, whose judgment is checked --------------------------------


def _name(item: Json) -> str:
    return str(item["metadata"]["name"])


def _label(item: Json, label: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(label, ""))


def _is_going(item: Json) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def _was_left(evidence: Evidence, item: Json) -> bool:
    return item["metadata"]["uid"] in evidence.orphans


def _of(evidence: Evidence, plural: str, project: Project) -> list[Json]:
    return [item for item in evidence.objects[plural] if _label(item, _PROJECT_ID) == str(project.uid)]


def _find(evidence: Evidence, plural: str, namespace: str, name: str) -> Json | None:
    for item in evidence.objects[plural]:
        if _name(item) == name and item["metadata"].get("namespace") == namespace:
            return item
    return None


def _decode(secret: Json | None, key: str) -> str:
    try:
        return base64.b64decode(((secret or {}).get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _live(rows: dict[int, list[DatabaseCluster]], project: Project) -> DatabaseCluster | None:
    return next((row for row in rows.get(project.pk, ()) if row.retired_at is None), None)


def _live_sandbox(evidence: Evidence, project: Project) -> Sandbox | None:
    return next((row for row in evidence.sandboxes.get(project.pk, ()) if row.retired_at is None), None)


# --- always ------------------------------------------------------------------------------------------------------


def _one_of_each(evidence: Evidence) -> Iterator[str]:
    """A project has at most one live Cluster and one live sandbox, with one row each."""
    for plural, what in (("clusters", "Clusters"), ("statefulsets", "sandboxes")):
        live = [
            item
            for item in evidence.objects[plural]
            if _label(item, _PROJECT_ID) and not _is_going(item) and not _was_left(evidence, item)
        ]
        for uid, count in Counter(_label(item, _PROJECT_ID) for item in live).items():
            if count > 1:
                names = ", ".join(sorted(_name(item) for item in live if _label(item, _PROJECT_ID) == uid))
                yield f"The project {uid} has {count} live {what}: {names}."
    for project in evidence.projects:
        for rows, what in ((evidence.databases, "database"), (evidence.sandboxes, "sandbox")):
            count = sum(row.retired_at is None for row in rows.get(project.pk, ()))
            if count > 1:
                yield f"{project.name} has {count} live {what} rows."
        queued = evidence.queued[project.pk]
        if queued > evidence.most_tasks:
            yield f"{project.name} has {queued} tasks in the queue instead of one."


def _every_object_has_a_row(evidence: Evidence) -> Iterator[str]:
    """Rows are stored before the first call: each object with our labels has a row, live or retired."""
    uids = {str(project.uid): project for project in evidence.projects}
    for plural, rows in (("clusters", evidence.databases), ("statefulsets", evidence.sandboxes)):
        for item in evidence.objects[plural]:
            uid = _label(item, _PROJECT_ID)
            if not uid or uid in evidence.strangers or _was_left(evidence, item):
                continue
            if uid not in uids:
                yield f"{plural}/{_name(item)} has the label of the project {uid}, which has no row."
            elif _name(item) not in {row.name for row in rows.get(uids[uid].pk, ())}:
                yield f"{plural}/{_name(item)} of {uids[uid].name} has no row."


def _nothing_adopted_is_deleted(evidence: Evidence) -> Iterator[str]:
    for one in evidence.kept:
        item = _find(evidence, "clusters", one.namespace, one.name)
        if item is None or item["metadata"]["uid"] != one.uid:
            yield f"The Cluster {one.name}, which the panel did not create, was deleted."
        elif _is_going(item):
            yield f"The Cluster {one.name}, which the panel did not create, is being deleted."
        elif one.owner and _label(item, _PROJECT_ID) != one.owner:
            yield f"The label of {one.name}, which belongs to another panel, was changed."


def _nothing_is_adopted_unasked(evidence: Evidence) -> Iterator[str]:
    """The panel adopts a Cluster only if a user requested that, or by its name if the user may adopt."""
    theirs = {(one.namespace, one.name) for one in evidence.kept}
    for project in evidence.projects:
        told = evidence.events.get(project.pk, ())
        is_asked_for = any(
            event.reason == "AdoptRequested" or (event.reason == Reason.REQUESTED and event.actor == MAY_ADOPT)
            for event in told
        )
        for row in evidence.databases.get(project.pk, ()):
            if row.origin == Origin.ADOPTED and (row.namespace, row.name) in theirs and not is_asked_for:
                yield f"{project.name} has adopted {row.name} without a request of a user who may adopt."


def _every_row_says_why(evidence: Evidence) -> Iterator[str]:
    for project in evidence.projects:
        live = [*evidence.databases.get(project.pk, ()), *evidence.sandboxes.get(project.pk, ())]
        for row in [project, *(row for row in live if row.retired_at is None)]:
            if row.phase not in Phase.values or row.reason not in Reason.values:
                yield f"{row} has the unknown phase {row.phase!r} or reason {row.reason!r}."
            elif not row.message.strip() and row.phase != Phase.NEW:
                yield f"{row} is {row.phase} ({row.reason}) and has no message."
        for event in evidence.events.get(project.pk, ()):
            if event.reason == Reason.INTERNAL_ERROR and not evidence.may_have_internal_errors:
                yield f"A pass of {project.name} failed for an unknown reason: {event.message}"
            if not (event.reason and event.message.strip() and event.actor):
                yield f"An event of {project.name} lacks its reason, message or actor: {event.reason!r}."


def _nothing_waits_for_nothing(evidence: Evidence) -> Iterator[str]:
    """A project that has not settled has a next check, a task or a running pass."""
    for project in evidence.projects:
        is_at_rest = project.phase in (Phase.NEW, Phase.DELETED) and (
            project.observed_generation >= project.wanted_generation
        )
        has_lease = project.lease_until is not None and project.lease_until > evidence.now
        if is_at_rest or project.next_pass_at is not None or has_lease:
            continue
        if project.queued_at is None and project.pk not in evidence.queued:
            yield f"{project.name} is {project.phase}, and no pass will run for it again."


def _nothing_is_made_up(evidence: Evidence) -> Iterator[str]:
    """Captured passwords were in a Secret at some time, and each Running project had a ready sandbox."""
    for project in evidence.projects:
        database, sandbox = _live(evidence.databases, project), _live_sandbox(evidence, project)
        captured = database.connection if database else None
        if captured is not None and captured.password not in evidence.passwords:
            yield f"{project.name} has captured a password that was in no Secret."
        if project.phase == Phase.RUNNING and (sandbox is None or sandbox.name not in evidence.were_ready):
            yield f"{project.name} is Running, but its sandbox was never ready."
        if project.phase == Phase.DELETED and project.next_pass_at is None and not _is_forgotten(project):
            for plural in evidence.objects:
                if left := [_name(one) for one in _of(evidence, plural, project) if not _was_left(evidence, one)]:
                    yield f"{project.name} is deleted and no pass is due, but it still has {plural}/{', '.join(left)}."


def _is_forgotten(project: Project) -> bool:
    """Whether the project was forgotten, so that its objects stay."""
    return project.reason == Reason.FORGOTTEN


def _no_name_is_used_twice(evidence: Evidence) -> Iterator[str]:
    """KubeBlocks gave wrong passwords to Clusters whose name had been used before."""
    made = Counter(
        (row.namespace, row.name)
        for rows in evidence.databases.values()
        for row in rows
        if row.origin == Origin.CREATED and row.object_uid
    )
    # The panel finds a Cluster of the same project by its label and creates a second row for it.
    uids = {(row.namespace, row.name): row.object_uid for rows in evidence.databases.values() for row in rows}
    for rows in evidence.databases.values():
        for row in rows:
            key = (row.namespace, row.name)
            if made[key] > 1 and row.object_uid and row.object_uid != uids[key]:
                yield f"The name {row.name} was used for two Clusters."


def _no_secret_is_written(evidence: Evidence) -> Iterator[str]:
    for secret in sorted(evidence.secrets):
        assert len(secret) >= _SHORTEST_SECRET, "A short secret would be found anywhere."
        forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        for where, text in evidence.texts.items():
            if any(form in text for form in forms):
                yield f"There is a password in {where}."


# --- settled -----------------------------------------------------------------------------------------------------


def _everything_is_settled(evidence: Evidence) -> Iterator[str]:
    for project in evidence.projects:
        if project.phase not in Phase.settled() or project.observed_generation < project.wanted_generation:
            yield f"{project.name} has not settled: {project.phase}, {project.reason}: {project.message}"
        if project.lease_until is not None and project.lease_until <= evidence.now:
            yield f"{project.name} has an expired lease that no pass has taken."


def _no_object_outlives_its_row(evidence: Evidence) -> Iterator[str]:
    """Each object with a project's label belongs to a live row of a project that is not deleted."""
    projects = {str(project.uid): project for project in evidence.projects}
    for plural, items in evidence.objects.items():
        for item in items:
            project = projects.get(_label(item, _PROJECT_ID))
            if project is None or _was_left(evidence, item):
                continue
            if _is_forgotten(project):
                if plural in ("clusters", "statefulsets") and _name(item) not in project.message:
                    yield f"{plural}/{_name(item)} is left of {project.name}, and no record says so."
                continue
            if project.phase == Phase.DELETED:
                yield f"{plural}/{_name(item)} is left of {project.name}, which is deleted."
                continue
            database, sandbox = _live(evidence.databases, project), _live_sandbox(evidence, project)
            names = {row.name for row in (database, sandbox) if row}
            if _name(item) not in names and _label(item, _INSTANCE) not in names and not _is_going(item):
                yield f"{plural}/{_name(item)} of {project.name} belongs to none of its live rows."
    for project in evidence.projects:
        if project.phase == Phase.DELETED:
            yield from _leftovers(evidence, project)


def _leftovers(evidence: Evidence, project: Project) -> Iterator[str]:
    """Objects that a deleted project left without its label, and values that its rows still hold."""
    kept = {(one.namespace, one.name) for one in evidence.kept}
    for row in evidence.databases.get(project.pk, ()):
        if row.password:
            yield f"{project.name} is deleted, and the row of {row.name} still has its password."
        # The name may belong to a Cluster that the panel did not create.
        is_ours = row.origin == Origin.CREATED and row.object_uid and (row.namespace, row.name) not in kept
        is_ours = is_ours and not _is_forgotten(project)
        for plural, items in evidence.objects.items() if is_ours else ():
            for item in items:
                is_its_own = plural == "clusters" and item["metadata"]["uid"] == row.object_uid
                if is_its_own or (plural != "clusters" and _label(item, _INSTANCE) == row.name):
                    yield f"{plural}/{_name(item)} is left of {project.name}, which is deleted."
    for variable in evidence.variables.get(project.pk, ()):
        if variable.value:
            yield f"{project.name} is deleted, and its variable {variable.name} still has a value."


def _rows_agree_with_the_cluster(evidence: Evidence) -> Iterator[str]:
    for project in evidence.projects:
        database, sandbox = _live(evidence.databases, project), _live_sandbox(evidence, project)
        match Phase(project.phase):
            case Phase.RUNNING:
                yield from _forgotten_manifests(evidence, project, database, sandbox)
                amiss = list(_amiss(evidence, project, database, sandbox))
                if project.reason != Reason.DEFAULT_CREDENTIALS:
                    yield from (f"{project.name} says Running, but {one}." for one in amiss)
                elif not any("Cluster" in one or "credential" in one for one in amiss):
                    yield f"{project.name} runs with default credentials, but its own database is in order."
            case Phase.FAILED if project.desired_state == DesiredState.RUNNING:
                needs_choice = project.reason == Reason.CLUSTER_AMBIGUOUS
                if not needs_choice and not list(_amiss(evidence, project, database, sandbox)):
                    yield f"{project.name} is Failed ({project.message}), but its objects are in order."
            case Phase.FAILED:
                if not any(_of(evidence, plural, project) for plural in evidence.objects) and not any(
                    _leftovers(evidence, project)
                ):
                    yield f"{project.name} reports a failed deletion, but none of its objects is left."
            case Phase.NEW | Phase.DELETED:
                if database or sandbox:
                    yield f"{project.name} is {project.phase} and has a live database or sandbox row."
            case _:
                pass  # not settled: reported elsewhere


def _forgotten_manifests(
    evidence: Evidence, project: Project, database: DatabaseCluster | None, sandbox: Sandbox | None
) -> Iterator[str]:
    """Objects that the panel created without a stored manifest: their drift would go unnoticed. Adopted Clusters have
    none.
    """
    known = {(one.kind, one.name) for one in evidence.applied.get(project.pk, ())}
    made = {("Cluster", database.name)} if database and database.origin == Origin.CREATED else set()
    made |= {("StatefulSet", sandbox.name), ("Secret", f"{sandbox.name}-env")} if sandbox else set()
    for kind, name in sorted(made - known):
        yield f"{project.name} runs, but the manifest of the {kind} {name} is not stored."
    for kind, name in sorted(known):
        if kind == "Cluster" and ("Cluster", name) not in made:
            yield f"{project.name} has a manifest of the Cluster {name}, which it did not create."


def _amiss(
    evidence: Evidence, project: Project, database: DatabaseCluster | None, sandbox: Sandbox | None
) -> Iterator[str]:
    """What keeps the project's objects from being a database and a sandbox that uses it; nothing if they are."""
    if database is None or sandbox is None:
        yield "it has no live database or no live sandbox row"
        return
    cluster = _find(evidence, "clusters", database.namespace, database.name)
    if cluster is None or _is_going(cluster):
        yield f"the Cluster {database.name} is missing or being deleted"
        return
    if _label(cluster, _PROJECT_ID) != str(project.uid):
        yield f"the Cluster {database.name} does not have the project's labels"
    elif _label(cluster, _ORIGIN) != database.origin:
        yield f"the Cluster {database.name} is labeled {_label(cluster, _ORIGIN)!r}, its row says {database.origin}"
    if (cluster.get("status") or {}).get("phase") != "Running":
        yield f"the Cluster {database.name} is not Running"
    secret = _find(evidence, "secrets", database.namespace, f"{database.name}-postgresql-account-postgres")
    captured = database.connection
    if not (_decode(secret, "username") and _decode(secret, "password")):
        yield f"the credential Secret of {database.name} is missing or not complete"
    elif captured is None or (
        captured.password != _decode(secret, "password") and not _is_candidate(project, database)
    ):
        yield f"the captured credentials of {database.name} are not those of its Secret"
    yield from _amiss_in_sandbox(evidence, project, sandbox, "" if captured is None else captured.url)


def _is_candidate(project: Project, database: DatabaseCluster) -> bool:
    """Whether the project says that its Secret has a password that replaced the captured one. Only a password that was
    proved, or whose Secret is another one by now, may be kept over the Secret's."""
    may_keep = database.proved_at is not None or bool(database.secret_uid)
    return project.reason == Reason.SECRET_REPLACED and database.has_replaced_secret and may_keep


def _amiss_in_sandbox(evidence: Evidence, project: Project, sandbox: Sandbox, url: str) -> Iterator[str]:
    statefulset = _find(evidence, "statefulsets", sandbox.namespace, sandbox.name)
    if statefulset is None or _is_going(statefulset) or _label(statefulset, _PROJECT_ID) != str(project.uid):
        yield f"the StatefulSet {sandbox.name} is missing, being deleted or another project's"
        return
    status = statefulset.get("status") or {}
    generation = statefulset["metadata"].get("generation", 0)
    if not status.get("readyReplicas") or status.get("observedGeneration", 0) < generation:
        yield f"the sandbox {sandbox.name} is not ready"
    if (statefulset["metadata"].get("annotations") or {}).get(_DIGEST) != sandbox.environment_digest:
        yield f"the sandbox {sandbox.name} does not run with the environment of its row"
    if sandbox.credentials != CredentialsSource.CAPTURED:
        yield f"the sandbox {sandbox.name} has no captured credentials"
        return
    environment = _find(evidence, "secrets", sandbox.namespace, f"{sandbox.name}-env")
    try:
        used = parse_url(_decode(environment, "DATABASE_URL"))
    except InvalidConnectionError:
        yield f"the sandbox {sandbox.name} has no DATABASE_URL"
        return
    if used.url != url:
        yield f"the sandbox {sandbox.name} connects with other credentials than the captured ones"
