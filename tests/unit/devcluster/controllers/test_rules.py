"""Pure parts of the stand-ins: phases of a Cluster over time, rules from YAML, environments of containers."""

import asyncio
import base64
import math
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest

from devcluster.controllers.kubeblocks.objects import Owners, build_secret, build_service
from devcluster.controllers.kubeblocks.states import Observed, ServerState, decide, refusal_of
from devcluster.controllers.kubeblocks.status import next_status
from devcluster.controllers.scenarios import DEFAULT, NEVER, Failure, Phase, Scenario, Scenarios, parse_scenario
from devcluster.node.pod_environment import MissingSourceError, expand, resolve_environment
from tests.support.standin_api import cluster_spec


def a_cluster(phase: str = "", **spec: Any) -> dict[str, Any]:
    metadata = {"name": "pg", "namespace": "demo", "uid": "0a1b2c3d-0", "generation": 2}
    status = {"phase": phase} if phase else {}
    return {"apiVersion": "apps.kubeblocks.io/v1", "metadata": metadata, "spec": cluster_spec(**spec), "status": status}


def seen(age_s: float = 10, server: Any = "answering", **changes: Any) -> Observed:
    return Observed(age_s=age_s, server=server, running_after_s=4, secret_after_s=2, **changes)


STOPPED = {"component": {"stop": True}}


@pytest.mark.parametrize(
    ("cluster", "observed", "scenario", "phase"),
    [
        (a_cluster(), seen(0), DEFAULT, "Creating"),
        (a_cluster("Creating"), seen(3.9), DEFAULT, "Creating"),
        (a_cluster("Creating"), seen(4), DEFAULT, "Running"),
        (a_cluster("Creating"), seen(60, "starting"), DEFAULT, "Creating"),
        (a_cluster("Creating"), seen(60, "failed", server_error="no disk"), DEFAULT, "Creating"),
        (a_cluster("Running"), seen(60, "starting", down_s=1), DEFAULT, "Running"),
        (a_cluster("Running"), seen(60, "starting", down_s=3), DEFAULT, "Updating"),
        (a_cluster("Running"), seen(60, "failed", down_s=3, server_error="no disk"), DEFAULT, "Updating"),
        (a_cluster("Running"), seen(60, "failed", down_s=11, server_error="no disk"), DEFAULT, "Failed"),
        (a_cluster("Creating"), seen(60, "failed", down_s=11, server_error="no disk"), DEFAULT, "Failed"),
        (a_cluster("Creating"), seen(60, is_bound=False), DEFAULT, "Creating"),
        (a_cluster("Creating", component={"replicas": 0}), seen(60), DEFAULT, "Creating"),
        (a_cluster("Failed"), seen(60), DEFAULT, "Running"),
        (a_cluster("Running"), seen(60, is_updating=True), DEFAULT, "Updating"),
        (a_cluster("Creating"), seen(60, is_updating=True), DEFAULT, "Running"),
        (a_cluster("Running", **STOPPED), seen(60), DEFAULT, "Stopping"),
        (a_cluster("Stopping", **STOPPED), seen(60, "absent"), DEFAULT, "Stopped"),
        (a_cluster("Stopped"), seen(60, "starting"), DEFAULT, "Updating"),
        (a_cluster("Creating"), seen(60), Scenario(running_after_s=NEVER), "Creating"),
        (a_cluster("Creating"), seen(1), Scenario(running_after_s=1), "Running"),
        (a_cluster("Running"), seen(60), Scenario(stuck="empty"), ""),
        (a_cluster("Running"), seen(60), Scenario(stuck="Deleting"), "Deleting"),
        (a_cluster("Creating"), seen(2), Scenario(fail=Failure(after_s=3)), "Creating"),
        (a_cluster("Creating"), seen(3), Scenario(fail=Failure(after_s=3)), "Failed"),
        (a_cluster("Creating"), seen(60, "absent"), Scenario(no_endpoints=True), "Running"),
        (a_cluster("Creating", clusterDef="mysql"), seen(60), DEFAULT, ""),
    ],
)
def test_phase_follows_the_scenario(cluster, observed, scenario, phase):
    assert decide(cluster, observed, scenario).phase == phase


@pytest.mark.parametrize(
    ("age_s", "scenario", "again_s"),
    [(0, DEFAULT, 2), (2.5, DEFAULT, 1.5), (9, DEFAULT, None), (9, Scenario(secret_after_s=NEVER), None)],
)
def test_time_of_the_next_change_is_known(age_s, scenario, again_s):
    decided = decide(a_cluster("Creating"), seen(age_s), scenario).again_s
    assert decided == (None if again_s is None else pytest.approx(again_s, abs=0.01))


def statuses(cluster: dict[str, Any], observed: Observed, scenario: Scenario = DEFAULT, day: int = 1) -> list[Any]:
    """Write every status that is to be written; return them."""
    written = []
    while status := next_status(
        cluster, decide(cluster, observed, scenario), f"2026-01-{day:02}T00:00:00Z", first_generation=1
    ):
        cluster["status"] = status
        written.append(status)
        assert len(written) < 12, "it never ends"
    return written


def test_conditions_keep_the_time_of_their_last_transition():
    cluster = a_cluster()
    statuses(cluster, seen(1))
    statuses(cluster, seen(5), day=2)
    times = {one["type"]: one["lastTransitionTime"][:10] for one in cluster["status"]["conditions"]}
    assert times == {"ProvisioningStarted": "2026-01-01", "ApplyResources": "2026-01-01", "Ready": "2026-01-02"}


def test_ready_stays_until_a_component_fails():
    cluster = a_cluster()

    def ready(observed: Observed, scenario: Scenario = DEFAULT) -> str:
        statuses(cluster, observed, scenario)
        conditions = {one["type"]: str(one["status"]) for one in cluster["status"]["conditions"]}
        return conditions["Ready"]

    assert ready(seen()) == "True"
    assert ready(seen(server="starting", down_s=3)) == "True"
    assert ready(seen(server="failed", down_s=30)) == "False"
    assert ready(seen(server="starting", down_s=30)) == "False"
    assert ready(seen()) == "True"


def test_recovery_passes_through_updating():
    cluster = a_cluster()
    statuses(cluster, seen(), Scenario(fail=Failure()))
    assert cluster["status"]["phase"] == "Failed"
    assert [status["phase"] for status in statuses(cluster, seen())] == ["Updating", "Running"]


def test_change_of_the_spec_is_not_up_to_date_at_first():
    cluster = a_cluster()
    statuses(cluster, seen())
    cluster["metadata"]["generation"] = 3
    windows = [
        (status["phase"], status["observedGeneration"], status["components"]["postgresql"].get("upToDate"))
        for status in statuses(cluster, seen(is_updating=True))
    ]
    assert windows == [("Running", 2, None), ("Running", 3, None), ("Updating", 3, None), ("Updating", 3, True)]
    assert [status["phase"] for status in statuses(cluster, seen())] == ["Running"]


@pytest.mark.parametrize(
    ("component", "refusal"),
    [
        ({"componentDef": "postgresql-16-1.0.2"}, ""),
        ({"componentDef": "postgresql-16"}, ""),
        ({"componentDef": "postgresql-15"}, '"postgresql-15" and serviceVersion "16.4.0"'),
        ({"componentDef": "mysql", "serviceVersion": ""}, '"mysql" and serviceVersion ""'),
    ],
)
def test_component_definition_has_to_match_the_version(component, refusal):
    assert refusal in refusal_of(a_cluster(component=component))
    assert bool(refusal_of(a_cluster(component=component))) == bool(refusal)


def test_names_of_both_generations():
    current = a_cluster()
    legacy = {**current, "apiVersion": "apps.kubeblocks.io/v1alpha1", "kind": "Cluster"}
    legacy["spec"] = {
        "clusterDefinitionRef": "postgresql",
        "componentSpecs": [{"name": "postgresql", "componentDefRef": "postgresql"}],
    }
    current["kind"] = "Cluster"
    names = [build_secret(Owners(c), "x")["metadata"]["name"] for c in (current, legacy)]
    assert names == ["pg-postgresql-account-postgres", "pg-conn-credential"]
    services = [build_service(Owners(c), "")["metadata"]["name"] for c in (current, legacy)]
    assert services == ["pg-postgresql-postgresql", "pg-postgresql"]


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(match="a-*", running_after_s=math.inf, secret_after_s=0),
        Scenario(match="demo/*", secret="half", no_endpoints=True, slow_delete_s=1.5),
        Scenario(stuck="empty", message="not installed", fail=Failure(2, "Abnormal", "disk")),
    ],
)
def test_rule_survives_serialization(scenario):
    assert parse_scenario(scenario.to_yaml()) == scenario


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{[", "not YAML"),
        ("- a list", "not a mapping"),
        ("match: x\ncolor: red", "unknown fields: color"),
        ("running_after_s: soon", "running_after_s must be a number of seconds, not 'soon'"),
        ("running_after_s: -1", "must be a number"),
        ("running_after_s: .nan", "must be a number"),
        ("secret: plain", "secret must be one of full, empty-password, half, undefined"),
        ("stuck: Sleeping", "stuck must be one of"),
        ("fail: {phase: Running}", "fail.phase must be one of Failed, Abnormal"),
        ("fail: yes", "fail must be a mapping"),
        ("no_endpoints: 3", "must be true or false"),
    ],
)
def test_invalid_rule_is_ignored_and_named(text, complaint):
    rules = Scenarios.from_config_map({"data": {"bad": text, "good": "match: x"}})
    assert list(rules.rules) == ["good"]
    assert complaint in rules.errors["bad"]


def test_first_matching_rule_applies():
    rules = Scenarios({"a": Scenario(match="demo/*", message="a"), "b": Scenario(match="pg-*", message="b")})
    assert [rules.of(*key).message for key in (("demo", "pg-1"), ("other", "pg-1"), ("other", "x"))] == ["a", "b", ""]


@pytest.mark.parametrize(
    ("value", "expanded"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$A ${A} $(", "$A ${A} $("), ("$()", "$()")],
)
def test_variables_are_expanded(value, expanded):
    assert expand(value, {"A": "1"}) == expanded


def resolve(container: dict[str, Any], **objects: dict[str, Any]) -> dict[str, str]:
    async def fetch(kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return objects.get(f"{kind}_{name}")

    pod = {"metadata": {"name": "p-0", "namespace": "demo", "uid": "u", "labels": {"tier": "web"}}, "spec": {}}
    # In a thread: a browser test of the same run may have left its loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, resolve_environment(pod, container, fetch)).result()


def test_environment_sources_have_the_kubelets_order():
    secret = {"data": {"KEY": base64.b64encode(b"s").decode(), "bad name": "eA=="}}
    config = {"data": {"KEY": "c", "OTHER": "o"}}
    container = {
        "envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}, "prefix": "P_"}],
        "env": [
            {"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
            {"name": "KEY", "value": "$(KEY)$(P_OTHER)"},
            {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "OTHER"}}},
        ],
    }
    assert resolve(container, Secret_s=secret, ConfigMap_c=config) == {
        "KEY": "so",
        "P_KEY": "c",
        "P_OTHER": "o",
        "TIER": "web",
        "FROM_MAP": "o",
    }


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"secretRef": {"name": "x"}}]}, 'secret "x" not found'),
        ({"envFrom": [{"configMapRef": {"name": "x"}}]}, 'configmap "x" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "have", "key": "k"}}}]},
            "couldn't find key k in ConfigMap demo/have",
        ),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}, "unsupported fieldPath: spec.x"),
    ],
)
def test_missing_sources_are_named(container, message):
    with pytest.raises(MissingSourceError, match=message.replace("(", r"\(")):
        resolve(container, ConfigMap_have={"data": {}})


def test_optional_sources_may_be_missing():
    reference = {"name": "x", "key": "k", "optional": True}
    variables = [{"name": "A", "valueFrom": {"secretKeyRef": reference}}, {"name": "B", "value": "b"}]
    assert resolve({"env": variables, "envFrom": [{"secretRef": {"name": "x", "optional": True}}]}) == {"B": "b"}


def test_every_sequence_of_decisions_comes_to_rest():
    draw = random.Random(1)
    stuck = [Scenario(stuck=phase, message=text) for phase in (*get_args(Phase), "empty") for text in ("", "why")]
    failing = [Scenario(fail=Failure(0, phase)) for phase in ("Failed", "Abnormal")]
    scenarios = [*[DEFAULT] * 12, *stuck, *failing, Scenario(no_endpoints=True), Scenario(running_after_s=NEVER)]
    components = [{}, {}, {"stop": True}, {"replicas": 0}, {"replicas": 3}, {"name": "other"}]
    for _ in range(300):
        cluster = a_cluster()
        for _ in range(8):
            cluster["metadata"]["generation"] += draw.choice((0, 0, 1))
            cluster["spec"] = cluster_spec(component=draw.choice(components))
            observed = seen(
                draw.choice((0, 5)),
                draw.choice(get_args(ServerState)),
                down_s=draw.choice((0, 2, 20)),
                is_updating=draw.random() < 0.3,
                is_placed=draw.random() < 0.8,
                is_bound=draw.random() < 0.8,
            )
            statuses(cluster, observed, draw.choice(scenarios))
