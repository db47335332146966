"""The status and scale subresources, and which writes increment the generation."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place
from tests.contract.objects import claim, configmap, ingress, role, service, statefulset
from tests.support.rest import JSON_PATCH, STRATEGIC_PATCH, Cause, Object, Rest


@pytest.fixture
def web(api: Rest, place: Place) -> str:
    api.create(place.path("networking.k8s.io/v1", "ingresses"), ingress("web"))
    return place.path("networking.k8s.io/v1", "ingresses", "web")


ADDRESS = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}


class TestStatus:
    def test_create_ignores_the_status(self, api: Rest, place: Place) -> None:
        body = {**ingress("web"), **ADDRESS}
        stored = api.create(place.path("networking.k8s.io/v1", "ingresses"), body)
        assert stored["status"] == {"loadBalancer": {}}

    def test_patch_of_the_object_ignores_the_status(self, api: Rest, web: str) -> None:
        before = api.read(web)
        answer = api.merge(web, ADDRESS)
        assert (answer.status, answer.body["status"]) == (200, {"loadBalancer": {}})
        assert answer.body["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    def test_put_of_the_object_ignores_the_status(self, api: Rest, web: str) -> None:
        api.merge(f"{web}/status", ADDRESS)
        body = api.read(web)
        body["status"] = {"loadBalancer": {}}
        body["metadata"]["labels"] = {"x": "1"}
        stored = api.put(web, body).body
        assert stored["status"] == ADDRESS["status"]
        assert stored["metadata"]["labels"] == {"x": "1"}

    def test_patch_of_the_status_keeps_the_spec(self, api: Rest, web: str) -> None:
        before = api.read(web)
        answer = api.merge(f"{web}/status", {**ADDRESS, "spec": {"ingressClassName": "other"}})
        assert answer.status == 200
        stored = api.read(web)
        assert stored["status"] == ADDRESS["status"]
        assert stored["spec"] == before["spec"]
        assert stored["metadata"]["generation"] == before["metadata"]["generation"]
        assert stored["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]

    def test_put_of_the_status_keeps_the_spec(self, api: Rest, web: str) -> None:
        body = api.read(web)
        body["spec"]["ingressClassName"] = "other"
        body.update(ADDRESS)
        stored = api.put(f"{web}/status", body).body
        assert stored["status"] == ADDRESS["status"]
        assert "ingressClassName" not in stored["spec"]

    def test_put_of_an_old_status_is_a_conflict(self, api: Rest, web: str) -> None:
        old = api.read(web)
        api.merge(web, {"metadata": {"labels": {"x": "1"}}})
        answer = api.put(f"{web}/status", {**old, **ADDRESS})
        assert (answer.status, answer.reason) == (409, "Conflict")

    @pytest.mark.parametrize(
        ("content_type", "patch"),
        [
            (JSON_PATCH, [{"op": "add", "path": "/status/loadBalancer/ingress", "value": [{"ip": "192.0.2.7"}]}]),
            (STRATEGIC_PATCH, ADDRESS),
        ],
    )
    def test_each_patch_type_works(self, api: Rest, web: str, content_type: str, patch: object) -> None:
        answer = api.patch(f"{web}/status", patch, content_type)
        assert (answer.status, answer.body["status"]) == (200, ADDRESS["status"])

    def test_status_can_be_read_alone(self, api: Rest, web: str) -> None:
        assert api.read(f"{web}/status") == api.read(web)

    def test_status_of_a_missing_object_is_404(self, api: Rest, place: Place) -> None:
        answer = api.merge(place.path("networking.k8s.io/v1", "ingresses", "nope", "status"), ADDRESS)
        assert (answer.status, answer.reason) == (404, "NotFound")

    def test_values_of_the_status_are_validated(self, api: Rest, place: Place) -> None:
        api.create(place.apps("statefulsets"), statefulset("web"))
        answer = api.merge(place.apps("statefulsets", "web", "status"), {"status": {"replicas": -1}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        negative = Cause(
            "FieldValueInvalid", "status.replicas", "Invalid value: -1: must be greater than or equal to 0"
        )
        assert negative in answer.causes

    def test_status_of_a_statefulset_can_be_written(self, api: Rest, place: Place) -> None:
        api.create(place.apps("statefulsets"), statefulset("web"))
        path = place.apps("statefulsets", "web")
        answer = api.merge(f"{path}/status", {"status": {"replicas": 1, "readyReplicas": 1, "observedGeneration": 1}})
        assert answer.status == 200
        assert answer.body["status"]["readyReplicas"] == 1

    def test_claim_is_pending_until_it_is_bound(self, api: Rest, place: Place) -> None:
        stored = api.create(place.core("persistentvolumeclaims"), claim("data"))
        assert stored["status"] == {"phase": "Pending"}
        answer = api.merge(place.core("persistentvolumeclaims", "data", "status"), {"status": {"phase": "Bound"}})
        assert answer.body["status"]["phase"] == "Bound"


class TestGeneration:
    @pytest.mark.parametrize(
        ("patch", "grows"),
        [
            ({"spec": {"ingressClassName": "other"}}, True),
            ({"metadata": {"labels": {"x": "1"}}}, False),
            ({"metadata": {"annotations": {"x": "1"}}}, False),
            ({"metadata": {"finalizers": []}}, False),
            (ADDRESS, False),
            ({}, False),
        ],
    )
    def test_generation_grows_with_the_spec_only(self, api: Rest, web: str, patch: Object, grows: bool) -> None:
        assert api.merge(web, patch).body["metadata"]["generation"] == (2 if grows else 1)

    def test_client_can_not_set_the_generation(self, api: Rest, place: Place) -> None:
        body = ingress("web")
        body["metadata"]["generation"] = 9
        assert api.create(place.path("networking.k8s.io/v1", "ingresses"), body)["metadata"]["generation"] == 1

    @pytest.mark.parametrize(
        ("group_version", "plural", "body"),
        [
            ("v1", "configmaps", configmap("a")),
            ("v1", "secrets", {"metadata": {"name": "a"}}),
            ("v1", "services", service("a")),
            ("v1", "persistentvolumeclaims", claim("a")),
            ("v1", "serviceaccounts", {"metadata": {"name": "a"}}),
            ("rbac.authorization.k8s.io/v1", "roles", role("a")),
        ],
    )
    def test_some_kinds_have_no_generation(
        self, api: Rest, place: Place, group_version: str, plural: str, body: Object
    ) -> None:
        assert "generation" not in api.create(place.path(group_version, plural), body)["metadata"]

    def test_pending_deletion_increments_the_generation(self, api: Rest, web: str) -> None:
        api.merge(web, {"metadata": {"finalizers": ["contract.invalid/hold"]}})
        api.delete(web)
        metadata = api.read(web)["metadata"]
        assert metadata["generation"] == 2
        api.merge(web, {"metadata": {"finalizers": None}})


class TestScale:
    @pytest.fixture
    def sts(self, api: Rest, place: Place) -> str:
        api.create(place.apps("statefulsets"), statefulset("web"))
        return place.apps("statefulsets", "web")

    def test_scale_can_be_read(self, api: Rest, sts: str) -> None:
        body = api.read(f"{sts}/scale")
        assert (body["kind"], body["apiVersion"]) == ("Scale", "autoscaling/v1")
        assert body["metadata"]["name"] == "web"
        assert body["spec"] == {}
        assert body["status"] == {"replicas": 0, "selector": "app=web"}

    def test_patch_of_the_scale_changes_the_replicas(self, api: Rest, sts: str) -> None:
        before = api.read(sts)["metadata"]["generation"]
        paused = api.merge(sts, {"spec": {"revisionHistoryLimit": 3}}).body["metadata"]["generation"]
        assert paused == before + 1
        answer = api.merge(f"{sts}/scale", {"spec": {"replicas": 3}})
        assert (answer.status, answer.body["spec"]) == (200, {"replicas": 3})
        after = api.read(sts)
        assert after["spec"]["replicas"] == 3
        assert after["metadata"]["generation"] == before + 2

    def test_negative_scale_is_422(self, api: Rest, sts: str) -> None:
        answer = api.merge(f"{sts}/scale", {"spec": {"replicas": -1}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueInvalid", "spec.replicas")]
        assert answer.details["group"] == "autoscaling"
