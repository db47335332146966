"""Watches: replay, events, bookmarks, selectors and ends."""

from __future__ import annotations

import threading
import time

import pytest

from tests.contract.conftest import Place
from tests.support.rest import Rest, event_types, refusal

PLURAL = "secrets"


def _secret(name: str, **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": labels}}


@pytest.fixture
def path(place: Place) -> str:
    return place.core(PLURAL)


def _version(api: Rest, path: str) -> str:
    return str(api.get(path).body["metadata"]["resourceVersion"])


class TestReplay:
    def test_watch_replays_everything_after_a_version(self, api: Rest, path: str) -> None:
        start = _version(api, path)
        api.create(path, _secret("a"))
        api.merge(f"{path}/a", {"metadata": {"labels": {"x": "1"}}})
        api.delete(f"{path}/a")
        events = api.watched(path, 3, resourceVersion=start)
        assert event_types(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
        assert versions == sorted(set(versions))
        assert versions[0] > int(start)

    def test_events_have_whole_objects(self, api: Rest, path: str) -> None:
        start = _version(api, path)
        created = api.create(path, _secret("a", x="1"))
        (event,) = api.watched(path, 1, resourceVersion=start)
        assert event == {"type": "ADDED", "object": created}

    def test_deleted_event_has_the_last_state_and_a_new_version(self, api: Rest, path: str) -> None:
        created = api.create(path, _secret("a", x="1"))
        api.delete(f"{path}/a")
        (event,) = api.watched(path, 1, resourceVersion=created["metadata"]["resourceVersion"])
        assert event["type"] == "DELETED"
        assert event["object"]["metadata"]["labels"] == {"x": "1"}
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])

    def test_watch_without_a_version_begins_with_existing_objects(self, api: Rest, path: str) -> None:
        for name in "ab":
            api.create(path, _secret(name))
        with api.watch(path) as events:
            assert sorted(event_types([next(events), next(events)])) == [("ADDED", "a"), ("ADDED", "b")]
            api.create(path, _secret("c"))
            assert event_types([next(events)]) == [("ADDED", "c")]

    def test_watch_of_version_zero_begins_with_existing_objects(self, api: Rest, path: str) -> None:
        api.create(path, _secret("a"))
        assert event_types(api.watched(path, 1, resourceVersion="0")) == [("ADDED", "a")]

    def test_write_without_a_change_sends_no_event(self, api: Rest, path: str) -> None:
        start = _version(api, path)
        api.create(path, _secret("a", x="1"))
        api.merge(f"{path}/a", {"metadata": {"labels": {"x": "1"}}})
        api.create(path, _secret("b"))
        assert event_types(api.watched(path, 2, resourceVersion=start)) == [("ADDED", "a"), ("ADDED", "b")]

    def test_watch_omits_other_namespaces_and_kinds(self, api: Rest, path: str, place: Place) -> None:
        start = _version(api, path)
        api.create(place.core("services"), {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 1}]}})
        api.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": f"of-{place.name}"}})
        api.delete(f"/api/v1/namespaces/default/secrets/of-{place.name}")
        api.create(path, _secret("a"))
        assert event_types(api.watched(path, 1, resourceVersion=start)) == [("ADDED", "a")]

    def test_watch_across_namespaces_has_all_events(self, api: Rest, path: str, place: Place) -> None:
        start = _version(api, path)
        api.create(path, _secret("a", of=place.name))
        events = api.watched("/api/v1/secrets", 1, resourceVersion=start, labelSelector=f"of={place.name}")
        assert event_types(events) == [("ADDED", "a")]


class TestSelectors:
    def test_watch_sends_only_matching_objects(self, api: Rest, path: str) -> None:
        start = _version(api, path)
        api.create(path, _secret("a", x="1"))
        api.create(path, _secret("b", x="2"))
        api.create(path, _secret("c", x="1"))
        events = api.watched(path, 2, resourceVersion=start, labelSelector="x=1")
        assert event_types(events) == [("ADDED", "a"), ("ADDED", "c")]

    def test_leaving_a_selector_is_deleted_and_entering_is_added(self, api: Rest, path: str) -> None:
        start = _version(api, path)
        api.create(path, _secret("a", x="1"))
        api.merge(f"{path}/a", {"metadata": {"labels": {"x": "2"}}})
        api.merge(f"{path}/a", {"metadata": {"labels": {"x": "1"}}})
        events = api.watched(path, 3, resourceVersion=start, labelSelector="x=1")
        assert event_types(events) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]
        assert events[1]["object"]["metadata"]["labels"] == {"x": "1"}

    def test_watch_can_select_one_name(self, api: Rest, path: str) -> None:
        start = _version(api, path)
        for name in "abc":
            api.create(path, _secret(name))
        events = api.watched(path, 1, resourceVersion=start, fieldSelector="metadata.name=b")
        assert event_types(events) == [("ADDED", "b")]

    def test_malformed_selector_is_400(self, api: Rest, path: str) -> None:
        answer = api.get(path, watch=True, labelSelector="x in y")
        assert (answer.status, answer.reason) == (400, "BadRequest")


class TestEnds:
    def test_watch_ends_after_its_timeout(self, api: Rest, path: str) -> None:
        started = time.monotonic()
        assert api.watched(path, 1, timeout_s=1, resourceVersion=_version(api, path)) == []
        assert 0.5 < time.monotonic() - started < 5

    def test_events_arrive_during_the_watch(self, api: Rest, path: str) -> None:
        with api.watch(path, resourceVersion=_version(api, path)) as events:
            arrival = threading.Timer(0.3, api.create, (path, _secret("late")))
            arrival.start()
            started = time.monotonic()
            assert event_types([next(events)]) == [("ADDED", "late")]
            assert time.monotonic() - started < 5
            arrival.join()

    def test_several_watches_see_the_same_events(self, api: Rest, path: str) -> None:
        start = _version(api, path)
        with api.watch(path, resourceVersion=start) as one, api.watch(path, resourceVersion=start) as two:
            api.create(path, _secret("a"))
            assert next(one) == next(two)


class TestBookmarks:
    def test_initial_events_end_with_a_bookmark(self, api: Rest, path: str) -> None:
        for name in "ab":
            api.create(path, _secret(name))
        events = api.watched(
            path, 3, sendInitialEvents=True, resourceVersionMatch="NotOlderThan", allowWatchBookmarks=True
        )
        assert sorted(event_types(events[:2])) == [("ADDED", "a"), ("ADDED", "b")]
        assert events[2]["type"] == "BOOKMARK"
        metadata = events[2]["object"]["metadata"]
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(metadata["resourceVersion"]) >= int(events[1]["object"]["metadata"]["resourceVersion"])
        assert events[2]["object"]["kind"] == "Secret"
        assert "name" not in metadata

    def test_initial_events_need_a_version_match(self, api: Rest, path: str) -> None:
        answer = api.get(path, watch=True, sendInitialEvents=True)
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == ["resourceVersionMatch"]

    def test_initial_events_are_refused_for_lists(self, api: Rest, path: str) -> None:
        answer = api.get(path, sendInitialEvents=True, resourceVersionMatch="NotOlderThan")
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert "sendInitialEvents" in {cause.field for cause in answer.causes}

    def test_bookmark_arrives_before_the_end(self, api: Rest, path: str) -> None:
        """A server sends one about a second before its timeout, from which the next watch continues."""
        with api.watch(path, timeout_s=8, resourceVersion=_version(api, path), allowWatchBookmarks="true") as events:
            kinds = {event["type"] for event in events}
        assert kinds == {"BOOKMARK"}

    def test_bookmarks_arrive_only_on_request(self, api: Rest, path: str) -> None:
        assert api.watched(path, 1, timeout_s=3, resourceVersion=_version(api, path)) == []


class TestVersionsOutOfReach:
    def test_version_that_is_not_a_number_is_500(self, api: Rest, path: str) -> None:
        answer = api.get(path, watch=True, resourceVersion="abc")
        message = 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'
        assert refusal(answer) == (500, None, message)

    def test_watch_of_a_future_version_is_silent(self, api: Rest, path: str) -> None:
        with api.watch(path, timeout_s=2, resourceVersion="999999999") as events:
            api.create(path, _secret("a"))
            assert list(events) == []


def test_path_of_an_object_can_not_be_watched(api: Rest, path: str) -> None:
    """The parameter is ignored: a client that forgets the field selector gets the object itself."""
    created = api.create(path, _secret("a"))
    assert api.get(f"{path}/a", watch=True, timeoutSeconds=2).body == created
