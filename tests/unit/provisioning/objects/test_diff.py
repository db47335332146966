"""What counts as drift: fields that were sent and are otherwise now; nothing that others add."""

import copy
from typing import Any

import pytest

from provisioning.objects import manifests
from provisioning.objects.diff import (
    GONE,
    conceal,
    drop_admitted,
    find_drift,
    keep_revertible,
    list_admitted,
    mark_unrevertible,
)
from tests.unit.provisioning.objects.test_manifests import OWNER, SPEC

STATEFULSET = manifests.build_statefulset("s", "ns", OWNER, SPEC, variables=["A"], digest="d")
SERVICE = manifests.build_service("s", "ns", OWNER, SPEC)
SECRET = conceal(manifests.build_environment_secret("s", "ns", OWNER, {"A": "hunter2", "B": "x"}), "key")


def changed(manifest: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    live = copy.deepcopy(manifest)
    at: Any = live
    for key in path[:-1]:
        at = at[key]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return live


CONTAINER = ("spec", "template", "spec", "containers", 0)
ROWS = [
    ("as it was applied", STATEFULSET, STATEFULSET, []),
    ("replicas", STATEFULSET, changed(STATEFULSET, "spec", "replicas", to=3), ["spec.replicas: applied 1, now 3"]),
    (
        "image",
        STATEFULSET,
        changed(STATEFULSET, *CONTAINER, "image", to="evil"),
        [f"spec.template.spec.containers[sandbox].image: applied {SPEC.image}, now evil"],
    ),
    (
        "a label",
        SERVICE,
        changed(SERVICE, "metadata", "labels", "app.kubernetes.io/managed-by", to=None),
        [f"metadata.labels.app.kubernetes.io/managed-by: applied controlpanel, now {GONE}"],
    ),
    ("a port", SERVICE, changed(SERVICE, "spec", "ports", 0, "port", to=9), ["now 9"]),
    ("the same quantity", STATEFULSET, changed(STATEFULSET, *CONTAINER, "resources", "requests", "cpu", to="0.05"), []),
    (
        "another quantity",
        STATEFULSET,
        changed(STATEFULSET, *CONTAINER, "resources", "requests", "cpu", to="5"),
        ["requests.cpu: applied 50m, now 5"],
    ),
    ("a status", STATEFULSET, {**STATEFULSET, "status": {"replicas": 7}}, []),
    ("a default", STATEFULSET, changed(STATEFULSET, "spec", "revisionHistoryLimit", to=10), []),
    (
        "a value of a Secret",
        SECRET,
        changed(SECRET, "data", "A", to="0"),
        ["data.A: applied a value, now another value"],
    ),
    ("a key too many", SECRET, changed(SECRET, "data", "C", to="0"), ["data.C: applied none"]),
    ("a key too few", SECRET, changed(SECRET, "data", "A", to=None), [f"data.A: applied a value, now {GONE}"]),
    ("all of it", SERVICE, None, ["Service s is gone"]),
    ("nonsense", SERVICE, {"metadata": 1, "spec": []}, ["spec.selector"]),
]


@pytest.mark.parametrize(("applied", "live", "said"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_drift(applied, live, said):
    found = [str(item) for item in find_drift(applied, live)]
    assert bool(found) == bool(said)
    for sentence in said:
        assert any(sentence in line for line in found), found


def test_entries_that_others_add_to_a_list_are_no_drift():
    live = copy.deepcopy(STATEFULSET)
    live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar", "image": "proxy"})
    assert find_drift(STATEFULSET, live) == []


def test_values_of_secrets_are_neither_stored_nor_shown():
    plain = manifests.build_environment_secret("s", "ns", OWNER, {"A": "hunter2"})
    live = {**plain, "data": {"A": "c3dvcmRmaXNo"}}
    said = str(find_drift(conceal(plain, "key"), conceal(live, "key"))) + str(conceal(plain, "key"))
    for value in ("hunter2", plain["data"]["A"], "c3dvcmRmaXNo"):
        assert value not in said


def test_change_by_an_admission_webhook_is_no_drift():
    live = changed(STATEFULSET, *CONTAINER, "image", to="mirror/image")
    live["spec"]["replicas"] = 2
    dry_run = changed(STATEFULSET, *CONTAINER, "image", to="mirror/image")
    real = keep_revertible(find_drift(STATEFULSET, live), find_drift(STATEFULSET, dry_run))
    assert [item.path for item in real] == ["spec.replicas"]


def test_only_labels_of_a_cluster_are_reverted():
    spec = manifests.DatabaseSpec("16.4.0", "", "1", "1Gi", "1Gi")
    applied = manifests.build_cluster(manifests.CLUSTER_V1, name="c", namespace="n", owner=OWNER, spec=spec)
    live = changed(applied, "spec", "terminationPolicy", to="WipeOut")
    live["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    label, policy = mark_unrevertible(find_drift(applied, live))
    assert (label.is_revertible, policy.is_revertible) == (True, False)
    assert "OpsRequest" in policy.obstacle


LONG = "registry.example.com/" + "a" * 100


def image(value):
    return changed(STATEFULSET, *CONTAINER, "image", to=value)


def test_what_admission_made_is_no_drift_and_a_later_change_is():
    admitted = list_admitted(STATEFULSET, image(LONG))
    assert drop_admitted(find_drift(STATEFULSET, image(LONG)), admitted) == []
    for other in (f"{LONG}-other", SPEC.image + "-other"):
        assert len(drop_admitted(find_drift(STATEFULSET, image(other)), admitted)) == 1
    more = changed(image(LONG), "spec", "replicas", to=0)
    assert [item.path for item in drop_admitted(find_drift(STATEFULSET, more), admitted)] == ["spec.replicas"]


def test_admitted_values_of_a_secret_are_digests():
    plain = manifests.build_environment_secret("s", "ns", OWNER, {"A": "hunter2"})
    answer = conceal(changed(plain, "data", "A", to="aW5qZWN0ZWQ="), "key")
    admitted = list_admitted(conceal(plain, "key"), answer)
    assert drop_admitted(find_drift(conceal(plain, "key"), answer), admitted) == []
    other = conceal(changed(plain, "data", "A", to="b3RoZXI="), "key")
    assert len(drop_admitted(find_drift(conceal(plain, "key"), other), admitted)) == 1
    assert "aW5qZWN0ZWQ" not in str(admitted)


@pytest.mark.parametrize("stored", [[], None])
def test_row_of_an_older_version_admits_nothing(stored):
    assert len(drop_admitted(find_drift(STATEFULSET, image("evil")), stored)) == 1
