"""`manage.py verify`, and what `status` says of verified credentials."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from projects.models import DatabaseCluster
from tests.factories import provisioned_project
from tests.support.commands import run

pytestmark = pytest.mark.django_db

NOTE = "The database at 10.0.0.7:5432 does not accept the captured user and password."


def set_proof(**fields: object) -> None:
    provisioned_project(name="shop").databases.update(**fields)


def test_status_says_when_credentials_were_last_verified():
    set_proof(proved_at=timezone.now() - timedelta(minutes=5))
    assert "Last verified 5 min ago." in run("status", "shop").out
    described = json.loads(run("status", "shop", "--json").out)["database"]
    assert described["verified"] is True
    assert described["last_verified_at"].endswith("Z")
    assert "yes. Last verified 5 min ago." in run("credentials", "shop").out


def test_status_calls_nothing_verified_after_a_failed_proof():
    set_proof(verified_at=None, proved_at=timezone.now() - timedelta(days=2), verification_note=NOTE)
    assert f"{NOTE} Last verified 2 days ago." in run("status", "shop").out
    assert json.loads(run("status", "shop", "--json").out)["database"]["verified"] is False
    assert f"no. {NOTE}" in run("credentials", "shop").out


def test_verification_is_refused_where_the_panel_does_not_connect(settings):
    set_proof()
    settings.VERIFY_CONNECTIONS = False
    ran = run("verify", "shop")
    assert (ran.code, ran.out) == (1, "")
    assert "VERIFY_CONNECTIONS is false" in ran.err


def test_verification_without_a_worker_times_out():
    set_proof()
    ran = run("verify", "shop", "--wait", "--timeout-s", "0.3")
    assert ran.code == 3
    assert "Not done yet" in ran.out
    assert "No queue worker" in ran.err
    assert DatabaseCluster.objects.get().verification_requested_at is not None
