"""Faults while users delete or release orphans: each orphan is ended once, and nothing else is."""

import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from projects.models import Event, Orphan, OrphanAction
from projects.services.inventory import request_inventory
from projects.services.orphans import request_orphan
from provisioning.objects.names import INSTANCE_LABEL, ORIGIN_LABEL, claim_labels, owner_labels
from tests.faults import kinds_database
from tests.faults.kinds import kind
from tests.faults.run import PROJECT_ID, EndFault, Run

_REQUESTS, _STATEMENTS = 6, 30
_DONE = Q(message__startswith="Requested the deletion of") | Q(message__startswith="Removed the panel's labels from")


@dataclass(frozen=True, slots=True)
class Left:
    """An object that was left, and what should become of it."""

    plural: str
    uid: str
    action: OrphanAction


def _prepare(run: Run) -> dict[str, Left]:
    """Let all projects settle, and create orphans: one of another panel, and one of an earlier attempt of a project."""
    run.is_busy = False
    for project in run.projects:
        run.people.provision(project)
    run.settle()
    foreign = uuid.UUID(int=run.rng.getrandbits(128))
    run.strangers.add(str(foreign))
    labels = claim_labels(f"gone{run.number}", foreign)
    either = run.rng.choice(list(OrphanAction))
    earlier = run.projects[0]
    left = {
        **_leave(run, f"orphan-{run.number}", either, {**labels, ORIGIN_LABEL: "created"}),
        **_leave(run, f"orphan-adopted-{run.number}", OrphanAction.RELEASE, {**labels, ORIGIN_LABEL: "adopted"}),
        **_leave(
            run,
            f"earlier-{run.number}",
            OrphanAction.DELETE,
            {**claim_labels(earlier.kubernetes_name, earlier.uid), ORIGIN_LABEL: "created"},
        ),
    }
    name = f"orphan-sandbox-{run.number}-env"
    metadata = {"name": name, "labels": {**owner_labels(f"gone{run.number}", foreign), INSTANCE_LABEL: name}}
    made = run.api.create("secrets", {"metadata": metadata})
    assert made is not None
    left[name] = Left("secrets", made["metadata"]["uid"], OrphanAction.DELETE)
    run.orphans |= {one.uid for one in left.values()}
    run.checks.append(partial(_find_amiss, run, left))
    return left


def _leave(run: Run, name: str, action: OrphanAction, labels: Mapping[str, str]) -> dict[str, Left]:
    keepsake = run.make_cluster(name, **labels)
    run.kept.discard(keepsake)
    return {name: Left("clusters", keepsake.uid, action)}


def _list(run: Run) -> None:
    with contextlib.suppress(DatabaseError):
        request_inventory(timezone.now())
    run.worker.run_all()


def _ask(run: Run, left: Mapping[str, Left]) -> None:
    """Request all that the list offers, except for Clusters of other projects."""
    kept = {one.uid for one in run.kept}
    for row in Orphan.objects.filter(is_vanished=False).exclude(uid__in=kept).order_by("pk"):
        _ask_for(run, row, left[row.name].action if row.name in left else OrphanAction.DELETE)


def _ask_for(run: Run, row: Orphan, action: OrphanAction) -> None:
    run.people.ask(lambda project, actor: request_orphan(row, action, actor=actor, is_sure=True), run.projects[0])


def _find_amiss(run: Run, left: Mapping[str, Left]) -> list[str]:
    """Request once more what a fault has prevented; return what was not done, what was done twice, and what else was
    deleted.
    """
    _list(run)
    _ask(run, left)
    run.worker.run_all()
    run.operator.run()
    sentences = []
    for name, one in left.items():
        item = run.api.get(one.plural, name)
        is_there = item is not None and item["metadata"]["uid"] == one.uid
        if one.action is OrphanAction.DELETE and is_there:
            sentences.append(f"The orphan {name} is still there.")
        if one.action is OrphanAction.RELEASE and (
            item is None or PROJECT_ID in (item["metadata"].get("labels") or {})
        ):
            sentences.append(f"The orphan {name} was not released.")
        done = Event.objects.filter(message__contains=f"/{name}").filter(_DONE)
        if done.count() > 1:
            sentences.append(f"The orphan {name} was ended {done.count()} times.")
    if Event.objects.filter(reason="ClusterVanished").exists():
        sentences.append("A Cluster that a project has was ended as an orphan.")
    if Orphan.objects.exclude(requested_action="").exists():
        sentences.append("A action for an orphan is neither done nor given back.")
    return sentences


@kind("orphans ended while something strikes")
def struck(run: Run) -> EndFault | None:
    left = _prepare(run)
    _list(run)
    _ask(run, left)
    end: EndFault | None = None
    match run.rng.randint(0, 5):
        case 0:
            run.gate.at_request(run.rng.randint(0, _REQUESTS), run.gate.kill, after=run.rng.random() < 0.5)
        case 1:
            run.gate.at_statement(run.rng.randint(0, _STATEMENTS), run.gate.kill)
        case 2:
            verb = run.rng.choice(["delete", "patch"])
            rule = run.faults.add("reset-after", user="admin", verb=verb, count=run.rng.randint(2, 4))
            end = partial(run.faults.remove, rule.id)
        case 3:
            run.gate.postpone(run.rng.randint(0, 2))
        case 4:
            # Another user requests the same meanwhile.
            run.gate.at_request(run.rng.randint(0, _REQUESTS), partial(_ask, run, left), after=True)
        case _:
            end = kinds_database.gone_in_pass(run)
    for _ in range(run.rng.randint(0, 8)):
        run.worker.run_one()
    return end


@kind("orphan's name used again while it is ended")
def name_again(run: Run) -> None:
    """The orphan is deleted outside the panel, and a Cluster of the same name is created, with or without a project."""
    left = _prepare(run)
    _list(run)
    _ask(run, left)
    name = f"orphan-{run.number}"
    is_strangers = run.rng.random() < 0.5

    def replace() -> None:
        left.pop(name)
        run.api.delete("clusters", name)
        if run.api.get("clusters", name) is not None:
            run.operator.finish_cluster(name)
        if not is_strangers:
            run.make_cluster(name)
            project = run.people.add(f"r{run.number}")
            assert project is not None
            run.projects.append(project)
            run.people.adopt(project, name)
            return
        stranger = str(uuid.UUID(int=run.rng.getrandbits(128)))
        run.strangers.add(stranger)
        run.make_cluster(name, **{PROJECT_ID: stranger, ORIGIN_LABEL: "created"})

    if run.rng.random() < 0.5:
        # The inventory sees the new one while the request for the old one waits.
        replace()
        request_inventory(timezone.now())
    else:
        run.gate.at_request(run.rng.randint(0, _REQUESTS), replace, after=run.rng.random() < 0.5)
    run.worker.run_all()
