"""A pass that a newer request overtakes writes nothing over it."""

from contextlib import suppress

import pytest
from django.utils import timezone

from projects.models import DatabaseCluster
from projects.services.provisioning import add_project, request_delete, request_provision
from provisioning.reconcile.context import build_context
from provisioning.reconcile.lease import LeaseLostError, claim
from provisioning.reconcile.loop import observe_and_decide
from provisioning.reconcile.record import record
from tests.support.passes import follow

pytestmark = pytest.mark.django_db


def test_overtaken_pass_writes_no_message(cluster, unique_name):
    project = add_project(unique_name, actor="tester")
    request_provision(project, actor="tester")
    follow(project, lambda p: p.database and p.database.applied_at)
    lease = claim(project.pk, timezone.now())
    assert lease is not None
    context = build_context(lease)
    decision = observe_and_decide(context, timezone.now())
    request_delete(project, actor="tester")
    DatabaseCluster.objects.filter(project=project).update(message="written by the newer pass")
    with suppress(LeaseLostError):
        record(context, decision, timezone.now())
    assert DatabaseCluster.objects.get(project=project).message == "written by the newer pass"
