"""Secrets that can't be given another password that stays."""

import pytest

from provisioning.objects.secret_writes import explain_source, find_obstacle, find_source


def secret(**changes):
    metadata = {"name": "pg1-postgresql-account-postgres", "namespace": "demo", **changes.pop("metadata", {})}
    return {"metadata": metadata, "data": {"username": "cG9zdGdyZXM=", "password": "eA=="}, **changes}


COMPONENT = {"apiVersion": "apps.kubeblocks.io/v1", "kind": "Component", "name": "pg1-postgresql", "controller": True}
EXTERNAL = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "from-vault", "controller": True}
FIELDS: dict[str, object] = {"f:data": {"f:password": {}}}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"immutable": True}, ["is immutable", "0.9.3", "kubectl replace --force"]),
        (
            {"metadata": {"deletionTimestamp": "2026-11-29T10:00:00Z", "finalizers": ["a.b/c"]}},
            ["has been marked for deletion since 2026-11-29T10:00:00Z", "restore_secret"],
        ),
        ({"metadata": {"ownerReferences": [EXTERNAL]}}, ["ExternalSecret from-vault"]),
        (
            {"metadata": {"managedFields": [{"manager": "argocd", "operation": "Apply", "fieldsV1": FIELDS}]}},
            ["applied by argocd"],
        ),
    ],
    ids=["immutable", "being deleted", "another controller's", "applied from a manifest"],
)
def test_secret_that_keeps_no_new_password_is_explained(broken, words):
    said = find_obstacle(secret(**broken))
    for word in words:
        assert word in said
    assert not said.endswith(".")


@pytest.mark.parametrize(
    "ordinary",
    [
        {},
        {"immutable": False},
        {"metadata": {"ownerReferences": [COMPONENT], "finalizers": ["component.kubeblocks.io/finalizer"]}},
        {"metadata": {"ownerReferences": [{**EXTERNAL, "controller": False}]}},
        {"metadata": {"managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": FIELDS}]}},
        {"metadata": {"managedFields": [{"operation": "Apply", "fieldsV1": {"f:metadata": {}}}, None, 1]}},
    ],
)
def test_ordinary_secret_has_no_obstacle(ordinary):
    assert find_obstacle(secret(**ordinary)) == ""


def spec(**account):
    return {"spec": {"componentSpecs": [{"name": "postgresql", "systemAccounts": [{"name": "postgres", **account}]}]}}


def test_source_of_a_copied_password_is_recognized():
    assert find_source(spec(secretRef={"name": "theirs"})) == "theirs"
    assert find_source(spec(secretRef={"name": "theirs", "namespace": "vault"})) == "vault/theirs"
    assert find_source(spec(secretRef={"name": "theirs", "password": "pg"})) == "theirs (key pg)"
    assert find_source(spec(secretRef={"key": "x"})) == "that its spec names"
    assert find_source(spec()) == ""
    assert find_source({"spec": {"componentSpecs": [{"systemAccounts": [{"name": "x", "secretRef": {}}]}]}}) == ""
    assert find_source(None) == ""


def test_advice_for_a_copied_password_begins_with_the_server():
    said = explain_source("theirs", spec(secretRef={"name": "theirs"}), "pg1")
    steps = ["ALTER ROLE postgres", "to the Secret theirs", "to the Secret pg1-postgresql-account-postgres"]
    assert [said.index(step) for step in steps] == sorted(said.index(step) for step in steps)
