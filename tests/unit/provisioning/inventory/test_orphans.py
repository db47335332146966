"""Which objects are orphans, and which requests an orphan allows."""

from typing import Any

import pytest
from django.utils import timezone

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Orphan, OrphanAction, Project
from provisioning.inventory.orphans import Known, judge
from provisioning.objects.names import ORIGIN_LABEL, PROJECT_ID_LABEL

STRANGER = "11111111-1111-1111-1111-111111111111"
NOW = timezone.now()


def project_in(desired: DesiredState, phase: Phase, reason: Reason = Reason.READY, **fields: Any) -> Project:
    return Project(pk=7, name="aaa", desired_state=desired, phase=phase, reason=reason, **fields)


RUNNING = project_in(DesiredState.RUNNING, Phase.RUNNING)
BUSY = project_in(DesiredState.RUNNING, Phase.WAITING)
DELETED = project_in(DesiredState.DELETED, Phase.DELETED, Reason.DELETED)
FORGOTTEN = project_in(DesiredState.DELETED, Phase.DELETED, Reason.FORGOTTEN)


def cluster_item(name: str = "c", owner: str = "me", origin: str = "created", **metadata: Any) -> dict[str, Any]:
    labels = {PROJECT_ID_LABEL: owner, ORIGIN_LABEL: origin}
    return {"metadata": {"name": name, "namespace": "default", "uid": "u", "labels": labels, **metadata}}


JUDGED = [
    ("in its place", cluster_item("has"), RUNNING, None),
    ("of a project in progress", cluster_item("other"), BUSY, None),
    ("going", cluster_item("other", deletionTimestamp="now"), RUNNING, None),
    ("without our label", {"metadata": {"name": "x", "labels": {}}}, RUNNING, None),
    ("of an earlier attempt", cluster_item("other"), RUNNING, ("earlier attempt to provision aaa", True, False)),
    ("of a deleted project", cluster_item("has"), DELETED, ("which is deleted", True, False)),
    ("of a forgotten project", cluster_item("has"), FORGOTTEN, ("which was forgotten", True, False)),
    (
        "of a forgotten project, going and held up",
        cluster_item("has", deletionTimestamp="now", finalizers=["operator/hold"]),
        FORGOTTEN,
        (
            "which was forgotten. It is already being deleted; waiting for its finalizers: operator/hold",
            False,
            False,
        ),
    ),
    ("another panel's, going", cluster_item("x", owner=STRANGER, deletionTimestamp="now"), None, None),
    ("adopted", cluster_item("has", origin="adopted"), FORGOTTEN, ("never deleted from here", False, False)),
    ("labeled by hand", cluster_item("has", origin=""), DELETED, ("never deleted from here", False, False)),
    ("ConfirmationNeeded", cluster_item("x", owner=STRANGER), None, ("another panel", True, True)),
    ("nonsense", {"metadata": {"name": 1, "labels": {PROJECT_ID_LABEL: "x"}}}, None, None),
]


@pytest.mark.parametrize(("item", "project", "expected"), [row[1:] for row in JUDGED], ids=[row[0] for row in JUDGED])
def test_orphans_are_told_from_objects_in_use(item, project, expected):
    known = Known({"me": project} if project else {}, {7: frozenset({"has"})})
    orphan = judge("Cluster", item, known, NOW)
    if expected is None:
        assert orphan is None
        return
    assert orphan is not None
    said, is_deletable, is_foreign = expected
    assert said in orphan.explanation
    assert (orphan.is_deletable, orphan.is_foreign) == (is_deletable, is_foreign)


@pytest.mark.parametrize(
    ("fields", "action", "is_sure", "reason"),
    [
        ({"is_deletable": True}, OrphanAction.DELETE, False, ""),
        ({"is_releasable": True}, OrphanAction.RELEASE, False, ""),
        ({"is_releasable": True}, OrphanAction.DELETE, True, "Adopted"),
        ({"is_deletable": True}, OrphanAction.RELEASE, True, "NotReleasable"),
        ({"is_deletable": True, "is_foreign": True}, OrphanAction.DELETE, False, "ConfirmationNeeded"),
        ({"is_deletable": True, "is_foreign": True}, OrphanAction.DELETE, True, ""),
        ({}, OrphanAction.DELETE, True, "NotCreatedByPanel"),
        ({}, OrphanAction.RELEASE, True, "NotCreatedByPanel"),
        ({"is_vanished": True, "is_deletable": True}, OrphanAction.DELETE, True, "Missing"),
    ],
)
def test_requests_that_an_orphan_allows(fields, action, is_sure, reason):
    refusal = Orphan(kind="Cluster", namespace="n", name="c", **fields).find_refusal(action, is_sure=is_sure)
    assert (refusal.reason if refusal else "") == reason
