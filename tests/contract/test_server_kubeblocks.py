"""KubeBlocks objects on a server, with the reduced schemas and with the full ones of KUBEBLOCKS_CRDS.

Each definition is installed in a separate group, so that one server can have all releases.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from tests.contract.conftest import Place
from tests.contract.definitions import Resource, installed, read_definitions, regrouped
from tests.contract.kubeblocks import CLUSTER_LEGACY, CLUSTER_V1, REDUCED, RELEASES, Release, Sample, mutations, samples
from tests.contract.objects import changed
from tests.support.rest import JSON_PATCH, Answer, Object, Rest, refusal

Source = Literal["reduced", "full"]
Definitions = Callable[[Source, Release, str], Resource]

FULL = os.environ.get("KUBEBLOCKS_CRDS")
needs_full = pytest.mark.skipif(not FULL, reason="KUBEBLOCKS_CRDS does not name the full KubeBlocks CRDs")
sources = pytest.mark.parametrize("source", ["reduced", pytest.param("full", marks=needs_full)])

RUNNING = {
    "phase": "Running",
    "observedGeneration": 1,
    "components": {"postgresql": {"phase": "Running", "upToDate": True}},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "ClusterReady",
            "message": "Cluster: pg1 is ready",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


@pytest.fixture(scope="session")
def definitions(api: Rest) -> Iterator[Definitions]:
    """Return a KubeBlocks resource by source, release and plural. It is installed at its first use."""
    known: dict[tuple[str, str, str], Resource] = {}

    with ExitStack() as stack:

        def install(source: Source, release: Release, plural: str) -> Resource:
            key = (source, release, plural)
            if key not in known:
                directory = REDUCED if source == "reduced" else Path(FULL or "")
                definition = read_definitions(directory / release)[plural]
                group = f"{source}-{release.replace('.', '-')}.contract.invalid"
                known[key] = stack.enter_context(installed(api, regrouped(definition, group)))
            return known[key]

        yield install


@pytest.fixture
def clusters(source: Source, definitions: Definitions) -> Resource:
    return definitions(source, "v1.0.2", "clusters")


@pytest.fixture
def pg1(api: Rest, clusters: Resource, place: Place) -> str:
    """Create a v1 Cluster; return its path."""
    api.create(clusters.path(place), clusters.body("pg1", CLUSTER_V1), fieldValidation="Strict")
    return clusters.path(place, "pg1")


def _dry_run(api: Rest, place: Place, resource: Resource, sample: Sample, spec: Object) -> Answer:
    """Send a dry run of a create with strict validation."""
    path = resource.path(place, version=sample.version)
    body = resource.body("pg1", spec, version=sample.version)
    return api.post(path, body, dryRun="All", fieldValidation="Strict")


@sources
@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.label)
def test_objects_of_the_panel_are_accepted(
    api: Rest, place: Place, definitions: Definitions, source: Source, sample: Sample
) -> None:
    resource = definitions(source, sample.release, sample.plural)
    answer = _dry_run(api, place, resource, sample, sample.spec)
    assert answer.status == 201, answer.message
    assert answer.warnings == []


@needs_full
@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.label)
def test_reduced_schemas_accept_nothing_that_full_ones_refuse(
    api: Rest, place: Place, definitions: Definitions, sample: Sample
) -> None:
    """For each field of each object and each value: what the reduced schema accepts, the full one accepts too."""
    reduced = definitions("reduced", sample.release, sample.plural)
    full = definitions("full", sample.release, sample.plural)
    verdicts: Counter[bool] = Counter()
    for path, value in mutations(sample.spec):
        spec = changed(sample.spec, path, value)
        accepted = _dry_run(api, place, reduced, sample, spec).status == 201
        verdicts[accepted] += 1
        if accepted:
            answer = _dry_run(api, place, full, sample, spec)
            assert answer.status == 201, f"{path} = {value!r}: {answer.message}"
    assert verdicts[True], "no mutation was accepted, so nothing was compared"
    assert verdicts[False], "every mutation was accepted, so nothing was refused"


@sources
class TestDiscovery:
    def test_release_1_0_serves_both_versions_and_prefers_v1(self, api: Rest, clusters: Resource) -> None:
        group = api.read(f"/apis/{clusters.group}")
        assert [version["version"] for version in group["versions"]] == ["v1", "v1alpha1"]
        assert group["preferredVersion"]["version"] == "v1"

    @pytest.mark.parametrize("release", ["v0.8.4", "v0.9.5"])
    def test_older_releases_serve_only_v1alpha1(
        self, api: Rest, definitions: Definitions, source: Source, release: Release
    ) -> None:
        resource = definitions(source, release, "clusters")
        group = api.read(f"/apis/{resource.group}")
        assert [version["version"] for version in group["versions"]] == ["v1alpha1"]
        assert api.get(f"/apis/{resource.group}/v1").status == 404

    @pytest.mark.parametrize("release", RELEASES)
    def test_clusters_have_a_status(
        self, api: Rest, definitions: Definitions, source: Source, release: Release
    ) -> None:
        resource = definitions(source, release, "clusters")
        listed = api.read(f"/apis/{resource.group}/{resource.versions[0]}")["resources"]
        assert {item["name"] for item in listed} >= {"clusters", "clusters/status"}
        assert {item["kind"] for item in listed if item["name"] == "clusters"} == {"Cluster"}


@sources
class TestClusters:
    def test_new_cluster_has_generation_one_and_no_status(self, api: Rest, pg1: str) -> None:
        body = api.read(pg1)
        assert body["metadata"]["generation"] == 1
        assert "phase" not in body.get("status", {})

    def test_legacy_fields_sent_to_v1_are_dropped(self, api: Rest, clusters: Resource, place: Place) -> None:
        answer = api.post(clusters.path(place), clusters.body("old", CLUSTER_LEGACY))
        assert answer.status == 201
        assert answer.warnings == [
            'unknown field "spec.clusterDefinitionRef"',
            'unknown field "spec.clusterVersionRef"',
            'unknown field "spec.componentSpecs[0].componentDefRef"',
        ]
        assert "clusterDefinitionRef" not in answer.body["spec"]

    def test_strict_validation_refuses_legacy_fields(self, api: Rest, clusters: Resource, place: Place) -> None:
        answer = api.post(clusters.path(place), clusters.body("old", CLUSTER_LEGACY), fieldValidation="Strict")
        message = (
            'Cluster in version "v1" cannot be handled as a Cluster: strict decoding error: '
            'unknown field "spec.clusterDefinitionRef", unknown field "spec.clusterVersionRef", '
            'unknown field "spec.componentSpecs[0].componentDefRef"'
        )
        assert refusal(answer) == (400, "BadRequest", message)
        assert api.get(clusters.path(place, "old")).status == 404

    @pytest.mark.parametrize(
        ("field", "value", "path", "message"),
        [
            ("topology", "other", "spec.topology", 'Invalid value: "other": topology is immutable'),
            ("clusterDef", "mysql", "spec.clusterDef", 'Invalid value: "mysql": clusterDef is immutable'),
            ("topology", None, "spec", "Invalid value: topology is required once set"),
        ],
    )
    def test_immutable_fields_are_refused(
        self, api: Rest, pg1: str, field: str, value: str | None, path: str, message: str
    ) -> None:
        answer = api.merge(pg1, {"spec": {field: value}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field, cause.message) for cause in answer.causes] == [
            ("FieldValueInvalid", path, message)
        ]

    def test_put_without_topology_is_refused(self, api: Rest, pg1: str) -> None:
        body = api.read(pg1)
        del body["spec"]["topology"]
        answer = api.put(pg1, body)
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.message.endswith("spec: Invalid value: topology is required once set")

    def test_termination_policy_must_be_known(self, api: Rest, clusters: Resource, place: Place) -> None:
        body = clusters.body("x", changed(CLUSTER_V1, "terminationPolicy", "Halt"))
        answer = api.post(clusters.path(place), body)
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.causes[0].message == (
            'Unsupported value: "Halt": supported values: "DoNotTerminate", "Delete", "WipeOut"'
        )

    def test_component_names_are_unique(self, api: Rest, clusters: Resource, place: Place) -> None:
        twice = [CLUSTER_V1["componentSpecs"][0]] * 2
        answer = api.post(clusters.path(place), clusters.body("x", changed(CLUSTER_V1, "componentSpecs", twice)))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.field, cause.message) for cause in answer.causes] == [
            ("spec.componentSpecs", "Invalid value: duplicated component")
        ]

    def test_operator_can_write_the_status(self, api: Rest, pg1: str) -> None:
        answer = api.merge(f"{pg1}/status", {"status": RUNNING})
        assert (answer.status, answer.warnings) == (200, [])
        assert answer.body["status"] == RUNNING
        assert answer.body["metadata"]["generation"] == 1

    def test_unknown_phase_is_refused(self, api: Rest, pg1: str) -> None:
        answer = api.merge(f"{pg1}/status", {"status": {"phase": "Dancing"}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.causes[0].field == "status.phase"
        assert answer.causes[0].reason == "FieldValueNotSupported"

    def test_condition_needs_all_its_fields(self, api: Rest, pg1: str) -> None:
        answer = api.merge(f"{pg1}/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        missing = [cause.field for cause in answer.causes if cause.reason == "FieldValueRequired"]
        assert missing == [f"status.conditions[0].{field}" for field in ("lastTransitionTime", "message", "reason")]

    def test_change_by_the_operator_is_a_new_generation(self, api: Rest, pg1: str) -> None:
        operation = {"op": "add", "path": "/spec/componentSpecs/0/componentDef", "value": "postgresql-16-1.0.2"}
        answer = api.patch(pg1, [operation], JSON_PATCH)
        assert (answer.status, answer.body["metadata"]["generation"]) == (200, 2)
        assert answer.body["spec"]["componentSpecs"][0]["serviceVersion"] == "16.4.0"

    def test_merge_patch_replaces_the_list_of_components(self, api: Rest, pg1: str) -> None:
        """The panel must not change a running Cluster this way."""
        answer = api.merge(pg1, {"spec": {"componentSpecs": [{"name": "postgresql", "replicas": 2}]}})
        assert answer.status == 200
        assert "serviceVersion" not in answer.body["spec"]["componentSpecs"][0]
        assert "volumeClaimTemplates" not in answer.body["spec"]["componentSpecs"][0]

    def test_list_of_components_has_one_owner(self, api: Rest, clusters: Resource, place: Place) -> None:
        """The list is atomic: to apply it again conflicts with what the operator wrote, or replaces that by force."""
        path = clusters.path(place, "pg1")
        assert api.apply(path, clusters.body("pg1", CLUSTER_V1), fieldManager="panel").status == 201
        operation = {"op": "add", "path": "/spec/componentSpecs/0/componentDef", "value": "postgresql-16-1.0.2"}
        api.patch(path, [operation], JSON_PATCH, fieldManager="operator")
        answer = api.apply(path, clusters.body("pg1", CLUSTER_V1), fieldManager="panel")
        assert (answer.status, answer.reason) == (409, "Conflict")
        assert [cause.field for cause in answer.causes] == [".spec.componentSpecs"]
        forced = api.apply(path, clusters.body("pg1", CLUSTER_V1), fieldManager="panel", force=True)
        assert "componentDef" not in forced.body["spec"]["componentSpecs"][0]

    def test_definition_limits_no_name(self, api: Rest, clusters: Resource, place: Place) -> None:
        body = clusters.body("p" * 64, CLUSTER_V1)
        assert api.post(clusters.path(place), body, dryRun="All").status == 201

    def test_table_has_the_columns_of_the_definition(self, api: Rest, pg1: str) -> None:
        body = api.call("GET", pg1, accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
        columns = ["Name", "CLUSTER-DEFINITION", "TERMINATION-POLICY", "STATUS", "AGE"]
        assert [column["name"] for column in body["columnDefinitions"]] == columns
        assert body["rows"][0]["cells"][:3] == ["pg1", "postgresql", "Delete"]


@sources
@pytest.mark.parametrize("release", ["v0.8.4", "v0.9.5"])
class TestLegacyClusters:
    def test_operator_can_write_the_status(
        self, api: Rest, place: Place, definitions: Definitions, source: Source, release: Release
    ) -> None:
        resource = definitions(source, release, "clusters")
        api.create(resource.path(place), resource.body("pg1", CLUSTER_LEGACY))
        status = {"phase": "Running", "observedGeneration": 1, "components": {"postgresql": {"phase": "Running"}}}
        answer = api.merge(resource.path(place, "pg1", "status"), {"status": status})
        assert (answer.status, answer.warnings) == (200, [])
        assert answer.body["status"] == status

    def test_body_of_v1_is_refused(
        self, api: Rest, place: Place, definitions: Definitions, source: Source, release: Release
    ) -> None:
        resource = definitions(source, release, "clusters")
        answer = api.post(resource.path(place), resource.body("pg1", CLUSTER_V1), fieldValidation="Strict")
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert 'unknown field "spec.clusterDef"' in answer.message


@sources
class TestOpsRequests:
    @pytest.mark.parametrize("release", RELEASES)
    def test_every_phase_is_accepted(
        self, api: Rest, place: Place, definitions: Definitions, source: Source, release: Release
    ) -> None:
        resource = definitions(source, release, "opsrequests")
        (stop,) = (sample for sample in samples() if sample.release == release and sample.what == "Stop")
        api.create(resource.path(place), resource.body("stop", stop.spec))
        for phase in ("Pending", "Creating", "Running", "Succeed"):
            status = {"phase": phase, "progress": "0/1"}
            answer = api.merge(resource.path(place, "stop", "status"), {"status": status})
            assert (answer.status, answer.body["status"]["phase"]) == (200, phase)

    @pytest.mark.parametrize("release", RELEASES)
    def test_unknown_type_is_refused(
        self, api: Rest, place: Place, definitions: Definitions, source: Source, release: Release
    ) -> None:
        resource = definitions(source, release, "opsrequests")
        (stop,) = (sample for sample in samples() if sample.release == release and sample.what == "Stop")
        answer = api.post(resource.path(place), resource.body("x", changed(stop.spec, "type", "Dance")))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert (answer.causes[0].reason, answer.causes[0].field) == ("FieldValueNotSupported", "spec.type")
