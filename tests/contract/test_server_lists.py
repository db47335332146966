"""Lists: selectors, pages, resource versions, and lists in other shapes."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place
from tests.contract.objects import configmap, labeled, pod
from tests.support.rest import Rest, refusal

SCOPED = "contract"
"""Every object of a list test has this label, which excludes others such as kube-root-ca.crt."""


@pytest.fixture
def five(api: Rest, place: Place) -> str:
    """Create c0 to c4, with labels n and parity; return the path of their collection."""
    path = place.core("secrets")
    for number in range(5):
        body = labeled(f"c{number}", n=str(number), parity="odd" if number % 2 else "even", **{SCOPED: "yes"})
        api.create(path, {"metadata": body["metadata"]})
    return path


class TestShape:
    def test_list_has_kind_and_version(self, api: Rest, five: str) -> None:
        body = api.get(five).body
        assert (body["kind"], body["apiVersion"]) == ("SecretList", "v1")
        assert body["metadata"]["resourceVersion"].isdigit()
        assert set(body["metadata"]) == {"resourceVersion"}

    def test_items_of_a_built_in_list_have_no_kind(self, api: Rest, five: str) -> None:
        for item in api.get(five).body["items"]:
            assert "kind" not in item
            assert "apiVersion" not in item

    def test_empty_list_has_items(self, api: Rest, place: Place) -> None:
        assert api.get(place.apps("deployments")).body["items"] == []

    def test_items_are_sorted_by_name(self, api: Rest, place: Place) -> None:
        for name in ("b", "c", "a", "a-b", "a.b"):
            api.create(place.core("secrets"), {"metadata": {"name": name}})
        assert api.get(place.core("secrets")).names == ["a", "a-b", "a.b", "b", "c"]

    def test_list_across_namespaces_has_all_objects(self, api: Rest, five: str, place: Place) -> None:
        answer = api.get("/api/v1/secrets", fieldSelector=f"metadata.namespace={place.name}")
        assert answer.names == ["c0", "c1", "c2", "c3", "c4"]
        assert {item["metadata"]["namespace"] for item in answer.body["items"]} == {place.name}

    def test_list_is_not_older_than_the_last_write(self, api: Rest, place: Place) -> None:
        written = int(api.create(place.core("secrets"), {"metadata": {"name": "x"}})["metadata"]["resourceVersion"])
        assert int(api.get(place.core("secrets")).body["metadata"]["resourceVersion"]) >= written


class TestLabelSelectors:
    @pytest.mark.parametrize(
        ("selector", "names"),
        [
            ("parity=even", "024"),
            ("parity==even", "024"),
            ("parity!=even", "13"),
            ("other!=even", "01234"),
            ("parity in (even)", "024"),
            ("n in (1, 2,7)", "12"),
            ("n notin (1,2)", "034"),
            ("other notin (1)", "01234"),
            ("n", "01234"),
            ("!n", ""),
            ("!other", "01234"),
            ("parity=even,n!=0", "24"),
            ("parity=even, n in (2,3)", "2"),
            ("n>2", "34"),
            ("n<2", "01"),
            ("parity=", ""),
            ("parity", "01234"),
        ],
    )
    def test_label_selector_matches(self, api: Rest, five: str, selector: str, names: str) -> None:
        assert api.get(five, labelSelector=selector).names == [f"c{number}" for number in names]

    @pytest.mark.parametrize(
        "selector",
        ["parity in even", "=x", "parity=a b", "parity in (", "-bad=1", "kubernetes.io/x/y=1", "n=-", "n>x"],
    )
    def test_malformed_label_selector_is_400(self, api: Rest, five: str, selector: str) -> None:
        answer = api.get(five, labelSelector=selector)
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith("unable to parse requirement: ") or "found '" in answer.message


class TestFieldSelectors:
    def test_field_selector_matches_the_name(self, api: Rest, five: str) -> None:
        assert api.get(five, fieldSelector="metadata.name=c1").names == ["c1"]
        assert api.get(five, fieldSelector="metadata.name!=c1").names == ["c0", "c2", "c3", "c4"]
        assert api.get(five, fieldSelector="metadata.name=nope").names == []

    def test_field_selector_matches_the_namespace(self, api: Rest, five: str) -> None:
        assert api.get(five, fieldSelector="metadata.namespace=other").names == []

    def test_both_kinds_of_selectors_apply_together(self, api: Rest, five: str) -> None:
        assert api.get(five, fieldSelector="metadata.name!=c2", labelSelector="parity=even").names == ["c0", "c4"]

    def test_field_selector_matches_the_type_of_a_secret(self, api: Rest, five: str) -> None:
        assert len(api.get(five, fieldSelector="type=Opaque").names) == 5
        assert api.get(five, fieldSelector="type=other").names == []

    def test_field_selector_matches_phase_and_node_of_a_pod(
        self, api: Rest, place: Place, needs_controllers: None
    ) -> None:
        body = pod("p")
        body["spec"]["automountServiceAccountToken"] = False
        api.create(place.core("serviceaccounts"), {"metadata": {"name": "robot"}})
        body["spec"]["serviceAccountName"] = "robot"
        api.create(place.core("pods"), body)
        assert api.get(place.core("pods"), fieldSelector="status.phase=Pending").names == ["p"]
        assert api.get(place.core("pods"), fieldSelector="status.phase!=Pending").names == []
        assert api.get(place.core("pods"), fieldSelector="spec.nodeName=").names == ["p"]
        assert api.get(place.core("pods"), fieldSelector="spec.serviceAccountName=robot").names == ["p"]

    @pytest.mark.parametrize("field", ["spec.x", "data.k", "metadata.labels.n", "metadata.uid"])
    def test_field_selector_of_an_unknown_field_is_400(self, api: Rest, place: Place, field: str) -> None:
        answer = api.get(place.core("configmaps"), fieldSelector=f"{field}=1")
        expected = f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_malformed_field_selector_is_400(self, api: Rest, five: str) -> None:
        answer = api.get(five, fieldSelector="bad")
        assert refusal(answer) == (400, "BadRequest", "invalid selector: 'bad'; can't understand 'bad'")


class TestPages:
    def test_pages_follow_one_another(self, api: Rest, five: str) -> None:
        first = api.get(five, limit=2)
        assert first.names == ["c0", "c1"]
        assert first.body["metadata"]["remainingItemCount"] == 3
        second = api.get(five, limit=2, **{"continue": first.body["metadata"]["continue"]})
        assert second.names == ["c2", "c3"]
        assert second.body["metadata"]["remainingItemCount"] == 1
        third = api.get(five, limit=2, **{"continue": second.body["metadata"]["continue"]})
        assert third.names == ["c4"]
        assert "continue" not in third.body["metadata"]
        assert "remainingItemCount" not in third.body["metadata"]

    def test_pages_have_one_resource_version(self, api: Rest, five: str) -> None:
        first = api.get(five, limit=2)
        api.delete(f"{five}/c3")
        api.create(five, {"metadata": {"name": "c2a"}})
        rest = api.get(five, limit=10, **{"continue": first.body["metadata"]["continue"]})
        assert rest.names == ["c2", "c3", "c4"]
        assert rest.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]

    def test_unreached_limit_gives_no_token(self, api: Rest, five: str) -> None:
        answer = api.get(five, limit=5)
        assert len(answer.names) == 5
        assert "continue" not in answer.body["metadata"]

    def test_limit_of_zero_is_no_limit(self, api: Rest, five: str) -> None:
        assert len(api.get(five, limit=0).names) == 5

    def test_pages_with_a_selector_count_no_remaining_items(self, api: Rest, five: str) -> None:
        first = api.get(five, limit=2, labelSelector="parity=even")
        assert first.names == ["c0", "c2"]
        assert "remainingItemCount" not in first.body["metadata"]
        token = first.body["metadata"]["continue"]
        assert api.get(five, limit=2, labelSelector="parity=even", **{"continue": token}).names == ["c4"]

    def test_invalid_token_is_400(self, api: Rest, five: str) -> None:
        answer = api.get(five, limit=2, **{"continue": "abc"})
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith("invalid continue token: continue key is not valid: ")

    def test_token_with_a_resource_version_is_refused(self, api: Rest, five: str) -> None:
        token = api.get(five, limit=2).body["metadata"]["continue"]
        answer = api.get(five, limit=2, resourceVersion="5", **{"continue": token})
        message = "specifying resource version is not allowed when using continue"
        assert refusal(answer) == (400, "BadRequest", message)


class TestResourceVersions:
    def test_version_zero_may_come_from_a_cache(self, api: Rest, five: str) -> None:
        assert api.get(five, resourceVersion="0").status == 200

    def test_list_of_a_future_version_times_out(self, api: Rest, five: str) -> None:
        answer = api.get(five, resourceVersion="999999999")
        status, reason, message = refusal(answer)
        assert (status, reason) == (504, "Timeout")
        assert message.startswith("Timeout: Too large resource version: 999999999, current: ")
        assert [cause.reason for cause in answer.causes] == ["ResourceVersionTooLarge"]
        assert answer.details["retryAfterSeconds"] == 1

    def test_version_that_is_not_a_number_is_400(self, api: Rest, five: str) -> None:
        answer = api.get(five, resourceVersion="abc")
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith('invalid resource version: resourceVersion: Invalid value: "abc"')

    def test_list_not_older_than_a_version_has_its_write(self, api: Rest, five: str) -> None:
        written = api.create(five, {"metadata": {"name": "d"}})["metadata"]["resourceVersion"]
        answer = api.get(five, resourceVersion=written, resourceVersionMatch="NotOlderThan")
        assert "d" in answer.names

    def test_list_of_an_exact_version_shows_the_past(self, api: Rest, five: str) -> None:
        moment = api.get(five).body["metadata"]["resourceVersion"]
        api.delete(f"{five}/c0")
        answer = api.get(five, resourceVersion=moment, resourceVersionMatch="Exact")
        assert answer.names == ["c0", "c1", "c2", "c3", "c4"]
        assert answer.body["metadata"]["resourceVersion"] == moment

    @pytest.mark.parametrize(
        ("params", "reason"),
        [
            ({"resourceVersionMatch": "Exact"}, "FieldValueForbidden"),
            ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, "FieldValueForbidden"),
            ({"resourceVersionMatch": "Nearly", "resourceVersion": "1"}, "FieldValueNotSupported"),
        ],
    )
    def test_invalid_version_match_is_422(self, api: Rest, five: str, params: dict[str, str], reason: str) -> None:
        answer = api.get(five, **params)
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [(reason, "resourceVersionMatch")]

    def test_get_of_a_future_version_times_out(self, api: Rest, five: str) -> None:
        answer = api.get(f"{five}/c0", resourceVersion="999999999")
        assert (answer.status, answer.reason) == (504, "Timeout")


class TestOtherShapes:
    def test_list_of_metadata_has_no_spec(self, api: Rest, five: str) -> None:
        body = api.call("GET", five, accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").body
        assert (body["kind"], body["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
        for item in body["items"]:
            assert (item["kind"], item["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
            assert set(item) == {"kind", "apiVersion", "metadata"}

    def test_metadata_of_one_object_has_no_spec(self, api: Rest, five: str) -> None:
        body = api.call("GET", f"{five}/c0", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").body
        assert (body["kind"], body["metadata"]["name"]) == ("PartialObjectMetadata", "c0")

    def test_table_has_columns_and_rows(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a", data={"k": "v", "l": "w"}))
        path = place.core("configmaps", "a")
        body = api.call("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json").body
        assert (body["kind"], body["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert body["columnDefinitions"][0]["name"] == "Name"
        assert body["rows"][0]["cells"][0] == "a"
        assert body["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
