"""A request enqueues one task in its transaction."""

import pytest
from django.db import transaction
from django_q.models import OrmQ

from projects.domain.states import DesiredState
from projects.services.provisioning import request_provision
from tests.support.queue import pass_of, queued_calls

pytestmark = pytest.mark.django_db


def test_repeated_request_enqueues_one_task(project):
    assert request_provision(project, actor="ann").accepted
    assert request_provision(project, actor="bob").accepted
    project.refresh_from_db()
    assert project.desired_state == DesiredState.RUNNING
    assert queued_calls() == [pass_of(project)]


def test_failed_transaction_enqueues_nothing(project):
    savepoint = transaction.savepoint()
    request_provision(project, actor="ann")
    transaction.savepoint_rollback(savepoint)
    project.refresh_from_db()
    assert project.desired_state == DesiredState.REGISTERED
    assert queued_calls() == []


def test_task_has_only_an_id(project):
    request_provision(project, actor="ann")
    task = OrmQ.objects.get().task
    assert task["args"] == (project.pk,)
    assert task["kwargs"] == {}
