"""Manifests of Clusters of both generations and of sandboxes."""

import base64
import uuid
from dataclasses import replace

import pytest
from django.core.exceptions import ValidationError

from projects.domain.ports import parse_ports
from projects.models import SandboxTemplate
from provisioning.objects.manifests import (
    CLUSTER_V1,
    CLUSTER_V1ALPHA1,
    DatabaseSpec,
    Owner,
    SandboxSpec,
    build_cluster,
    build_environment_secret,
    build_ingresses,
    build_service,
    build_statefulset,
)

OWNER = Owner("aaa", uuid.UUID(int=7))
WHERE = ("aaa-sandbox-abc123", "demo", OWNER)
SPEC = SandboxSpec("img:1", {"app": 3000, "terminal": 7681}, "500m", "512Mi", "10Gi")


def cluster(api_version):
    spec = DatabaseSpec("16.4.0", "postgresql-14.8.0", "500m", "512Mi", "3Gi", "fast")
    return build_cluster(api_version, name="pg1", namespace="demo", owner=OWNER, spec=spec)["spec"]


def test_cluster_of_the_current_generation():
    spec = cluster(CLUSTER_V1)
    assert (spec["clusterDef"], spec["topology"], spec["terminationPolicy"]) == ("postgresql", "replication", "Delete")
    component = spec["componentSpecs"][0]
    assert (component["name"], component["serviceVersion"]) == ("postgresql", "16.4.0")
    claim = component["volumeClaimTemplates"][0]
    assert claim["name"] == "data"
    assert claim["spec"]["storageClassName"] == "fast"
    assert "clusterDefinitionRef" not in spec


def test_cluster_of_the_legacy_generation():
    spec = cluster(CLUSTER_V1ALPHA1)
    assert (spec["clusterDefinitionRef"], spec["clusterVersionRef"]) == ("postgresql", "postgresql-14.8.0")
    assert spec["componentSpecs"][0]["componentDefRef"] == "postgresql"
    assert not {"clusterDef", "topology"} & set(spec)


def statefulset(spec=SPEC, digest="d"):
    return build_statefulset(*WHERE, spec, variables=["PGHOST", "A"], digest=digest)["spec"]


def test_environment_comes_from_the_secret_only():
    env = statefulset()["template"]["spec"]["containers"][0]["env"]
    assert [entry["name"] for entry in env] == ["A", "PGHOST"]
    assert all(set(entry) == {"name", "valueFrom"} for entry in env)
    secret = build_environment_secret(*WHERE, {"A": "ü=1"})
    assert base64.b64decode(secret["data"]["A"]).decode() == "ü=1"
    assert env[0]["valueFrom"]["secretKeyRef"] == {"name": secret["metadata"]["name"], "key": "A"}


def test_pod_is_restricted():
    pod = statefulset()["template"]["spec"]
    container = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize(("path", "probe"), [("", "tcpSocket"), ("/ready", "httpGet")])
def test_readiness_probe_depends_on_the_path(path, probe):
    container = statefulset(replace(SPEC, readiness_path=path))["template"]["spec"]["containers"][0]
    assert container["readinessProbe"][probe]["port"] == "app"


def test_digest_of_the_environment_is_in_the_pod_template():
    assert statefulset(digest="one")["template"] != statefulset(digest="two")["template"]
    assert statefulset(digest="one")["selector"] == statefulset(digest="two")["selector"]


def test_each_port_has_a_service_port_and_an_ingress():
    ports = build_service(*WHERE, SPEC)["spec"]["ports"]
    assert [(port["name"], port["port"]) for port in ports] == [("app", 3000), ("terminal", 7681)]
    assert build_ingresses(*WHERE, SPEC) == []
    tls = replace(SPEC, domain="example.org", tls_secret="wildcard", ingress_class="nginx")
    app, terminal = build_ingresses(*WHERE, tls)
    assert app["spec"]["rules"][0]["host"] == "aaa-sandbox-abc123-app.example.org"
    assert app["spec"]["tls"] == [{"hosts": ["aaa-sandbox-abc123-app.example.org"], "secretName": "wildcard"}]
    assert terminal["spec"]["ingressClassName"] == "nginx"
    issued = build_ingresses(*WHERE, replace(SPEC, domain="example.org", cluster_issuer="letsencrypt"))[0]
    assert issued["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt"}
    assert issued["spec"]["tls"][0]["secretName"] == "aaa-sandbox-abc123-app-tls"
    # cert-manager would write the certificate of one port over the wildcard.
    assert "annotations" not in build_ingresses(*WHERE, replace(tls, cluster_issuer="letsencrypt"))[0]["metadata"]


def test_every_object_has_owner_labels():
    for item in (statefulset()["template"], build_service(*WHERE, SPEC), build_environment_secret(*WHERE, {})):
        assert item["metadata"]["labels"]["controlpanel.fullstackagent.io/project-id"] == str(OWNER.uid)
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "controlpanel"


def test_port_lists_are_parsed():
    assert parse_ports("app:3000, terminal : 7681") == {"app": 3000, "terminal": 7681}


@pytest.mark.parametrize(
    "text", ["", "app", "app:", "app:x", "app:0", "app:70000", "App:1", "a--b:1", "a:1,a:2", "a:1,b:1"]
)
def test_invalid_ports_are_refused(text):
    with pytest.raises(ValidationError) as caught:
        parse_ports(text)
    assert len(caught.value.messages) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cpu", "much"),
        ("storage", "10 GB"),
        ("domain", "Exa mple"),
        ("readiness_path", "healthz"),
        ("command", "sh -c 'x"),
    ],
)
def test_invalid_template_is_explained(field, value):
    template = SandboxTemplate(name="t", image="i", **{field: value})
    with pytest.raises(ValidationError) as caught:
        template.full_clean(validate_unique=False)
    assert list(caught.value.message_dict) == [field]
