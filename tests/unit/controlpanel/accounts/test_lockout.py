"""The lock of an IP address after failed log-ins with many names, and its limit in the audit log."""

import pytest
from auditlog.models import LogEntry
from axes.models import AccessAttempt
from django.core.cache import caches
from django.template import Template
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
LOG_IN = "/admin/login/"


@pytest.fixture(autouse=True)
def few_attempts(settings):
    settings.LOGIN_ATTEMPTS_PER_ADDRESS = 10
    caches["process"].clear()


def fail(client: Client, name: str, address: str) -> int:
    return client.post(LOG_IN, {"username": name, "password": "wrong"}, REMOTE_ADDR=address).status_code


def test_address_is_locked_for_all_names():
    client = Client()
    answers = [fail(client, f"name{number}", "203.0.113.7") for number in range(12)]
    assert answers == [200] * 10 + [429] * 2
    assert AccessAttempt.objects.count() == 10


def test_other_addresses_are_not_locked():
    client = Client()
    for number in range(10):
        fail(client, f"name{number}", "203.0.113.7")
    assert fail(client, "name", "203.0.113.8") == 200


def test_addresses_of_one_ipv6_network_count_together():
    client = Client()
    for number in range(10):
        fail(client, f"name{number}", f"2001:db8:0:1::{number:x}")
    assert fail(client, "name", "2001:db8:0:1:ffff::1") == 429
    assert fail(client, "name", "2001:db8:0:2::1") == 200


def test_locked_address_can_not_log_in_with_the_right_password():
    user = UserFactory.create(username="ada", is_superuser=True)
    user.set_password("Tr0ub4dor-3x")
    user.save()
    client = Client()
    for number in range(10):
        fail(client, f"name{number}", "203.0.113.7")
    answer = client.post(LOG_IN, {"username": "ada", "password": "Tr0ub4dor-3x"}, REMOTE_ADDR="203.0.113.7")
    assert answer.status_code == 429
    assert client.get(reverse("admin:index")).status_code == 302


def test_failed_log_ins_of_unknown_users_are_limited_in_the_audit_log(monkeypatch):
    monkeypatch.setattr(Template, "_render", lambda *_: "")  # 303 pages that the test doesn't read
    monkeypatch.setattr("projects.audit.log._WINDOW_S", 10**10)  # no window ends during the test
    client = Client()
    for number in range(303):
        fail(client, f"name{number}", f"10.0.{number // 250}.{number % 250}")
    entries = LogEntry.objects.filter(additional_data__what="LogInFailed").order_by("pk")
    assert entries.count() == 300
    assert "not listed one by one" in entries.last().additional_data["message"]
