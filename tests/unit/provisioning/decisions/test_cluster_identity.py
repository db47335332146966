"""The table of cluster identities: recorded and seen UIDs of namespaces."""

import pytest

from provisioning.decisions.cluster_identity import Identity, IdentityJudgment, explain_other, judge_identity

SYSTEM, SHOP = "kube-system", "shop"


@pytest.mark.parametrize(
    ("recorded", "seen", "identity", "namespace"),
    [
        ({}, {SYSTEM: "a", SHOP: "b"}, Identity.NEW, SYSTEM),
        ({}, {SHOP: "b"}, Identity.NEW, SHOP),
        ({}, {}, Identity.UNKNOWN, ""),
        ({}, {SHOP: ""}, Identity.UNKNOWN, ""),
        ({SYSTEM: "a"}, {SYSTEM: "a"}, Identity.OWN, SYSTEM),
        ({SYSTEM: "a"}, {SYSTEM: "x"}, Identity.OTHER, SYSTEM),
        ({SYSTEM: "a"}, {SYSTEM: ""}, Identity.OTHER, SYSTEM),
        ({SYSTEM: "a", SHOP: "b"}, {SYSTEM: "a", SHOP: "x"}, Identity.OWN, SYSTEM),
        ({SYSTEM: "a", SHOP: "b"}, {SYSTEM: "x", SHOP: "b"}, Identity.OTHER, SYSTEM),
        ({SYSTEM: "a", SHOP: "b"}, {SHOP: "b"}, Identity.OWN, SHOP),
        ({SYSTEM: "a", SHOP: "b"}, {SHOP: "x"}, Identity.OTHER, SHOP),
        ({SYSTEM: "a", SHOP: "b"}, {SHOP: ""}, Identity.OTHER, SHOP),
        ({SHOP: "b"}, {SYSTEM: "a", SHOP: "b"}, Identity.OWN, SHOP),
        ({SHOP: "b"}, {SYSTEM: "a", SHOP: "x"}, Identity.OTHER, SHOP),
        ({SYSTEM: "a"}, {SHOP: "b"}, Identity.UNKNOWN, ""),
        ({SYSTEM: "a"}, {}, Identity.UNKNOWN, ""),
    ],
)
def test_identity_is_told_by_kube_system_first(recorded, seen, identity, namespace):
    assert judge_identity(recorded, seen) == IdentityJudgment(identity, namespace)


def test_sentence_says_what_is_recorded_and_what_to_do():
    recorded, seen = {SYSTEM: "a", SHOP: "b"}, {SYSTEM: "x"}
    said = explain_other(judge_identity(recorded, seen), recorded, seen, "https://new")
    assert "kube-system has the UID x, and a is recorded" in said
    assert "manage.py accept_cluster" in said
    assert "deleted" not in said


@pytest.mark.parametrize(("uid", "now"), [("x", "has the UID x"), ("", "does not exist")])
def test_sentence_about_a_recreated_namespace_is_true(uid, now):
    recorded, seen = {SHOP: "b"}, {SHOP: uid}
    said = explain_other(judge_identity(recorded, seen), recorded, seen, "https://same")
    assert "or the namespace was deleted with everything in it" in said
    assert f"the namespace shop {now}, and b is recorded" in said
