"""Deletion: finalizers, owners, propagation, collections and namespaces."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place, eventually, gone
from tests.contract.objects import configmap, labeled, pod, statefulset
from tests.support.rest import Cause, Object, Rest, refusal

HOLD = "contract.invalid/hold"


def _held(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "finalizers": [HOLD]}}


def _owned_by(owner: Object, name: str, **extra: object) -> Object:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **extra,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": [reference]}}


@pytest.fixture
def maps(place: Place) -> str:
    return place.core("configmaps")


class TestFinalizers:
    def test_finalizer_keeps_a_deleted_object(self, api: Rest, maps: str) -> None:
        created = api.create(maps, _held("a"))
        answer = api.delete(f"{maps}/a")
        assert answer.status == 200
        assert answer.body["kind"] == "ConfigMap"
        metadata = api.read(f"{maps}/a")["metadata"]
        assert metadata["deletionTimestamp"].endswith("Z")
        assert metadata["deletionGracePeriodSeconds"] == 0
        assert metadata["finalizers"] == [HOLD]
        assert metadata["resourceVersion"] != created["metadata"]["resourceVersion"]
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})

    def test_removal_of_the_last_finalizer_deletes_the_object(self, api: Rest, maps: str) -> None:
        body = _held("a")
        body["metadata"]["finalizers"].append("contract.invalid/too")
        api.create(maps, body)
        api.delete(f"{maps}/a")
        api.merge(f"{maps}/a", {"metadata": {"finalizers": ["contract.invalid/too"]}})
        assert api.get(f"{maps}/a").status == 200
        answer = api.merge(f"{maps}/a", {"metadata": {"finalizers": []}})
        assert answer.status == 200
        assert api.get(f"{maps}/a").status == 404

    def test_second_delete_changes_nothing(self, api: Rest, maps: str) -> None:
        api.create(maps, _held("a"))
        api.delete(f"{maps}/a")
        first = api.read(f"{maps}/a")
        assert api.delete(f"{maps}/a").status == 200
        assert api.read(f"{maps}/a") == first
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})

    def test_finalizer_can_not_be_added_during_deletion(self, api: Rest, maps: str) -> None:
        api.create(maps, _held("a"))
        api.delete(f"{maps}/a")
        answer = api.merge(f"{maps}/a", {"metadata": {"finalizers": [HOLD, "contract.invalid/new"]}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert {(cause.reason, cause.field) for cause in answer.causes} == {
            ("FieldValueForbidden", "metadata.finalizers")
        }
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})

    def test_name_is_in_use_during_deletion(self, api: Rest, maps: str) -> None:
        api.create(maps, _held("a"))
        api.delete(f"{maps}/a")
        answer = api.post(maps, configmap("a"))
        message = 'object is being deleted: configmaps "a" already exists'
        assert refusal(answer) == (409, "AlreadyExists", message)
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})

    def test_object_can_change_during_deletion(self, api: Rest, maps: str) -> None:
        api.create(maps, _held("a"))
        api.delete(f"{maps}/a")
        assert api.merge(f"{maps}/a", {"data": {"k": "v"}}).body["data"] == {"k": "v"}
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})

    def test_watch_reports_modified_then_deleted(self, api: Rest, maps: str) -> None:
        version = api.create(maps, _held("a"))["metadata"]["resourceVersion"]
        api.delete(f"{maps}/a")
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})
        events = api.watched(maps, 2, resourceVersion=version, fieldSelector="metadata.name=a")
        assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
        assert "deletionTimestamp" in events[0]["object"]["metadata"]

    def test_client_can_not_set_the_deletion_timestamp(self, api: Rest, maps: str) -> None:
        api.create(maps, configmap("a"))
        answer = api.merge(f"{maps}/a", {"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert {(cause.reason, cause.field) for cause in answer.causes} == {
            ("FieldValueInvalid", "metadata.deletionTimestamp")
        }
        assert "deletionTimestamp" not in api.read(f"{maps}/a")["metadata"]

    @pytest.mark.parametrize(
        ("name", "fields"),
        [("Hold On", {"metadata.finalizers", "metadata.finalizers[0]"}), ("hold", {"metadata.finalizers[0]"})],
    )
    def test_finalizer_without_a_domain_is_invalid(self, api: Rest, maps: str, name: str, fields: set[str]) -> None:
        answer = api.post(maps, {"metadata": {"name": "a", "finalizers": [name]}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert {cause.field for cause in answer.causes} == fields
        assert "name is neither a standard finalizer name nor is it fully qualified" in answer.message

    @pytest.mark.parametrize("name", ["orphan", "foregroundDeletion", "kubernetes"])
    def test_standard_finalizer_needs_no_domain(self, api: Rest, maps: str, name: str) -> None:
        stored = api.create(maps, {"metadata": {"name": "a", "finalizers": [name]}})
        assert stored["metadata"]["finalizers"] == [name]
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})


@pytest.mark.usefixtures("needs_controllers")
class TestOwners:
    def test_dependents_are_deleted_with_their_owner(self, api: Rest, maps: str) -> None:
        owner = api.create(maps, configmap("owner"))
        api.create(maps, _owned_by(owner, "dependent"))
        api.delete(f"{maps}/owner")
        gone(api, f"{maps}/dependent")

    def test_owner_is_deleted_first_by_default(self, api: Rest, maps: str) -> None:
        owner = api.create(maps, configmap("owner"))
        dependent = _owned_by(owner, "dependent")
        dependent["metadata"]["finalizers"] = [HOLD]
        api.create(maps, dependent)
        api.delete(f"{maps}/owner")
        assert api.get(f"{maps}/owner").status == 404
        eventually(lambda: api.read(f"{maps}/dependent")["metadata"], lambda metadata: "deletionTimestamp" in metadata)
        api.merge(f"{maps}/dependent", {"metadata": {"finalizers": None}})
        gone(api, f"{maps}/dependent")

    def test_dependents_of_dependents_are_deleted(self, api: Rest, maps: str) -> None:
        parent = api.create(maps, configmap("parent"))
        child = api.create(maps, _owned_by(parent, "child"))
        api.create(maps, _owned_by(child, "grandchild"))
        api.delete(f"{maps}/parent")
        gone(api, f"{maps}/grandchild")

    def test_orphans_are_kept_without_their_owner_reference(self, api: Rest, maps: str) -> None:
        owner = api.create(maps, configmap("owner"))
        api.create(maps, _owned_by(owner, "dependent"))
        api.delete(f"{maps}/owner", propagationPolicy="Orphan")
        gone(api, f"{maps}/owner")
        assert "ownerReferences" not in api.read(f"{maps}/dependent")["metadata"]

    def test_foreground_deletion_waits_for_blocking_dependents(self, api: Rest, maps: str) -> None:
        owner = api.create(maps, configmap("owner"))
        dependent = _owned_by(owner, "dependent", blockOwnerDeletion=True)
        dependent["metadata"]["finalizers"] = [HOLD]
        api.create(maps, dependent)
        answer = api.delete(f"{maps}/owner", propagationPolicy="Foreground")
        assert answer.status == 200
        metadata = api.read(f"{maps}/owner")["metadata"]
        assert metadata["finalizers"] == ["foregroundDeletion"]
        assert "deletionTimestamp" in metadata
        eventually(lambda: api.read(f"{maps}/dependent")["metadata"], lambda metadata: "deletionTimestamp" in metadata)
        assert api.get(f"{maps}/owner").status == 200
        api.merge(f"{maps}/dependent", {"metadata": {"finalizers": None}})
        gone(api, f"{maps}/owner")

    def test_body_can_have_the_propagation_policy(self, api: Rest, maps: str) -> None:
        owner = api.create(maps, configmap("owner"))
        api.create(maps, _owned_by(owner, "dependent"))
        api.delete(f"{maps}/owner", {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Orphan"})
        gone(api, f"{maps}/owner")
        assert api.get(f"{maps}/dependent").status == 200

    def test_dependents_of_a_missing_owner_are_deleted(self, api: Rest, maps: str) -> None:
        ghost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "no-such-uid"}}
        api.create(maps, _owned_by(ghost, "dependent"))
        gone(api, f"{maps}/dependent")

    def test_dependent_with_one_remaining_owner_is_kept(self, api: Rest, maps: str) -> None:
        one, two = api.create(maps, configmap("one")), api.create(maps, configmap("two"))
        body = _owned_by(one, "dependent")
        body["metadata"]["ownerReferences"] += _owned_by(two, "x")["metadata"]["ownerReferences"]
        api.create(maps, body)
        api.delete(f"{maps}/one")
        references = eventually(
            lambda: api.read(f"{maps}/dependent")["metadata"]["ownerReferences"], lambda found: len(found) == 1
        )
        assert references[0]["name"] == "two"


class TestOwnerReferences:
    @pytest.mark.parametrize(
        ("field", "complaint"),
        [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ],
    )
    def test_each_field_is_required(self, api: Rest, maps: str, field: str, complaint: str) -> None:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", field: ""}
        answer = api.post(maps, {"metadata": {"name": "a", "ownerReferences": [reference]}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        path = f"metadata.ownerReferences.{field}"
        assert answer.causes == [Cause("FieldValueInvalid", path, f'Invalid value: "": {complaint}')]

    def test_only_one_owner_can_be_the_controller(self, api: Rest, maps: str) -> None:
        references = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "controller": True} for name in "ab"
        ]
        answer = api.post(maps, {"metadata": {"name": "a", "ownerReferences": references}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert "Only one reference can have Controller set to true" in answer.message


class TestGrace:
    def test_unscheduled_pod_is_deleted_at_once(self, api: Rest, place: Place, needs_controllers: None) -> None:
        api.create(place.core("serviceaccounts"), {"metadata": {"name": "robot"}})
        body = pod("p")
        body["spec"]["serviceAccountName"] = "robot"
        api.create(place.core("pods"), body)
        answer = api.delete(place.core("pods", "p"))
        assert answer.status == 200
        assert api.get(place.core("pods", "p")).status == 404

    def test_scheduled_pod_waits_for_its_kubelet(self, api: Rest, place: Place, needs_controllers: None) -> None:
        api.create(place.core("serviceaccounts"), {"metadata": {"name": "robot"}})
        body = pod("p")
        body["spec"].update({"serviceAccountName": "robot", "nodeName": "no-such-node"})
        body["spec"]["tolerations"] = [{"operator": "Exists"}]
        api.create(place.core("pods"), body)
        answer = api.delete(place.core("pods", "p"), gracePeriodSeconds=20)
        assert answer.status == 200
        assert answer.body["kind"] == "Pod"
        assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 20
        assert api.delete(place.core("pods", "p"), gracePeriodSeconds=0).status in (200, 404)
        gone(api, place.core("pods", "p"))


class TestCollections:
    def test_delete_collection_empties_a_namespace(self, api: Rest, place: Place) -> None:
        for name in "abc":
            api.create(place.core("secrets"), {"metadata": {"name": name}})
        answer = api.delete(place.core("secrets"))
        assert (answer.status, answer.body["kind"]) == (200, "SecretList")
        assert api.get(place.core("secrets")).names == []

    def test_delete_collection_selects_by_label(self, api: Rest, maps: str) -> None:
        api.create(maps, labeled("a", x="1"))
        api.create(maps, labeled("b", x="2"))
        answer = api.delete(maps, labelSelector="x=1")
        assert answer.names == ["a"]
        assert [api.get(f"{maps}/{name}").status for name in "ab"] == [404, 200]

    def test_delete_collection_selects_by_field(self, api: Rest, maps: str) -> None:
        api.create(maps, configmap("a"))
        api.create(maps, configmap("b"))
        api.delete(maps, fieldSelector="metadata.name=a")
        assert [api.get(f"{maps}/{name}").status for name in "ab"] == [404, 200]

    def test_delete_collection_keeps_objects_with_finalizers(self, api: Rest, maps: str) -> None:
        api.create(maps, _held("a"))
        api.delete(maps, fieldSelector="metadata.name=a")
        assert "deletionTimestamp" in api.read(f"{maps}/a")["metadata"]
        api.merge(f"{maps}/a", {"metadata": {"finalizers": None}})

    def test_dry_run_deletes_nothing(self, api: Rest, place: Place) -> None:
        api.create(place.core("secrets"), {"metadata": {"name": "a"}})
        assert api.delete(place.core("secrets"), dryRun="All").status == 200
        assert api.get(place.core("secrets")).names == ["a"]


class TestNamespaces:
    @pytest.fixture
    def doomed(self, api: Rest) -> str:
        return str(api.create("/api/v1/namespaces", {"metadata": {"generateName": "doomed-"}})["metadata"]["name"])

    def test_new_namespace_has_defaults(self, api: Rest, doomed: str) -> None:
        body = api.read(f"/api/v1/namespaces/{doomed}")
        assert body["status"]["phase"] == "Active"
        assert body["spec"] == {"finalizers": ["kubernetes"]}
        assert body["metadata"]["labels"] == {"kubernetes.io/metadata.name": doomed}
        api.delete(f"/api/v1/namespaces/{doomed}")

    def test_delete_answers_with_the_terminating_namespace(self, api: Rest, doomed: str) -> None:
        answer = api.delete(f"/api/v1/namespaces/{doomed}")
        assert (answer.status, answer.body["kind"]) == (200, "Namespace")
        assert answer.body["status"]["phase"] == "Terminating"
        assert "deletionTimestamp" in answer.body["metadata"]

    def test_create_in_a_terminating_namespace_is_forbidden(self, api: Rest, doomed: str) -> None:
        maps = f"/api/v1/namespaces/{doomed}/configmaps"
        api.create(maps, _held("held"))
        api.delete(f"/api/v1/namespaces/{doomed}")
        answer = api.post(maps, configmap("late"))
        message = (
            'configmaps "late" is forbidden: unable to create new content in namespace '
            f"{doomed} because it is being terminated"
        )
        assert refusal(answer) == (403, "Forbidden", message)
        assert answer.details["name"] == "late"
        assert [(cause.reason, cause.field) for cause in answer.causes] == [
            ("NamespaceTerminating", "metadata.namespace")
        ]
        api.merge(f"{maps}/held", {"metadata": {"finalizers": None}})

    def test_contents_are_deleted_with_the_namespace(self, api: Rest, doomed: str, needs_controllers: None) -> None:
        api.create(f"/api/v1/namespaces/{doomed}/configmaps", configmap("a"))
        api.create(f"/apis/apps/v1/namespaces/{doomed}/statefulsets", statefulset("web"))
        api.delete(f"/api/v1/namespaces/{doomed}")
        gone(api, f"/api/v1/namespaces/{doomed}")
        assert api.get(f"/api/v1/namespaces/{doomed}/configmaps").names == []
        assert api.get(f"/apis/apps/v1/namespaces/{doomed}/statefulsets").names == []

    def test_namespace_waits_for_finalizers_of_its_contents(
        self, api: Rest, doomed: str, needs_controllers: None
    ) -> None:
        maps = f"/api/v1/namespaces/{doomed}/configmaps"
        api.create(maps, _held("held"))
        api.delete(f"/api/v1/namespaces/{doomed}")
        eventually(lambda: api.get(f"{maps}/held").body["metadata"], lambda metadata: "deletionTimestamp" in metadata)
        assert api.read(f"/api/v1/namespaces/{doomed}")["status"]["phase"] == "Terminating"
        api.merge(f"{maps}/held", {"metadata": {"finalizers": None}})
        gone(api, f"/api/v1/namespaces/{doomed}")

    def test_new_namespace_gets_a_service_account(self, api: Rest, doomed: str, needs_controllers: None) -> None:
        path = f"/api/v1/namespaces/{doomed}/serviceaccounts/default"
        eventually(lambda: api.get(path), lambda answer: answer.status == 200)
        api.delete(f"/api/v1/namespaces/{doomed}")

    def test_system_namespaces_exist(self, api: Rest) -> None:
        assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= set(api.get("/api/v1/namespaces").names)

    @pytest.mark.parametrize("name", ["default", "kube-system"])
    def test_system_namespaces_can_not_be_deleted(self, api: Rest, name: str) -> None:
        answer = api.delete(f"/api/v1/namespaces/{name}")
        message = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        assert refusal(answer) == (403, "Forbidden", message)

    @pytest.mark.parametrize("name", ["With_Underscore", "a" * 64, "dots.in.it", "-x"])
    def test_name_must_be_a_label(self, api: Rest, name: str) -> None:
        answer = api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert "metadata.name" in {cause.field for cause in answer.causes}
