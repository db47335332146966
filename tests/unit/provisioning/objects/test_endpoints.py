"""Addresses that an annotation of a Service may set."""

import pytest

from provisioning.objects.credentials import endpoint_of
from provisioning.objects.endpoints import AnnotatedEndpoint, EndpointHosts, annotated_endpoint
from provisioning.objects.names import ENDPOINT_ANNOTATION


def annotated(endpoint):
    return {"metadata": {"name": "pg1", "annotations": {ENDPOINT_ANNOTATION: endpoint}}, "spec": {"ports": []}}


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("gateway.example.com", "gateway.example.com"),
        ("gateway.example.com", "GATEWAY.example.com"),
        ("*.db.example.com", "one.db.example.com"),
        ("*.db.example.com", "a.b.db.example.com"),
        ("192.0.2.7", "192.0.2.7"),
        ("10.0.0.0/8", "10.200.3.4"),
        ("2001:db8::/32", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
    ],
)
def test_listed_hosts_are_allowed(allowed, host):
    assert EndpointHosts.parse([allowed]).allows(host)


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("gateway.example.com", "gateway.example.com.evil.test"),
        ("gateway.example.com", "evil-gateway.example.com"),
        ("gateway.example.com", "gateway.example.com."),
        ("*.db.example.com", "db.example.com"),
        ("*.db.example.com", "evildb.example.com"),
        ("10.0.0.0/8", "11.0.0.1"),
        ("10.0.0.0/8", "10.evil.test"),
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "127.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("127.0.0.1", "localhost"),
    ],
)
def test_other_hosts_are_not_allowed(allowed, host):
    assert not EndpointHosts.parse([allowed]).allows(host)


@pytest.mark.parametrize("entry", ["*", "*.", "", "http://gateway", "gateway:5432", "10.0.0.0/33", "10.0.0", "a b"])
def test_invalid_entries_are_refused(entry):
    with pytest.raises(ValueError, match=r"^"):
        EndpointHosts.parse([entry])


def test_annotation_with_another_host_is_ignored():
    stolen = annotated("evil.example:5432")
    hosts = EndpointHosts.parse(["gateway.example"])
    assert annotated_endpoint(stolen, hosts) == AnnotatedEndpoint(None, "evil.example")
    assert endpoint_of(stolen, "demo", hosts) == ("pg1.demo.svc", 5432)
    assert annotated_endpoint(annotated("gateway.example:5432"), hosts).refused_host == ""


def test_every_annotation_is_ignored_without_listed_hosts():
    assert endpoint_of(annotated("127.0.0.1:5432"), "demo") == ("pg1.demo.svc", 5432)


def test_annotation_of_a_port_needs_a_listed_host():
    one = {"metadata": {"annotations": {f"{ENDPOINT_ANNOTATION}.app": "evil.example:80"}}}
    assert annotated_endpoint(one, EndpointHosts.parse(["gateway.example"]), "app").allowed is None
    assert annotated_endpoint(one, EndpointHosts.parse(["evil.example"]), "app").allowed == ("evil.example", 80)
