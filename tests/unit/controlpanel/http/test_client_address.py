"""The client's address, as the outermost trusted proxy saw it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from controlpanel.http.client_address import client_address, find_unreadable, read_address
from provisioning import proxy_reports
from provisioning.management.doctor import examine
from provisioning.management.findings import Finding, Verdict
from provisioning.models import ProcessLease


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:49152", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:49152", "2001:db8::7"),
        ('"[2001:db8::7]:443"', "2001:db8::7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
    ],
)
def test_ports_brackets_and_quotes_are_read(entry, address):
    assert read_address(entry) == address


@pytest.mark.parametrize(
    "entry", ["unknown", "", "_hidden", "192.0.2.7:port", "192.0.2.7:123456", "[2001:db8::7", "example.com", "1.2.3"]
)
def test_invalid_address_is_ignored(entry):
    assert read_address(entry) == ""


def test_invalid_entry_falls_back_to_the_connection():
    assert client_address("10.0.0.1", "198.51.100.9, unknown", 1) == "10.0.0.1"
    assert client_address("10.0.0.1", "198.51.100.9, 192.0.2.7:5000", 1) == "192.0.2.7"


@pytest.mark.parametrize(
    ("header", "proxies", "unreadable"),
    [
        ("192.0.2.7", 1, ""),
        ("junk, 192.0.2.7", 1, ""),
        ("192.0.2.7, unknown", 1, "unknown"),
        ("_hidden, 10.0.0.2", 2, "_hidden"),
        ("192.0.2.7, ", 1, "(empty)"),
        ("192.0.2.7", 2, "192.0.2.7"),
        ("", 1, ""),
        ("unknown", 0, ""),
    ],
)
def test_unreadable_entry_is_found(header, proxies, unreadable):
    assert find_unreadable(header, proxies) == unreadable


def proxy_findings() -> list[Finding]:
    return [finding for finding in examine() if finding.subject == "proxies"]


def test_doctor_names_the_entry_that_the_web_server_could_not_read(db, settings):
    settings.TRUSTED_PROXIES = 1
    client = Client(headers={"X-Forwarded-For": "198.51.100.9, unknown"}, REMOTE_ADDR="10.0.0.1")
    for _ in range(3):
        assert client.get("/livez").status_code == 200
    (finding,) = proxy_findings()
    assert finding.verdict is Verdict.WARNING
    assert "from 10.0.0.1, with 'unknown'" in finding.message
    assert "TRUSTED_PROXIES is 1" in finding.message
    assert ProcessLease.objects.get(name="forwarded-for").details["count"] == 1, "written at most once a minute"


def test_readable_headers_and_direct_requests_are_not_reported(db, settings):
    settings.TRUSTED_PROXIES = 1
    Client(headers={"X-Forwarded-For": "192.0.2.7:4711"}).get("/livez")
    Client().get("/livez")
    assert proxy_findings() == []


def test_requests_between_two_writes_are_counted(db, settings, monkeypatch):
    settings.TRUSTED_PROXIES, now = 2, timezone.now()
    client = Client(headers={"X-Forwarded-For": "192.0.2.7"})
    for seconds in (0, 1, 2, 61):
        monkeypatch.setattr("django.utils.timezone.now", lambda at=now + timedelta(seconds=seconds): at)
        client.get("/livez")
    assert ProcessLease.objects.get(name="forwarded-for").details["count"] == 4
    found = proxy_reports.read_unreadable(now + timedelta(hours=1))
    assert found is not None
    assert (found.entry, found.since) == ("192.0.2.7", now)
    assert proxy_reports.read_unreadable(now + timedelta(days=2)) is None


def test_hostile_entry_is_one_short_line(db, settings):
    settings.TRUSTED_PROXIES = 1
    Client(headers={"X-Forwarded-For": "\x1b[31m" + "x" * 5000}).get("/livez")
    (finding,) = proxy_findings()
    assert "\x1b" not in finding.message
    assert len(finding.message) < 500
