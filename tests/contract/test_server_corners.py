"""Unusual requests in which the servers once differed, found by `make replay-contract`."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place
from tests.contract.objects import changed, claim, configmap, ingress, role, role_binding, service, statefulset
from tests.support.rest import JSON_PATCH, Object, Rest

INVALID = (422, "Invalid")
BAD = (400, "BadRequest")


class TestOptions:
    def test_body_of_a_delete_replaces_its_query(self, api: Rest, place: Place) -> None:
        """A client that sends DeleteOptions has to put dryRun into them."""
        api.create(place.core("configmaps"), configmap("a"))
        assert api.delete(place.core("configmaps", "a"), {}, dryRun="All").status == 200
        assert api.get(place.core("configmaps", "a")).status == 404

    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({"dryRun": ""}, INVALID),
            ({"force": "true"}, INVALID),
            ({"fieldManager": "x" * 129}, INVALID),
        ],
    )
    def test_invalid_options_of_a_patch_are_refused(
        self, api: Rest, place: Place, params: dict[str, str], expected: tuple[int, str]
    ) -> None:
        before = api.create(place.core("configmaps"), configmap("a"))
        answer = api.merge(place.core("configmaps", "a"), {"data": {"k": "v"}}, **params)
        assert (answer.status, answer.reason) == expected
        assert api.read(place.core("configmaps", "a")) == before

    @pytest.mark.parametrize("params", [{"limit": ""}, {"limit": "x"}, {"timeoutSeconds": "x"}])
    def test_list_options_must_be_numbers(self, api: Rest, place: Place, params: dict[str, str]) -> None:
        answer = api.get(place.core("configmaps"), **params)
        assert (answer.status, answer.reason) == BAD
        assert answer.message.startswith("strconv.ParseInt: parsing ")

    def test_empty_propagation_policy_is_refused(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.delete(place.core("configmaps", "a"), propagationPolicy="")
        assert (answer.status, answer.reason) == INVALID
        assert api.get(place.core("configmaps", "a")).status == 200


class TestBodies:
    @pytest.mark.parametrize(("name", "json_type"), [(0, "number"), (False, "bool"), ([], "array"), ({}, "object")])
    def test_name_of_a_wrong_type_is_400(self, api: Rest, place: Place, name: object, json_type: str) -> None:
        answer = api.post(place.core("configmaps"), {"metadata": {"name": name}})
        assert (answer.status, answer.reason) == BAD
        assert f"json: cannot unmarshal {json_type} into Go struct field ObjectMeta.metadata.name" in answer.message

    @pytest.mark.parametrize("metadata", ["x", 1, []])
    def test_metadata_of_a_wrong_type_is_400(self, api: Rest, place: Place, metadata: object) -> None:
        answer = api.post(place.core("configmaps"), {"metadata": metadata})
        assert (answer.status, answer.reason) == BAD
        assert answer.message.endswith("into Go struct field ConfigMap.metadata of type v1.ObjectMeta")

    def test_null_quantity_is_stored_as_zero(self, api: Rest, place: Place) -> None:
        body = changed(statefulset("web"), "spec.template.spec.containers.0.resources", {"requests": {"cpu": None}})
        stored = api.create(place.apps("statefulsets"), body)
        assert stored["spec"]["template"]["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "0"}}

    def test_null_value_of_a_secret_is_stored_as_empty(self, api: Rest, place: Place) -> None:
        stored = api.create(place.core("secrets"), {"metadata": {"name": "s"}, "data": {"k": None}})
        assert stored["data"] == {"k": ""}

    @pytest.mark.parametrize(
        ("group_version", "plural", "body", "path", "value"),
        [
            ("v1", "services", service("x"), "spec.selector", {}),
            ("networking.k8s.io/v1", "ingresses", ingress("x"), "spec.tls", []),
            ("v1", "configmaps", configmap("x"), "data", {}),
            ("v1", "configmaps", configmap("x"), "metadata.labels", {}),
            ("v1", "configmaps", configmap("x"), "metadata.finalizers", []),
            ("rbac.authorization.k8s.io/v1", "rolebindings", role_binding("x", "n", "a"), "subjects", []),
            ("apps/v1", "statefulsets", statefulset("x"), "spec.template.spec.volumes", []),
        ],
    )
    def test_empty_lists_and_maps_are_not_stored(
        self, api: Rest, place: Place, group_version: str, plural: str, body: Object, path: str, value: object
    ) -> None:
        stored = api.create(place.path(group_version, plural), changed(body, path, value))
        *parents, last = path.split(".")
        holder = stored
        for parent in parents:
            holder = holder.get(parent, {})
        assert last not in holder

    def test_role_without_rules_has_null_rules(self, api: Rest, place: Place) -> None:
        assert api.create(place.path("rbac.authorization.k8s.io/v1", "roles"), role("r"))["rules"] is None

    def test_claim_has_a_protecting_finalizer(self, api: Rest, place: Place) -> None:
        stored = api.create(place.core("persistentvolumeclaims"), claim("d"))
        assert stored["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        answer = api.delete(place.core("persistentvolumeclaims", "d"))
        assert (answer.status, answer.body["kind"]) == (200, "PersistentVolumeClaim")
        assert "deletionTimestamp" in answer.body["metadata"]


class TestValues:
    @pytest.mark.parametrize(
        ("group_version", "plural", "body", "path", "value", "field"),
        [
            (
                "networking.k8s.io/v1",
                "ingresses",
                ingress("x"),
                "spec.ingressClassName",
                "",
                "spec.ingressClassName",
            ),
            (
                "rbac.authorization.k8s.io/v1",
                "rolebindings",
                role_binding("x", "n", "a"),
                "subjects.0.name",
                "Upper_",
                "subjects[0].name",
            ),
            (
                "apps/v1",
                "statefulsets",
                statefulset("x"),
                "spec.template.spec.containers.0.envFrom",
                [{"secretRef": {"name": "Upper_"}}],
                "spec.template.spec.containers[0].envFrom[0].secretRef.name",
            ),
            (
                "apps/v1",
                "statefulsets",
                statefulset("x"),
                "spec.template.spec.volumes",
                [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}],
                "spec.template.spec.volumes[0].emptyDir.sizeLimit",
            ),
        ],
    )
    def test_value_is_refused(
        self,
        api: Rest,
        place: Place,
        group_version: str,
        plural: str,
        body: Object,
        path: str,
        value: object,
        field: str,
    ) -> None:
        answer = api.post(place.path(group_version, plural), changed(body, path, value))
        assert (answer.status, answer.reason) == INVALID
        assert [cause.field for cause in answer.causes] == [field]

    def test_claim_templates_come_before_volumes(self, api: Rest, place: Place) -> None:
        """They are volumes of the Pods, so the index in an error includes them."""
        body = changed(statefulset("x"), "spec.volumeClaimTemplates", [claim("data")])
        body["spec"]["template"]["spec"]["volumes"] = [{"name": "Upper_", "emptyDir": {}}]
        answer = api.post(place.apps("statefulsets"), body)
        assert [cause.field for cause in answer.causes] == ["spec.template.spec.volumes[1].name"]


class TestPatches:
    def test_patch_of_the_kind_is_422(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a", data={"k": "v"}))
        operation = {"op": "replace", "path": "/apiVersion", "value": "v2"}
        answer = api.patch(place.core("configmaps", "a"), [operation], JSON_PATCH)
        assert (answer.status, answer.reason) == INVALID
        assert [cause.field for cause in answer.causes] == ["patch"]

    def test_put_of_a_scale_needs_its_name(self, api: Rest, place: Place) -> None:
        api.create(place.apps("statefulsets"), statefulset("web"))
        answer = api.put(place.apps("statefulsets", "web", "scale"), {"spec": {"replicas": 1}})
        assert (answer.status, answer.reason) == BAD
        assert answer.message == "the name of the object (web based on URL) was undeterminable: name must be provided"
