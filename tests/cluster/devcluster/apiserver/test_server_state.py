"""Storage, faults and request counts of the embedded API server, which a real API server does not have."""

from __future__ import annotations

import json
import sqlite3
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.support.api_server import ServerApi, running
from tests.support.rest import MERGE_PATCH, STRATEGIC_PATCH
from tests.support.standin_api import cluster_spec
from tests.support.waiting import wait_for

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
CLUSTERS = "/apis/apps.kubeblocks.io/v1/namespaces/default/clusters"
FAULTS = "/devcluster/faults"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerApi]:
    with running(tmp_path_factory.mktemp("api-server")) as api:
        yield api


@pytest.fixture
def api(shared: ServerApi) -> Iterator[ServerApi]:
    """The shared server, emptied of faults and ConfigMaps."""
    yield shared
    shared.server.faults.clear()
    shared.send("DELETE", CONFIGMAPS)


def _configmap(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class TestRestart:
    def test_objects_versions_and_definitions_survive(self, tmp_path: Path) -> None:
        with running(tmp_path) as api:
            created = api.send("POST", CONFIGMAPS, _configmap("kept", k="v"))
            api.send("POST", CONFIGMAPS, _configmap("dropped"))
            api.send("DELETE", f"{CONFIGMAPS}/dropped")
            cluster = {"apiVersion": "apps.kubeblocks.io/v1", "kind": "Cluster", "metadata": {"name": "pg"}}
            api.send("POST", CLUSTERS, {**cluster, "spec": cluster_spec()})
            before = int(api.send("GET", CONFIGMAPS)["metadata"]["resourceVersion"])
        with running(tmp_path) as api:
            assert api.send("GET", f"{CONFIGMAPS}/kept") == created
            assert api.call("GET", f"{CONFIGMAPS}/dropped").status == 404
            assert api.send("GET", f"{CLUSTERS}/pg")["spec"]["componentSpecs"][0]["podUpdatePolicy"] == "PreferInPlace"
            after = int(api.send("POST", CONFIGMAPS, _configmap("new"))["metadata"]["resourceVersion"])
            assert after > before

    def test_watch_from_before_a_restart_has_to_list_again(self, tmp_path: Path) -> None:
        with running(tmp_path) as api:
            start = api.send("POST", CONFIGMAPS, _configmap("a"))["metadata"]["resourceVersion"]
            api.send("POST", CONFIGMAPS, _configmap("b"))
        with running(tmp_path) as api:
            (event,) = api.events(CONFIGMAPS, resourceVersion=start)
            assert (event["type"], event["object"]["code"]) == ("ERROR", 410)

    def test_deletion_continues_after_a_restart(self, tmp_path: Path) -> None:
        with running(tmp_path) as api:
            owner = api.send("POST", CONFIGMAPS, _configmap("owner"))["metadata"]["uid"]
            owned = _configmap("owned")
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner}
            owned["metadata"] = {"name": "owned", "ownerReferences": [reference]}
            api.send("POST", CONFIGMAPS, owned)
        database = sqlite3.connect(tmp_path / "objects.sqlite3")
        database.execute("DELETE FROM objects WHERE name = 'owner'")
        database.commit()
        database.close()
        with running(tmp_path) as api:
            wait_for(lambda: api.get(f"{CONFIGMAPS}/owned").status, lambda status: status == 404, timeout_s=5)

    def test_file_is_private(self, tmp_path: Path) -> None:
        with running(tmp_path):
            assert (tmp_path / "objects.sqlite3").stat().st_mode & 0o077 == 0

    def test_invalid_file_is_reported_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "objects.sqlite3").write_bytes(b"this is no database, and it is long enough to be read as one" * 20)
        with pytest.raises(sqlite3.DatabaseError), running(tmp_path):
            pass


class TestReleases:
    @pytest.mark.parametrize(
        ("release", "served", "missing"),
        [
            ("v1.0.2", "operations.kubeblocks.io/v1alpha1", "apps.kubeblocks.io/v2"),
            ("v0.9.5", "apps.kubeblocks.io/v1alpha1", "apps.kubeblocks.io/v1"),
            ("v0.8.4", "apps.kubeblocks.io/v1alpha1", "operations.kubeblocks.io/v1alpha1"),
        ],
    )
    def test_each_release_serves_its_own_kinds(self, tmp_path: Path, release: str, served: str, missing: str) -> None:
        with running(tmp_path, kubeblocks=release) as api:
            kinds = {one["kind"] for one in api.send("GET", f"/apis/{served}")["resources"]}
            assert "OpsRequest" in kinds
            assert api.call("GET", f"/apis/{missing}").status == 404


class TestFaults:
    @pytest.mark.parametrize("status", [500, 503, 403, 409, 410])
    def test_request_with_a_status_fault_has_no_effect(self, api: ServerApi, status: int) -> None:
        api.send(
            "POST", FAULTS, {"kind": "status", "status": status, "verb": "create", "resource": "configmaps", "count": 1}
        )
        answer = api.call("POST", CONFIGMAPS, _configmap("a"))
        assert (answer.status, answer.body["kind"]) == (status, "Status")
        assert api.call("GET", f"{CONFIGMAPS}/a").status == 404
        api.send("POST", CONFIGMAPS, _configmap("a"))

    def test_too_many_requests_have_retry_after(self, api: ServerApi) -> None:
        api.server.faults.add("status", status=429, retry_after_s=7, count=1)
        answer = api.call("GET", CONFIGMAPS)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")

    @pytest.mark.parametrize(("kind", "happened"), [("timeout-before", False), ("timeout-after", True)])
    def test_timeout_may_hide_an_effect(self, api: ServerApi, kind: str, happened: bool) -> None:
        api.send("POST", FAULTS, {"kind": kind, "verb": "create", "seconds": 0.05, "count": 1})
        assert api.call("POST", CONFIGMAPS, _configmap("a")).status == 504
        assert (api.call("GET", f"{CONFIGMAPS}/a").status == 200) is happened

    @pytest.mark.parametrize(("kind", "happened"), [("reset-before", False), ("reset-after", True)])
    def test_broken_connection_may_hide_an_effect(self, api: ServerApi, kind: str, happened: bool) -> None:
        api.send("POST", FAULTS, {"kind": kind, "verb": "create", "count": 1})
        with pytest.raises(urllib3.exceptions.ProtocolError):
            api.call("POST", CONFIGMAPS, _configmap("a"))
        assert (api.call("GET", f"{CONFIGMAPS}/a").status == 200) is happened

    def test_slow_body_is_complete(self, api: ServerApi) -> None:
        api.server.faults.add("slow-body", verb="get", seconds=0.2, count=1)
        api.send("POST", CONFIGMAPS, _configmap("a", k="v"))
        started = time.monotonic()
        assert api.send("GET", f"{CONFIGMAPS}/a")["data"] == {"k": "v"}
        assert time.monotonic() - started > 0.15

    def test_stale_list_shows_an_older_state(self, api: ServerApi) -> None:
        api.send("POST", CONFIGMAPS, _configmap("old"))
        api.send("POST", FAULTS, {"kind": "stale-list", "resource": "configmaps", "count": 1})
        api.send("POST", CONFIGMAPS, _configmap("young"))
        names = [one["metadata"]["name"] for one in api.send("GET", CONFIGMAPS)["items"]]
        assert "old" in names
        assert "young" not in names
        assert "young" in [one["metadata"]["name"] for one in api.send("GET", CONFIGMAPS)["items"]]

    def test_watch_answers_gone(self, api: ServerApi) -> None:
        api.send("POST", FAULTS, {"kind": "watch-gone", "count": 1})
        (event,) = api.events(CONFIGMAPS)
        assert (event["type"], event["object"]["reason"]) == ("ERROR", "Expired")

    def test_watch_breaks_within_an_event(self, api: ServerApi) -> None:
        api.send("POST", CONFIGMAPS, _configmap("a"))
        api.send("POST", FAULTS, {"kind": "truncated-watch", "count": 1})
        with pytest.raises((urllib3.exceptions.ProtocolError, json.JSONDecodeError)):
            api.events(CONFIGMAPS)

    def test_dropped_watches_end_at_once(self, api: ServerApi) -> None:
        started = time.monotonic()
        with api.watch(CONFIGMAPS, timeout_s=30) as events:
            assert api.send("POST", FAULTS, {"kind": "drop-watches"})["dropped"] >= 1
            for _ in events:
                pass
        assert time.monotonic() - started < 5

    def test_compaction_drops_older_events(self, api: ServerApi) -> None:
        start = api.send("POST", CONFIGMAPS, _configmap("a"))["metadata"]["resourceVersion"]
        api.send("POST", CONFIGMAPS, _configmap("b"))
        api.send("POST", FAULTS, {"kind": "compact"})
        (event,) = api.events(CONFIGMAPS, resourceVersion=start)
        assert event["object"]["code"] == 410

    def test_fault_affects_matching_requests_only(self, api: ServerApi) -> None:
        api.server.faults.add("status", status=500, resource="configmaps", name="aaa-*", verb="get")
        api.send("POST", CONFIGMAPS, _configmap("aaa-1"))
        api.send("POST", CONFIGMAPS, _configmap("bbb-1"))
        assert api.call("GET", f"{CONFIGMAPS}/aaa-1").status == 500
        assert api.call("GET", f"{CONFIGMAPS}/bbb-1").status == 200

    def test_faults_are_listed_and_removed(self, api: ServerApi) -> None:
        first = api.send("POST", FAULTS, {"kind": "status", "verb": "get"})["id"]
        api.send("POST", FAULTS, {"kind": "delay", "seconds": 0.01})
        assert [one["kind"] for one in api.send("GET", FAULTS)["faults"]] == ["status", "delay"]
        api.send("DELETE", f"{FAULTS}/{first}")
        assert [one["kind"] for one in api.send("GET", FAULTS)["faults"]] == ["delay"]
        assert api.call("DELETE", f"{FAULTS}/{first}").status == 404

    @pytest.mark.parametrize("body", ["nope", "[]", {"kind": "earthquake"}, {"kind": "status", "color": "red"}, {}])
    def test_invalid_fault_is_400(self, api: ServerApi, body: object) -> None:
        assert api.call("POST", FAULTS, body).status == 400
        assert api.send("GET", FAULTS)["faults"] == []

    def test_faults_are_for_masters_only(self, api: ServerApi) -> None:
        stranger = api.as_nobody()
        assert stranger.call("POST", FAULTS, {"kind": "status"}).status == 403
        assert stranger.call("GET", "/devcluster/requests").status == 403
        stranger.close()


class TestCounts:
    def test_requests_are_counted_by_verb_resource_and_user(self, api: ServerApi) -> None:
        api.send("DELETE", "/devcluster/requests")
        api.send("POST", CONFIGMAPS, _configmap("a"))
        for _ in range(3):
            api.send("GET", CONFIGMAPS)
        counts = {
            (one["verb"], one["resource"], one["user"]): one["count"]
            for one in api.send("GET", "/devcluster/requests")["requests"]
        }
        assert counts["create", "configmaps", "admin"] == 1
        assert counts["list", "configmaps", "admin"] == 3
        assert api.server.request_counts.total(verb="list", resource="configmaps") == 3


class TestSecrecy:
    def test_no_answer_or_log_contains_a_secret(self, api: ServerApi, caplog: pytest.LogCaptureFixture) -> None:
        path = "/api/v1/namespaces/default/secrets"
        api.send("POST", path, {"metadata": {"name": "s"}, "stringData": {"k": "hunter2"}})
        refused = [
            api.call("PATCH", f"{path}/s", {"data": {"k": "hunter2!"}}, content_type=MERGE_PATCH),
            api.call("PATCH", f"{path}/s", {"kind": "Pod"}, content_type=MERGE_PATCH),
            api.call("PATCH", f"{path}/s", {"stringData": {"k": ["hunter2"]}}, content_type=MERGE_PATCH),
            api.call("PATCH", f"{path}/s", {"stringData": {"k": ["hunter2"]}}, content_type=STRATEGIC_PATCH),
        ]
        api.send("DELETE", f"{path}/s")
        for answer in refused:
            assert answer.status == 422
            assert "hunter2" not in answer.text
            assert "aHVudGVyMg" not in answer.text
        assert "hunter2" not in caplog.text


class TestRobustness:
    def test_internal_error_logs_a_traceback_without_secrets(
        self, api: ServerApi, caplog: pytest.LogCaptureFixture
    ) -> None:
        database = api.server.store._connection()
        database.execute("PRAGMA query_only=ON")
        secret = {"metadata": {"name": "unsaved"}, "stringData": {"k": "hunter2"}}
        answer = api.call("POST", "/api/v1/namespaces/default/secrets", secret)
        database.execute("PRAGMA query_only=OFF")
        assert (answer.status, answer.body["reason"]) == (500, "InternalError")
        (record,) = [one for one in caplog.records if "failed" in one.getMessage()]
        assert record.getMessage() == "POST /api/v1/namespaces/default/secrets failed"
        assert record.exc_info
        (_, *frames, last) = traceback.format_exception(*record.exc_info)
        assert any("storage/store.py" in frame for frame in frames)
        assert last == "sqlite3.OperationalError\n"  # its text is left out: that may quote a Secret
        assert "hunter2" not in caplog.text

    @pytest.mark.parametrize(
        "body",
        [
            b"\xff\xfe",
            b"{" * 5000,
            b'{"metadata":' * 3000,
            b'{"metadata":{"name":"\\ud800"}}',
            b"null",
            b"1e999",
            b"NaN",
        ],
    )
    def test_hostile_bodies_are_refused(self, api: ServerApi, body: bytes) -> None:
        assert 400 <= api.call("POST", CONFIGMAPS, body).status < 500
        assert api.call("GET", "/livez").text == "ok"

    @pytest.mark.parametrize("path", ["/api/v1/namespaces/%2e%2e/configmaps", "/%00", "//", "/api/v1/namespaces/a%2Fb"])
    def test_hostile_paths_are_answered(self, api: ServerApi, path: str) -> None:
        assert api.call("GET", path).status in {200, 404}
