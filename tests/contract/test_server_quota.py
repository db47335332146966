"""ResourceQuotas: what they refuse, what counts, and the `status.used` that admission and the controller write."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.contract.conftest import Place, eventually, gone
from tests.contract.crds.conftest import new_group, widget_definition
from tests.contract.definitions import Resource, installed
from tests.contract.objects import claim, configmap, pod, service, statefulset
from tests.support.rest import Object, Rest, refusal

pytestmark = pytest.mark.usefixtures("needs_controllers")

# A real controller manager looks for new resources every 30 s.
_DISCOVERY_DEADLINE_S = 90.0


@pytest.fixture(scope="module")
def widgets(api: Rest) -> Iterator[Resource]:
    with installed(api, widget_definition(new_group())) as resource:
        yield resource


def limit(api: Rest, place: Place, hard: Object, **spec: object) -> str:
    """Create the quota `q`, wait until the controller has counted everything in it, and return its path."""
    api.create(place.core("resourcequotas"), {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}})
    path = place.core("resourcequotas", "q")
    eventually(lambda: used(api, path), lambda seen: seen is not None and seen.keys() == hard.keys())
    return path


def used(api: Rest, path: str) -> Object | None:
    status: Object = api.get(path).body.get("status") or {}
    return status.get("used")


def comes_to(api: Rest, path: str, expected: Object) -> None:
    eventually(lambda: used(api, path), lambda seen: seen == expected)


def secret(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}


class TestCounts:
    @pytest.mark.parametrize(
        ("counted", "plural", "body"),
        [
            ("secrets", "secrets", secret("a")),
            ("count/secrets", "secrets", secret("a")),
            ("count/configmaps", "configmaps", configmap("a")),
            ("services", "services", service("a")),
            ("count/services", "services", service("a")),
            ("persistentvolumeclaims", "persistentvolumeclaims", claim("a")),
            ("count/persistentvolumeclaims", "persistentvolumeclaims", claim("a")),
            ("pods", "pods", pod("a")),
            ("count/pods", "pods", pod("a")),
        ],
    )
    def test_object_above_the_limit_is_forbidden(
        self, api: Rest, place: Place, counted: str, plural: str, body: Object
    ) -> None:
        eventually(lambda: api.get(place.core("serviceaccounts", "default")).status, lambda status: status == 200)
        there = len(api.get(place.core(plural)).body["items"])
        path = limit(api, place, {counted: str(there + 1)})
        api.create(place.core(plural), body)
        # The admission of a real server may see the new quota late; then its controller counts the object.
        comes_to(api, path, {counted: str(there + 1)})
        answer = api.post(place.core(plural), {**body, "metadata": {"name": "b"}})
        amounts = f"requested: {counted}=1, used: {counted}={there + 1}, limited: {counted}={there + 1}"
        message = f'{plural} "b" is forbidden: exceeded quota: q, {amounts}'
        assert refusal(answer) == (403, "Forbidden", message)

    def test_name_of_a_resource_includes_its_group(self, api: Rest, place: Place) -> None:
        limit(api, place, {"count/statefulsets.apps": "0"})
        answer = api.post(place.apps("statefulsets"), statefulset("a"))
        amounts = "requested: count/statefulsets.apps=1, used: count/statefulsets.apps=0, "
        message = f'statefulsets.apps "a" is forbidden: exceeded quota: q, {amounts}limited: count/statefulsets.apps=0'
        assert refusal(answer) == (403, "Forbidden", message)

    def test_custom_resources_are_counted(self, api: Rest, place: Place, widgets: Resource) -> None:
        name = f"count/widgets.{widgets.group}"
        path = place.core("resourcequotas", "q")

        def limit_again() -> Object | None:
            """A quota that is older than the discovery of its resource is counted minutes later, so create it again."""
            api.delete(path)
            api.post(place.core("resourcequotas"), {"metadata": {"name": "q"}, "spec": {"hard": {name: "1"}}})
            time.sleep(1)
            return used(api, path)

        eventually(limit_again, bool, timeout_s=_DISCOVERY_DEADLINE_S)
        api.create(widgets.path(place), widgets.body("a", {"size": 1}))
        assert used(api, path) == {name: "1"}
        answer = api.post(widgets.path(place), widgets.body("b", {"size": 1}))
        amounts = f"requested: {name}=1, used: {name}=1, limited: {name}=1"
        message = f'widgets.{widgets.group} "b" is forbidden: exceeded quota: q, {amounts}'
        assert refusal(answer) == (403, "Forbidden", message)

    def test_apply_that_creates_is_counted(self, api: Rest, place: Place) -> None:
        root = place.core("configmaps", "kube-root-ca.crt")
        eventually(lambda: api.get(root).status, lambda status: status == 200)
        limit(api, place, {"count/configmaps": "1"})
        answer = api.apply(place.core("configmaps", "a"), configmap("a"), fieldManager="m")
        assert answer.status == 403
        assert answer.body["message"].startswith('configmaps "a" is forbidden: exceeded quota: q, ')

    def test_refusal_names_the_generated_prefix(self, api: Rest, place: Place) -> None:
        limit(api, place, {"secrets": "0"})
        body = {**secret(""), "metadata": {"generateName": "s-"}}
        # A real server may enforce the quota a moment after its status says so.
        answer = eventually(lambda: api.post(place.core("secrets"), body), lambda seen: seen.status == 403)
        assert answer.body["message"].startswith('secrets "s-')

    def test_unserved_resource_is_not_counted(self, api: Rest, place: Place) -> None:
        hard = {"count/nothings.example.invalid": "0", "count/secrets": "5"}
        api.create(place.core("resourcequotas"), {"metadata": {"name": "q"}, "spec": {"hard": hard}})
        comes_to(api, place.core("resourcequotas", "q"), {"count/secrets": "0"})


class TestUsage:
    def test_status_repeats_the_limits(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"secrets": "3"})
        body = api.get(path).body
        assert body["status"] == {"hard": {"secrets": "3"}, "used": {"secrets": "0"}}
        (entry,) = [one for one in body["metadata"]["managedFields"] if one.get("subresource") == "status"]
        assert (entry["manager"], entry["operation"]) == ("kube-controller-manager", "Update")

    def test_existing_objects_are_counted(self, api: Rest, place: Place) -> None:
        for name in ("a", "b"):
            api.create(place.core("secrets"), secret(name))
        path = limit(api, place, {"secrets": "1"})
        assert used(api, path) == {"secrets": "2"}

    def test_deletion_lowers_the_usage(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"secrets": "1"})
        api.create(place.core("secrets"), secret("a"))
        api.delete(place.core("secrets", "a"))
        comes_to(api, path, {"secrets": "0"})
        assert api.post(place.core("secrets"), secret("b")).status == 201

    def test_new_limits_apply(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"secrets": "0"})
        api.merge(path, {"spec": {"hard": {"secrets": "1", "configmaps": "9"}}})
        comes_to(api, path, {"secrets": "0", "configmaps": "1"})
        assert api.post(place.core("secrets"), secret("a")).status == 201

    def test_dry_run_is_refused_and_not_counted(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"secrets": "1"})
        for name in ("a", "b"):
            assert api.post(place.core("secrets"), secret(name), dryRun="All").status == 201
        assert used(api, path) == {"secrets": "0"}
        api.create(place.core("secrets"), secret("a"))
        assert api.post(place.core("secrets"), secret("b"), dryRun="All").status == 403

    def test_update_is_not_counted(self, api: Rest, place: Place) -> None:
        api.create(place.core("secrets"), secret("a"))
        limit(api, place, {"secrets": "1"})
        assert api.merge(place.core("secrets", "a"), {"data": {"k": "dg=="}}).status == 200

    def test_every_exceeded_limit_is_named(self, api: Rest, place: Place) -> None:
        limit(api, place, {"secrets": "0", "count/secrets": "0"})
        answer = api.post(place.core("secrets"), secret("a"))
        assert answer.body["message"] == (
            'secrets "a" is forbidden: exceeded quota: q, requested: count/secrets=1,secrets=1, '
            "used: count/secrets=0,secrets=0, limited: count/secrets=0,secrets=0"
        )

    def test_removed_quota_limits_nothing(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"secrets": "0"})
        api.delete(path)
        gone(api, path)
        eventually(lambda: api.post(place.core("secrets"), secret("a")).status, lambda status: status == 201)


def sized(name: str, requests: Object, limits: Object) -> Object:
    body = pod(name)
    body["spec"]["containers"][0]["resources"] = {"requests": requests, "limits": limits}
    return body


class TestCompute:
    @pytest.fixture(autouse=True)
    def account(self, api: Rest, place: Place) -> None:
        eventually(lambda: api.get(place.core("serviceaccounts", "default")).status, lambda status: status == 200)

    def test_requests_and_limits_are_summed(self, api: Rest, place: Place) -> None:
        hard = {"requests.cpu": "1", "limits.memory": "1Gi", "pods": "5"}
        path = limit(api, place, hard)
        api.create(place.core("pods"), sized("a", {"cpu": "300m"}, {"memory": "512Mi"}))
        api.create(place.core("pods"), sized("b", {"cpu": "300m"}, {"memory": "256Mi"}))
        assert used(api, path) == {"requests.cpu": "600m", "limits.memory": "768Mi", "pods": "2"}
        answer = api.post(place.core("pods"), sized("c", {"cpu": "500m"}, {"memory": "1Mi"}))
        message = 'pods "c" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, '
        assert refusal(answer) == (403, "Forbidden", message + "limited: requests.cpu=1")

    def test_each_container_must_name_what_is_limited(self, api: Rest, place: Place) -> None:
        limit(api, place, {"limits.cpu": "1", "requests.memory": "1Gi"})
        answer = api.post(place.core("pods"), pod("a"))
        message = 'pods "a" is forbidden: failed quota: q: must specify limits.cpu for: main; requests.memory for: main'
        assert refusal(answer) == (403, "Forbidden", message)

    def test_init_containers_count_by_their_peak(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"cpu": "9"})
        body = sized("a", {"cpu": "200m"}, {})
        first = {"name": "first", "image": "registry.invalid/i:1", "resources": {"requests": {"cpu": "700m"}}}
        body["spec"]["initContainers"] = [first, {**first, "name": "second"}]
        api.create(place.core("pods"), body)
        assert used(api, path) == {"cpu": "700m"}

    def test_scopes_select_pods(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"pods": "0"}, scopes=["BestEffort"])
        assert api.post(place.core("pods"), sized("a", {"cpu": "1m"}, {})).status == 201
        assert api.post(place.core("pods"), pod("b")).status == 403
        assert used(api, path) == {"pods": "0"}

    def test_ended_pod_frees_compute_and_stays_counted(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"pods": "1", "count/pods": "9"})
        api.create(place.core("pods"), pod("a"))
        api.merge(place.core("pods", "a", "status"), {"status": {"phase": "Succeeded"}})
        comes_to(api, path, {"pods": "0", "count/pods": "1"})


class TestServicesAndClaims:
    def test_node_ports_are_counted_on_updates(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"services.nodeports": "0", "services": "5"})
        api.create(place.core("services"), service("a"))
        answer = api.merge(place.core("services", "a"), {"spec": {"type": "NodePort"}})
        message = (
            'services "a" is forbidden: exceeded quota: q, requested: services.nodeports=1, '
            "used: services.nodeports=0, limited: services.nodeports=0"
        )
        assert refusal(answer) == (403, "Forbidden", message)
        assert used(api, path) == {"services.nodeports": "0", "services": "1"}

    def test_load_balancers_are_counted(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"services.loadbalancers": "1", "services.nodeports": "9"})
        body = service("a")
        body["spec"]["type"] = "LoadBalancer"
        api.create(place.core("services"), body)
        assert used(api, path) == {"services.loadbalancers": "1", "services.nodeports": "1"}

    def test_storage_is_summed(self, api: Rest, place: Place) -> None:
        path = limit(api, place, {"requests.storage": "3Gi"})
        for name in ("a", "b"):
            api.create(place.core("persistentvolumeclaims"), claim(name))
        assert used(api, path) == {"requests.storage": "2Gi"}
        big = claim("c")
        big["spec"]["resources"]["requests"]["storage"] = "1500Mi"
        answer = api.post(place.core("persistentvolumeclaims"), big)
        message = (
            'persistentvolumeclaims "c" is forbidden: exceeded quota: q, requested: requests.storage=1500Mi, '
            "used: requests.storage=2Gi, limited: requests.storage=3Gi"
        )
        assert refusal(answer) == (403, "Forbidden", message)
