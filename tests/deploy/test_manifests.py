"""The manifests of deploy/, checked against the schemas of Kubernetes and against the code that they configure."""

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from provisioning.kube.kinds import cluster_kind
from provisioning.kube.permissions import needed_permissions
from provisioning.management.next_provisioning import CLUSTER_WIDE
from provisioning.objects.manifests import (
    CLUSTER_V1,
    Owner,
    SandboxSpec,
    build_environment_secret,
    build_ingresses,
    build_service,
    build_statefulset,
)
from tests.deploy.assembly import assemble, containers_of, find, pod_specs, read_documents

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
KUBERNETES_VERSIONS = ("1.28", "1.32", "1.36")
BASE = assemble(DEPLOY / "base")
EXAMPLE = assemble(DEPLOY / "example")
OWNER = Owner("aaa", UUID(int=7))
SPEC = SandboxSpec(
    image="registry.example.com/web:1",
    ports={"app": 3000, "admin": 3001},
    cpu="500m",
    memory="512Mi",
    storage="10Gi",
    storage_class="fast",
    readiness_path="/healthz",
    domain="example.com",
    ingress_class="nginx",
    cluster_issuer="letsencrypt",
    command=("run", "--now"),
)


def built_by_the_panel():
    """Return all objects of built-in kinds that provisioning/objects/manifests.py builds, with all fields and with
    few.
    """
    bare = SandboxSpec(image="web:1", ports={}, cpu="1", memory="1Gi", storage="1Gi")
    for spec in (SPEC, bare):
        yield build_environment_secret("aaa-sandbox", "databases", OWNER, {"DATABASE_URL": "postgresql://…"})
        yield from build_ingresses("aaa-sandbox", "databases", OWNER, spec)
        yield build_statefulset(
            "aaa-sandbox", "databases", OWNER, spec, variables=["DATABASE_URL", "PGHOST"], digest="d"
        )
    yield build_service("aaa-sandbox", "databases", OWNER, SPEC)


def label(manifest):
    return f"{manifest['kind']}-{manifest['metadata']['name']}" if "kind" in manifest else "?"


# --- schemas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("manifest", EXAMPLE, ids=label)
def test_manifests_match_the_schemas(manifest, version):
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("manifest", list(built_by_the_panel()), ids=label)
def test_objects_of_the_panel_match_the_schemas(manifest, version):
    kubernetes_validate.validate(manifest, version, strict=True)


def test_schemas_refuse_an_invalid_object():
    wrong = json.loads(json.dumps(find(EXAMPLE, "Deployment", "controlpanel-web")))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES_VERSIONS[-1], strict=True)


def test_example_contains_every_manifest():
    assembled = {(item["kind"], item["metadata"]["name"]) for item in EXAMPLE}
    for path in DEPLOY.rglob("*.yaml"):
        for document in read_documents(path):
            if document["apiVersion"].startswith("kustomize."):
                continue
            assert (document["kind"], document["metadata"]["name"]) in assembled, path


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="There is no kubectl to compare with.")
@pytest.mark.parametrize("name", ["base", "example"])
def test_kubectl_kustomize_gives_the_same_objects(name):
    built = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / name)], check=True, capture_output=True, text=True, timeout=60
    )
    theirs = [document for document in yaml.safe_load_all(built.stdout) if document]

    def sort(manifests):
        return sorted(json.dumps(manifest, sort_keys=True) for manifest in manifests)

    assert sort(theirs) == sort(assemble(DEPLOY / name))


# --- Pods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spec"), list(pod_specs(EXAMPLE)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_pods_meet_the_restricted_standard(name, spec):
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all(volume.keys() == {"name", "emptyDir"} for volume in spec["volumes"])
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_only_pods_that_use_the_api_have_a_token():
    holders = {name for name, spec in pod_specs(EXAMPLE) if spec["automountServiceAccountToken"]}
    assert holders == {f"Deployment controlpanel-{part}" for part in ("queue", "watcher")}
    accounts = [item for item in EXAMPLE if item["kind"] == "ServiceAccount"]
    assert len(accounts) == 3
    assert all(account["automountServiceAccountToken"] is False for account in accounts)


def test_each_component_has_its_own_account():
    used = {name: spec["serviceAccountName"] for name, spec in pod_specs(EXAMPLE)}
    assert used == {
        "Job controlpanel-migrate": "controlpanel",
        "Deployment controlpanel-web": "controlpanel",
        "Deployment controlpanel-queue": "controlpanel-queue",
        "Deployment controlpanel-watcher": "controlpanel-watcher",
    }
    for part in ("web", "queue", "watcher"):
        (container,) = find(EXAMPLE, "Deployment", f"controlpanel-{part}")["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "PANEL_COMPONENT", "value": part}]


def test_all_pods_use_one_pinned_image():
    images = {container["image"] for container in containers_of(EXAMPLE)}
    assert images == {"registry.example.com/controlpanel:0.2.0"}


def test_selectors_match_their_pods_only():
    labels = dict(template_labels())
    for kind in ("Service", "PodDisruptionBudget", "Deployment"):
        for manifest in (item for item in EXAMPLE if item["kind"] == kind):
            selector = manifest["spec"]["selector"]
            wanted = selector.get("matchLabels", selector).items()
            found = [name for name, found in labels.items() if wanted <= found.items()]
            component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
            assert found == [f"Deployment controlpanel-{component}"], manifest["metadata"]


def template_labels():
    for manifest in EXAMPLE:
        if "template" in manifest.get("spec", {}):
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            yield name, manifest["spec"]["template"]["metadata"]["labels"]


def test_watcher_and_web_server_have_two_replicas():
    assert find(EXAMPLE, "Deployment", "controlpanel-watcher")["spec"]["replicas"] == 2
    assert find(EXAMPLE, "Deployment", "controlpanel-web")["spec"]["replicas"] == 2


# --- network ---------------------------------------------------------------------------------------------------


def policies_for(labels):
    """Return the policies that select a Pod with these labels."""

    def selects(selector):
        expressions = selector.get("matchExpressions", [])
        assert all(one["operator"] == "In" for one in expressions)
        is_listed = all(labels.get(one["key"]) in one["values"] for one in expressions)
        return is_listed and selector.get("matchLabels", {}).items() <= labels.items()

    specs = [item["spec"] for item in EXAMPLE if item["kind"] == "NetworkPolicy"]
    return [spec for spec in specs if selects(spec["podSelector"])]


def test_network_policy_denies_by_default():
    for labels in ({}, {"app": "something else"}, *(labels for _, labels in template_labels())):
        directions = {direction for spec in policies_for(labels) for direction in spec["policyTypes"]}
        assert directions == {"Ingress", "Egress"}, labels
    assert not [spec for spec in policies_for({}) if spec.get("ingress") or spec.get("egress")]


def test_ingress_controller_reaches_the_web_server_only():
    for name, labels in template_labels():
        rules = [rule for spec in policies_for(labels) for rule in spec.get("ingress", [])]
        if name != "Deployment controlpanel-web":
            assert rules == []
            continue
        (rule,) = rules
        assert rule["from"]
        assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]


def egress_of(component):
    """Return the ports that a component reaches, with the destinations of each."""
    (labels,) = [found for name, found in template_labels() if name.endswith(f"controlpanel-{component}")]
    reached: dict[int, list[dict[str, Any]]] = {}
    for rule in (rule for spec in policies_for(labels) for rule in spec.get("egress", [])):
        for port in rule["ports"]:
            reached.setdefault(port["port"], []).extend(rule["to"])
    return reached


@pytest.mark.parametrize(
    ("component", "ports"),
    [
        ("web", {53, 5432, 6379}),
        ("migrate", {53, 5432, 6379}),
        ("queue", {53, 5432, 6379, 443, 6443}),
        ("watcher", {53, 5432, 6379, 443, 6443}),
    ],
)
def test_egress_is_limited(component, ports):
    reached = egress_of(component)
    assert reached.keys() == ports
    networks = [
        ipaddress.ip_network(to["ipBlock"]["cidr"]) for found in reached.values() for to in found if "ipBlock" in to
    ]
    assert networks
    assert all(network.is_private for network in networks)
    databases = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "databases"}}}
    assert (databases in reached[5432]) == (component == "queue")


# --- rights ----------------------------------------------------------------------------------------------------


def granted(component):
    return {
        (group, resource, verb)
        for rule in find(BASE, "Role", f"controlpanel-{component}")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("component", ["queue", "watcher"])
def test_each_role_grants_what_doctor_checks(component):
    asked = needed_permissions(cluster_kind(CLUSTER_V1), component)
    assert granted(component) == {(kind.group, kind.plural, verb) for kind, verbs in asked.items() for verb in verbs}


def test_single_account_needs_both_roles():
    asked = needed_permissions(cluster_kind(CLUSTER_V1))
    both = granted("queue") | granted("watcher")
    assert both == {(kind.group, kind.plural, verb) for kind, verbs in asked.items() for verb in verbs}
    assert needed_permissions(cluster_kind(CLUSTER_V1), "web") == {}


def test_roles_of_a_further_namespace_differ_in_the_namespace_only(repository):
    text = (repository / "deploy/base/role.yaml").read_text()
    assert (
        "sed 's/namespace: databases/namespace: team-a/' deploy/base/role.yaml"
        in (repository / "docs/deploy.md").read_text()
    )
    for base, further in zip(
        yaml.safe_load_all(text),
        yaml.safe_load_all(text.replace("namespace: databases", "namespace: team-a")),
        strict=True,
    ):
        assert further["metadata"].pop("namespace") == "team-a"
        assert base["metadata"].pop("namespace") == "databases"
        assert further == base


def test_roles_have_no_wildcard_and_no_cluster_scope():
    assert not any("*" in grant for component in ("queue", "watcher") for grant in granted(component))
    assert not [item for item in BASE if item["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    namespace = find(EXAMPLE, "ConfigMap", "controlpanel")["data"]["KUBE_NAMESPACE"]
    bindings = [item for item in EXAMPLE if item["kind"] == "RoleBinding"]
    assert len(bindings) == len([item for item in EXAMPLE if item["kind"] == "Role"]) == 2
    for binding in bindings:
        name = binding["metadata"]["name"]
        assert binding["roleRef"]["name"] == name
        for kind in ("Role", "RoleBinding"):
            assert find(EXAMPLE, kind, name)["metadata"]["namespace"] == namespace
        (subject,) = binding["subjects"]
        account = find(EXAMPLE, "ServiceAccount", name)["metadata"]
        assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])


def test_accounts_may_get_no_other_namespace_than_kube_system():
    role = find(EXAMPLE, "ClusterRole", "controlpanel-identity")
    (rule,) = role["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (["namespaces"], ["kube-system"], ["get"])
    subjects = find(EXAMPLE, "ClusterRoleBinding", "controlpanel-identity")["subjects"]
    assert [subject["name"] for subject in subjects] == ["controlpanel-queue", "controlpanel-watcher"]
    assert len([item for item in EXAMPLE if item["kind"] == "ClusterRole"]) == 2


def test_doctor_gets_exactly_its_cluster_wide_permissions():
    """The dry runs and the doctor may list these kinds, none of which holds a secret."""
    role = find(EXAMPLE, "ClusterRole", "controlpanel-diagnosis")
    binding = find(EXAMPLE, "ClusterRoleBinding", "controlpanel-diagnosis")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list"}
    listed = {(group, plural) for rule in role["rules"] for group in rule["apiGroups"] for plural in rule["resources"]}
    assert listed == {(kind.group, kind.plural) for kind in CLUSTER_WIDE}
    assert [subject["name"] for subject in binding["subjects"]] == ["controlpanel-queue"]


# --- settings --------------------------------------------------------------------------------------------------


def environment(tmp_path, **secrets):
    """Return the environment of a Pod of the example, with the Secret filled in."""
    config = find(EXAMPLE, "ConfigMap", "controlpanel")["data"]
    return {
        "PATH": os.environ["PATH"],
        "STATE_DIR": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        **config,
        **secrets,
    }


def run_in_pod(variables, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=DEPLOY.parent, env=variables, capture_output=True, text=True, timeout=120
    )


KEYS = {
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz" * 2,
    "ENCRYPTION_KEYS": "3YUpxsEPt2RqWQ3e9Z2pmj4mKjX9mU2kYSXU5bHk9p0=",
}


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_configured_variables_exist_in_settings(kind, repository):
    manifest = find(EXAMPLE, kind, "controlpanel")
    text = (repository / "controlpanel" / "settings.py").read_text()
    for name in {**manifest.get("data", {}), **manifest.get("stringData", {})}:
        assert f'"{name}"' in text, name


def test_example_contains_no_secret():
    secret = find(EXAMPLE, "Secret", "controlpanel")
    assert "data" not in secret
    assert all(value.endswith("FILL-IN") for value in secret["stringData"].values())


def test_installation_passes_the_deployment_checks(tmp_path):
    variables = environment(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/panel.sqlite3", **KEYS)
    done = run_in_pod(variables, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


ASK = """
import sys, json
from django.core.wsgi import get_wsgi_application
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "controlpanel.settings"
get_wsgi_application()
from django.test import Client
path, headers = sys.argv[1], json.loads(sys.argv[2])
answer = Client().get(path, headers=headers)
print(answer.status_code, answer.content.decode().strip())
"""


@pytest.mark.parametrize("probe", ["readinessProbe", "livenessProbe"])
def test_probes_of_the_web_server_need_no_database(tmp_path, probe):
    (container,) = find(EXAMPLE, "Deployment", "controlpanel-web")["spec"]["template"]["spec"]["containers"]
    get = container[probe]["httpGet"]
    assert get["port"] in {port["name"] for port in container["ports"]}
    headers = {header["name"]: header["value"] for header in get["httpHeaders"]}
    variables = environment(tmp_path, DATABASE_URL="postgres://nobody:none@127.0.0.1:1/none", **KEYS)
    (tmp_path / "static").mkdir()
    done = run_in_pod(variables, "-c", ASK, get["path"], json.dumps(headers))
    assert done.stdout.strip() == "200 ok", done.stderr
    # The image's file system is read-only.
    assert [path.name for path in tmp_path.iterdir()] == ["static"]


def test_commands_of_the_manifests_exist():
    from django.core.management import get_commands

    commands = set(get_commands())
    called = [
        call[2]
        for container in containers_of(EXAMPLE)
        for call in (container.get("args"), container.get("livenessProbe", {}).get("exec", {}).get("command"))
        if call
    ]
    assert sorted(called) == ["alive", "alive", "migrate", "qcluster", "watch"]
    assert set(called) <= commands


def test_liveness_probes_need_no_database(tmp_path):
    variables = environment(tmp_path, DATABASE_URL="postgres://nobody:none@127.0.0.1:1/none", **KEYS)
    for part in ("queue", "watcher"):
        done = run_in_pod(variables, "manage.py", "alive", part)
        assert done.returncode == 0
        assert done.stderr.startswith("The panel's database does not answer")
