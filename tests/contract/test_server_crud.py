"""Create, read, replace and delete, and the fields that the server fills in."""

from __future__ import annotations

import base64
import re

import pytest

from tests.contract.conftest import Place, eventually, gone
from tests.contract.objects import configmap, ingress, pod, service, statefulset
from tests.support.rest import Object, Rest, refusal

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
OUTDATED = "the object has been modified; please apply your changes to the latest version and try again"


class TestCreate:
    def test_server_fills_in_the_metadata(self, api: Rest, place: Place) -> None:
        metadata = api.create(place.core("configmaps"), configmap("a", data={"k": "v"}))["metadata"]
        assert metadata["name"] == "a"
        assert metadata["namespace"] == place.name
        assert UUID.fullmatch(metadata["uid"])
        assert SECOND.fullmatch(metadata["creationTimestamp"])
        assert metadata["resourceVersion"].isdigit()
        assert "generation" not in metadata
        assert "selfLink" not in metadata

    def test_created_object_can_be_read(self, api: Rest, place: Place) -> None:
        created = api.create(place.core("configmaps"), configmap("a", data={"k": "v"}))
        assert api.read(place.core("configmaps", "a")) == created

    def test_server_ignores_its_metadata_in_a_body(self, api: Rest, place: Place) -> None:
        claimed = {
            "name": "a",
            "uid": "mine",
            "creationTimestamp": "2001-01-01T00:00:00Z",
            "generation": 7,
            "selfLink": "/mine",
        }
        metadata = api.create(place.core("configmaps"), {"metadata": claimed})["metadata"]
        assert metadata["uid"] != "mine"
        assert not metadata["creationTimestamp"].startswith("2001")
        assert "selfLink" not in metadata

    def test_labels_and_annotations_are_kept(self, api: Rest, place: Place) -> None:
        given = {"name": "a", "labels": {"x/y": "1", "z": ""}, "annotations": {"x/y": "any text\n", "z": ""}}
        metadata = api.create(place.core("configmaps"), {"metadata": given})["metadata"]
        assert metadata["labels"] == given["labels"]
        assert metadata["annotations"] == given["annotations"]

    def test_existing_name_is_refused(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a", data={"k": "first"}))
        answer = api.post(place.core("configmaps"), configmap("a", data={"k": "second"}))
        assert refusal(answer) == (409, "AlreadyExists", 'configmaps "a" already exists')
        assert answer.details == {"name": "a", "kind": "configmaps"}
        assert api.read(place.core("configmaps", "a"))["data"] == {"k": "first"}

    def test_refusal_of_an_existing_name_names_the_group(self, api: Rest, place: Place) -> None:
        api.create(place.apps("statefulsets"), statefulset("a"))
        answer = api.post(place.apps("statefulsets"), statefulset("a"))
        assert refusal(answer) == (409, "AlreadyExists", 'statefulsets.apps "a" already exists')
        assert answer.details == {"name": "a", "group": "apps", "kind": "statefulsets"}

    def test_generated_name_ends_in_five_characters(self, api: Rest, place: Place) -> None:
        made = [api.create(place.core("configmaps"), {"metadata": {"generateName": "gen-"}}) for _ in range(3)]
        names = {item["metadata"]["name"] for item in made}
        assert len(names) == 3
        assert all(re.fullmatch(r"gen-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)
        assert {item["metadata"]["generateName"] for item in made} == {"gen-"}

    def test_given_name_takes_precedence_over_a_generated_one(self, api: Rest, place: Place) -> None:
        made = api.create(place.core("configmaps"), {"metadata": {"name": "given", "generateName": "gen-"}})
        assert made["metadata"]["name"] == "given"

    def test_long_prefix_of_a_generated_name_is_cut(self, api: Rest, place: Place) -> None:
        made = api.create(place.core("configmaps"), {"metadata": {"generateName": "g" * 70}})
        assert len(made["metadata"]["name"]) == 63

    def test_create_with_a_resource_version_is_refused(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), {"metadata": {"name": "a", "resourceVersion": "1"}})
        assert answer.status == 500
        assert answer.message == "resourceVersion should not be set on objects to be created"
        assert api.get(place.core("configmaps", "a")).status == 404

    def test_resource_versions_grow(self, api: Rest, place: Place) -> None:
        versions = [
            int(api.create(place.core("configmaps"), configmap(name))["metadata"]["resourceVersion"]) for name in "abc"
        ]
        assert versions == sorted(set(versions))

    def test_deleted_name_can_be_used_again(self, api: Rest, place: Place) -> None:
        first = api.create(place.core("configmaps"), configmap("a"))
        api.delete(place.core("configmaps", "a"))
        second = api.create(place.core("configmaps"), configmap("a"))
        assert first["metadata"]["uid"] != second["metadata"]["uid"]


class TestReplace:
    def test_put_replaces_everything(self, api: Rest, place: Place) -> None:
        before = api.create(
            place.core("configmaps"),
            {**configmap("a", data={"k": "v"}), "metadata": {"name": "a", "labels": {"x": "1"}}},
        )
        answer = api.put(place.core("configmaps", "a"), configmap("a", data={"other": "w"}))
        assert answer.status == 200
        assert answer.body["data"] == {"other": "w"}
        assert "labels" not in answer.body["metadata"]
        assert answer.body["metadata"]["uid"] == before["metadata"]["uid"]
        assert answer.body["metadata"]["creationTimestamp"] == before["metadata"]["creationTimestamp"]
        assert answer.body["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]

    def test_put_of_an_old_version_is_a_conflict(self, api: Rest, place: Place) -> None:
        old = api.create(place.core("configmaps"), configmap("a", data={"k": "1"}))
        api.merge(place.core("configmaps", "a"), {"data": {"k": "2"}})
        old["data"] = {"k": "3"}
        answer = api.put(place.core("configmaps", "a"), old)
        expected = f'Operation cannot be fulfilled on configmaps "a": {OUTDATED}'
        assert refusal(answer) == (409, "Conflict", expected)
        assert answer.details == {"name": "a", "kind": "configmaps"}
        assert api.read(place.core("configmaps", "a"))["data"] == {"k": "2"}

    def test_conflict_names_the_group(self, api: Rest, place: Place) -> None:
        api.create(place.apps("statefulsets"), statefulset("a"))
        body = statefulset("a")
        body["metadata"]["resourceVersion"] = "1"
        answer = api.put(place.apps("statefulsets", "a"), body)
        expected = f'Operation cannot be fulfilled on statefulsets.apps "a": {OUTDATED}'
        assert refusal(answer) == (409, "Conflict", expected)
        assert answer.details == {"name": "a", "group": "apps", "kind": "statefulsets"}

    def test_put_of_the_current_version_succeeds(self, api: Rest, place: Place) -> None:
        current = api.create(place.core("configmaps"), configmap("a"))
        current["data"] = {"k": "v"}
        assert api.put(place.core("configmaps", "a"), current).status == 200

    def test_put_of_another_uid_is_a_conflict(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.put(place.core("configmaps", "a"), {"metadata": {"name": "a", "uid": "other"}})
        assert (answer.status, answer.reason) == (409, "Conflict")
        assert "Precondition failed: UID in precondition: other, UID in object meta: " in answer.message

    def test_put_without_a_change_keeps_the_version(self, api: Rest, place: Place) -> None:
        before = api.create(place.core("configmaps"), configmap("a", data={"k": "v"}))
        answer = api.put(place.core("configmaps", "a"), before)
        assert answer.body["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    def test_put_without_a_name_is_refused(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.put(place.core("configmaps", "a"), {"data": {}})
        expected = "the name of the object (a based on URL) was undeterminable: name must be provided"
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_put_under_another_name_is_refused(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.put(place.core("configmaps", "a"), configmap("b"))
        expected = "the name of the object (b) does not match the name on the URL (a)"
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_put_under_another_namespace_is_refused(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.put(place.core("configmaps", "a"), {"metadata": {"name": "a", "namespace": "other"}})
        assert (answer.status, answer.reason) == (400, "BadRequest")


class TestSecrets:
    def test_string_data_is_written_to_data(self, api: Rest, place: Place) -> None:
        body = {"metadata": {"name": "s"}, "data": {"a": "MQ==", "b": "MQ=="}, "stringData": {"b": "two", "c": "ü"}}
        stored = api.create(place.core("secrets"), body)
        assert "stringData" not in stored
        decoded = {key: base64.b64decode(value).decode() for key, value in stored["data"].items()}
        assert decoded == {"a": "1", "b": "two", "c": "ü"}
        assert stored["type"] == "Opaque"

    def test_data_that_is_not_base64_is_400(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("secrets"), {"metadata": {"name": "s"}, "data": {"k": "not base64!"}})
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert "illegal base64 data at input byte 3" in answer.message

    def test_string_data_merges_into_existing_data(self, api: Rest, place: Place) -> None:
        api.create(place.core("secrets"), {"metadata": {"name": "s"}, "stringData": {"a": "1"}})
        stored = api.merge(place.core("secrets", "s"), {"stringData": {"b": "2"}}).body
        assert sorted(stored["data"]) == ["a", "b"]

    def test_immutable_secret_keeps_its_data(self, api: Rest, place: Place) -> None:
        api.create(place.core("secrets"), {"metadata": {"name": "s"}, "immutable": True, "data": {"k": "MQ=="}})
        answer = api.merge(place.core("secrets", "s"), {"data": {"k": "Mg=="}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueForbidden", "data")]
        assert answer.causes[0].message == "Forbidden: field is immutable when `immutable` is set"

    def test_type_is_immutable(self, api: Rest, place: Place) -> None:
        api.create(place.core("secrets"), {"metadata": {"name": "s"}})
        answer = api.merge(place.core("secrets", "s"), {"type": "other/type"})
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueInvalid", "type")]

    def test_basic_auth_secret_needs_a_user_or_a_password(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("secrets"), {"metadata": {"name": "s"}, "type": "kubernetes.io/basic-auth"})
        assert answer.status == 422
        assert {cause.field for cause in answer.causes} == {"data[username]", "data[password]"}


class TestDefaults:
    def test_statefulset_has_defaults(self, api: Rest, place: Place) -> None:
        body = statefulset("web")
        del body["spec"]["replicas"]
        spec = api.create(place.apps("statefulsets"), body, dryRun="All")["spec"]
        assert spec["replicas"] == 1
        assert spec["podManagementPolicy"] == "OrderedReady"
        assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        assert spec["revisionHistoryLimit"] == 10
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}

    def test_pod_template_has_defaults(self, api: Rest, place: Place) -> None:
        spec = api.create(place.apps("statefulsets"), statefulset("web"))["spec"]["template"]["spec"]
        assert spec["restartPolicy"] == "Always"
        assert spec["dnsPolicy"] == "ClusterFirst"
        assert spec["terminationGracePeriodSeconds"] == 30
        assert spec["schedulerName"] == "default-scheduler"
        assert spec["securityContext"] == {}
        container = spec["containers"][0]
        assert container["terminationMessagePath"] == "/dev/termination-log"
        assert container["terminationMessagePolicy"] == "File"
        assert container["resources"] == {}
        assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]

    @pytest.mark.parametrize(
        ("image", "policy"),
        [("main:1", "IfNotPresent"), ("main:latest", "Always"), ("main", "Always"), ("main@sha256:" + "0" * 64, None)],
    )
    def test_pull_policy_depends_on_the_tag(self, api: Rest, place: Place, image: str, policy: str | None) -> None:
        body = statefulset("web")
        body["spec"]["template"]["spec"]["containers"][0]["image"] = image
        container = api.create(place.apps("statefulsets"), body)["spec"]["template"]["spec"]["containers"][0]
        assert container["imagePullPolicy"] == (policy or "IfNotPresent")

    def test_probes_have_defaults(self, api: Rest, place: Place) -> None:
        body = statefulset("web")
        body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": "http"}}
        probe = api.create(place.apps("statefulsets"), body)["spec"]["template"]["spec"]["containers"][0][
            "readinessProbe"
        ]
        assert probe == {
            "httpGet": {"path": "/", "port": "http", "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        }

    def test_service_has_defaults(self, api: Rest, place: Place) -> None:
        spec = api.create(place.core("services"), service("web"))["spec"]
        assert spec["type"] == "ClusterIP"
        assert spec["sessionAffinity"] == "None"
        assert spec["clusterIPs"] == [spec["clusterIP"]]
        assert spec["ipFamilies"] == ["IPv4"]
        assert spec["ipFamilyPolicy"] == "SingleStack"
        assert spec["internalTrafficPolicy"] == "Cluster"
        assert spec["ports"] == [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]

    def test_target_port_defaults_to_the_port(self, api: Rest, place: Place) -> None:
        body = service("web")
        body["spec"]["ports"] = [{"port": 80}]
        assert api.create(place.core("services"), body)["spec"]["ports"][0]["targetPort"] == 80

    def test_headless_service_has_no_address(self, api: Rest, place: Place) -> None:
        body = service("web")
        body["spec"]["clusterIP"] = "None"
        spec = api.create(place.core("services"), body)["spec"]
        assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])

    def test_each_service_has_a_different_address(self, api: Rest, place: Place) -> None:
        addresses = {api.create(place.core("services"), service(name))["spec"]["clusterIP"] for name in ("a", "b", "c")}
        assert len(addresses) == 3

    def test_replaced_service_keeps_its_address(self, api: Rest, place: Place) -> None:
        address = api.create(place.core("services"), service("web"))["spec"]["clusterIP"]
        body = service("web")
        body["spec"]["ports"][0]["port"] = 81
        answer = api.put(place.core("services", "web"), body)
        assert (answer.status, answer.body["spec"]["clusterIP"]) == (200, address)

    def test_pod_has_defaults(self, api: Rest, place: Place, needs_controllers: None) -> None:
        eventually(lambda: api.get(place.core("serviceaccounts", "default")), lambda answer: answer.status == 200)
        stored = api.create(place.core("pods"), pod("p"))
        assert stored["spec"]["serviceAccountName"] == "default"
        assert stored["spec"]["enableServiceLinks"] is True
        assert stored["status"]["phase"] == "Pending"
        assert stored["status"]["qosClass"] == "BestEffort"

    def test_ingress_has_an_empty_status(self, api: Rest, place: Place) -> None:
        stored = api.create(place.path("networking.k8s.io/v1", "ingresses"), ingress("web"))
        assert stored["status"] == {"loadBalancer": {}}
        assert stored["metadata"]["generation"] == 1


class TestDelete:
    def test_delete_answers_with_a_status(self, api: Rest, place: Place) -> None:
        uid = api.create(place.core("configmaps"), configmap("a"))["metadata"]["uid"]
        answer = api.delete(place.core("configmaps", "a"))
        assert answer.status == 200
        assert answer.body == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": uid},
        }
        assert api.get(place.core("configmaps", "a")).status == 404

    def test_delete_of_a_statefulset_names_its_group(self, api: Rest, place: Place) -> None:
        api.create(place.apps("statefulsets"), statefulset("a"))
        answer = api.delete(place.apps("statefulsets", "a"))
        assert answer.details["group"] == "apps"
        gone(api, place.apps("statefulsets", "a"))

    @pytest.mark.parametrize(
        ("preconditions", "complaint"),
        [
            ({"uid": "other"}, "the UID in the precondition (other) does not match the UID in record ("),
            (
                {"resourceVersion": "1"},
                "the ResourceVersion in the precondition (1) does not match the ResourceVersion in",
            ),
        ],
    )
    def test_unmet_precondition_is_a_conflict(
        self, api: Rest, place: Place, preconditions: Object, complaint: str
    ) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.delete(place.core("configmaps", "a"), {"preconditions": preconditions})
        assert (answer.status, answer.reason) == (409, "Conflict")
        assert answer.message.startswith(f'Operation cannot be fulfilled on ConfigMap "a": {complaint}')
        assert api.get(place.core("configmaps", "a")).status == 200

    def test_met_preconditions_allow_the_delete(self, api: Rest, place: Place) -> None:
        metadata = api.create(place.core("configmaps"), configmap("a"))["metadata"]
        preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        assert api.delete(place.core("configmaps", "a"), {"preconditions": preconditions}).status == 200
