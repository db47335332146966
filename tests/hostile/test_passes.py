"""Passes, inventory and watcher with hostile answers of an API server: a reason is stored, and the next pass is due."""

import itertools
import logging
import threading

import pytest
from django.db import connection
from django.db.models import CharField, IntegerField, Model
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from projects.domain.states import Phase, Reason
from projects.models import FoundCluster, Inventory, Project
from projects.services.provisioning import request_delete, request_provision
from provisioning.inventory.clusters import take_inventory
from provisioning.kube.client import disconnect
from provisioning.reconcile.loop import run_pass
from provisioning.watch.streams import WATCHED_KINDS, Stream
from tests.factories import DatabaseFactory, ProjectFactory, provisioned_project
from tests.hostile import answers
from tests.hostile.server import http_json
from tests.hostile.strategies import examples, mutated, spoils, undone
from tests.hostile.test_judges import assert_presentable
from tests.hostile.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:Generating overly large repr")]

SITUATIONS = ("new", "waiting", "running", "deleting")


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.VERIFY_CONNECTIONS = False


def assert_fits(row: Model) -> None:
    """Assert that PostgreSQL can store the value: no text too long for its column, no number too large, no NUL, no lone
    surrogate.
    """
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        if isinstance(field, CharField) and field.max_length:
            assert len(value) <= field.max_length, field.name
        if isinstance(value, str):
            assert "\0" not in value.encode().decode(), field.name
        if isinstance(field, IntegerField) and value is not None:
            low, high = connection.ops.integer_field_range(field.get_internal_type())
            assert (low or 0) <= value <= (high or 2**63 - 1), field.name


def arrange(situation: str) -> Project:
    """Return a project that has something to do in the next pass."""
    match situation:
        case "new":
            project = ProjectFactory.create()
            # The server has a Cluster with the project's labels: a new project adopts it.
            request_provision(project, actor="tester", may_adopt=True)
        case "waiting":
            project = DatabaseFactory.create().project
        case _:
            project = provisioned_project()
            project.databases.update(object_uid=answers.CLUSTER_UID)
            if situation == "deleting":
                request_delete(project, actor="tester")
    return project


def world_of(project: Project) -> World:
    database, sandbox = project.databases.first(), project.sandboxes.first()
    return World(str(project.uid), database.name if database else "web", sandbox.name if sandbox else "web-sandbox")


def assert_rows_are_in_order(project: Project) -> None:
    project = Project.objects.get(pk=project.pk)
    assert project.reason in Reason.values
    # The message of unexpected exceptions; a pass that repeats a step has another one.
    assert "internal error occurred (" not in project.message, project.message
    assert project.lease_until is None
    if project.phase != Phase.DELETED:
        assert project.next_pass_at is not None
    for row in (project, *project.databases.all(), *project.sandboxes.all()):
        assert_fits(row)
        assert_presentable(row.message, 4000)
    for event in project.events.all():
        assert_fits(event)
        assert_presentable(event.message, 4000)
    for url in (url for sandbox in project.sandboxes.all() for url in sandbox.urls.values()):
        assert_presentable(url, 400)


@examples(50)
@given(
    situation=st.sampled_from(SITUATIONS),
    in_order=st.integers(0, 8),
    faults=st.lists(st.none() | spoils() | st.lists(spoils(), max_size=3), min_size=1, max_size=4),
)
def test_pass_ends_with_a_reason_for_any_answer(hostile, situation, in_order, faults):
    """The first answers are valid, so that the pass gets far; the later ones are spoiled at random."""
    disconnect()  # discovery is cached for a while
    following = itertools.chain(itertools.repeat(None, in_order), itertools.cycle(faults))

    def spoil(answer):
        fault = next(following)
        for one in fault if isinstance(fault, list) else [fault] if fault else []:
            answer = one(answer)
        return answer

    with undone():
        project = arrange(situation)
        world = world_of(project)
        hostile.respond, world.spoil = world.respond, spoil
        run_pass(project.pk)
        assert_rows_are_in_order(project)


def test_unspoiled_answers_lead_to_the_expected_phase(hostile):
    for situation in SITUATIONS:
        project = arrange(situation)
        world = world_of(project)
        hostile.respond = world.respond
        run_pass(project.pk)
        assert_rows_are_in_order(project)
        project.refresh_from_db()
        expected = {"deleting": Phase.DELETING, "running": Phase.RUNNING}.get(situation, Phase.CREATING)
        assert project.phase in (expected, Phase.RUNNING), project.message


@examples(40)
@given(
    clusters=st.lists(mutated(answers.cluster(), answers.cluster("other"), answers.deleting_cluster()), max_size=3),
    secrets=st.lists(mutated(answers.secret()), max_size=2),
)
def test_inventory_stores_valid_objects_and_reports_others(hostile, clusters, secrets):
    disconnect()

    def respond(method, path, body):
        if path == "/apis/apps.kubeblocks.io":
            return http_json({"versions": [{"groupVersion": "apps.kubeblocks.io/v1"}]})
        return http_json(answers.listing("Thing", *(secrets if "/secrets" in path else clusters)))

    hostile.respond = respond
    with undone():
        take_inventory(timezone.now())
        assert_presentable(Inventory.objects.get().trouble, 2000)
        for row in FoundCluster.objects.all():
            assert_fits(row)
            assert row.namespace == "default"
            for text in (row.name, row.hint, row.secret_note, row.obstacle, *row.labels.values()):
                assert_presentable(text, 1000)


@examples(40)
@given(items=st.lists(mutated(answers.cluster(), answers.statefulset(), answers.secret()), max_size=4))
@pytest.mark.parametrize("watched", WATCHED_KINDS, ids=lambda watched: watched.name)
def test_watcher_compares_any_list(watched, items):
    Stream(watched, "default", threading.Event()).compare([items])


def test_invalid_project_id_label_stops_no_stream(hostile, caplog):
    """Otherwise anyone who may label a Cluster could stop the watcher."""
    project = provisioned_project()
    stranger = answers.cluster("stranger", uid="not-a-uid")
    stream = Stream(WATCHED_KINDS[0], "default", threading.Event())
    stream.compare([[]])
    with caplog.at_level(logging.ERROR):
        stream.compare([[stranger, answers.cluster("ours", uid=str(project.uid), phase="Failed")]])
    project.refresh_from_db()
    assert project.queued_at is not None
    assert not caplog.records


def test_deletion_without_effect_is_sent_once_per_pass(hostile):
    project = arrange("deleting")
    world = world_of(project)

    def respond(method, path, body):
        return http_json(answers.cluster("any")) if method == "DELETE" else world.respond(method, path, body)

    hostile.respond = respond
    hostile.requests.clear()
    for expected in (1, 2):
        run_pass(project.pk)
        asked = [request for request in hostile.requests if request.startswith("DELETE") and "/clusters/" in request]
        assert len(asked) == expected
    assert_rows_are_in_order(project)
    project.refresh_from_db()
    assert (project.phase, project.reason) == (Phase.DELETING, Reason.DELETING)
    assert project.events.filter(reason="Deleting", actor="panel").count() == 1
