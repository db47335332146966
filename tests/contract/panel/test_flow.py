"""The panel contract: the life of a project on any API server, with real PostgreSQL and real sandboxes."""

import base64
import json
import shlex
from datetime import timedelta

import psycopg
import pytest
import requests
from django.conf import settings as django_settings
from django.utils import timezone

from devcluster.controllers.scenarios import NEVER, Scenario
from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.connection import Connection
from projects.domain.states import CredentialsSource, Phase, Reason, Step
from projects.models import DatabaseCluster, Event, Project, ProjectVariable, Sandbox, SandboxTemplate
from projects.services.provisioning import request_delete, request_provision, request_retry
from provisioning.inventory.adoption import explain_unknown, list_clusters
from provisioning.kube.kinds import POD, PVC, SECRET, SERVICE, STATEFULSET
from provisioning.objects.endpoints import EndpointHosts
from provisioning.objects.manifests import environment_secret_name
from provisioning.objects.names import ENDPOINT_ANNOTATION, PROJECT_ID_LABEL
from provisioning.reconcile.loop import run_pass
from tests.contract.panel import steps
from tests.contract.panel.steps import CLUSTERS, start
from tests.support.passes import available_clusters, follow, is_running

pytestmark = pytest.mark.django_db


def sandbox_environment(project):
    secret = steps.administrator.get_or_none(SECRET, "default", environment_secret_name(project.sandbox.name))
    assert secret is not None
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def is_restarted_since(before):
    return lambda project: is_running(project) and project.sandbox.applied_at != before.sandbox.applied_at


def expire(project):
    """Let the deadlines pass."""
    past = timezone.now() - timedelta(seconds=1)
    DatabaseCluster.objects.filter(project=project).update(deadline=past)
    Sandbox.objects.filter(project=project).update(deadline=past)


# The ten flows that the predecessor tested.


def test_database_is_created_and_verified(provisioned):
    database = provisioned.database
    assert database.name.startswith(f"{provisioned.kubernetes_name[:10]}-agentruntime-")
    assert database.phase == Phase.RUNNING
    assert database.is_verified
    assert list_clusters("default")


def test_sandbox_has_the_captured_credentials(provisioned):
    captured = provisioned.database.connection
    environment = sandbox_environment(provisioned)
    assert {name: environment[name] for name in captured.environment} == captured.environment
    with psycopg.connect(environment["DATABASE_URL"]) as session:
        assert session.execute("SELECT current_user").fetchone() == ("postgres",)


def test_running_sandbox_shows_the_servers_version(provisioned):
    assert provisioned.sandbox.phase == Phase.RUNNING
    page = requests.get(provisioned.sandbox.urls["app"], timeout=10).text
    with psycopg.connect(provisioned.database.connection.url) as session:
        version = session.info.parameter_status("server_version")
    assert version in page
    assert provisioned.database.connection.password not in page


def test_second_pass_reads_the_same_credentials(provisioned):
    before = provisioned.database.connection
    request_provision(provisioned, actor="tester")
    again = follow(provisioned, lambda project: project.is_carried_out)
    assert again.database.connection == before
    assert again.sandbox.applied_at == provisioned.sandbox.applied_at


def test_deletion_removes_everything(provisioned):
    request_delete(provisioned, actor="tester")
    gone = follow(provisioned, lambda project: project.phase == Phase.DELETED)
    client = steps.administrator
    selector = f"{PROJECT_ID_LABEL}={gone.uid}"
    for kind in (CLUSTERS, STATEFULSET, SERVICE, SECRET, PVC, POD):
        assert client.list_objects(kind, "default", labels=selector) == []
    assert not DatabaseCluster.objects.filter(project=gone, retired_at=None).exists()
    assert not any(row.password for row in DatabaseCluster.objects.filter(project=gone))


def test_error_about_an_unknown_project_lists_the_clusters(provisioned):
    assert provisioned.database.name in [cluster.name for cluster in list_clusters("default")]
    found = f"No database cluster found for project zzz (k8s name: zzz). {available_clusters()}"
    assert found in explain_unknown("zzz", "default")


def test_clusters_are_listed_and_filtered(provisioned):
    names = [cluster.name for cluster in list_clusters("default")]
    assert names.count(provisioned.database.name) == 1


# (An existing cluster's credentials, the name table and the connection string's form: test_credentials, test_names.)


def test_steps_are_recorded_in_order(provisioned):
    steps = provisioned.steps()
    assert [step.step for step in steps] == list(Step)
    times = [step.at for step in steps]
    assert None not in times
    assert times == sorted(times)


@pytest.mark.parametrize("text", ["😀", "\x7f"])
def test_command_of_a_sandbox_may_have_any_text(cluster, unique_name, text):
    template = SandboxTemplate.objects.create(
        name="any text", image="example/app:1", command=shlex.join(["serve", text])
    )
    project = follow(start(unique_name, template=template), lambda row: row.sandbox and row.sandbox.applied_at)
    statefulset = steps.administrator.get_or_none(STATEFULSET, "default", project.sandbox.name)
    assert statefulset["spec"]["template"]["spec"]["containers"][0]["command"] == ["serve", text]


def test_pod_template_has_no_password(provisioned):
    statefulset = steps.administrator.get_or_none(STATEFULSET, "default", provisioned.sandbox.name)
    text = json.dumps(statefulset)
    assert provisioned.database.connection.password not in text
    names = [entry["name"] for entry in statefulset["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert {"DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PROJECT_NAME"} <= set(names)


def test_legacy_kubeblocks_uses_its_own_fields(legacy_panel_cluster, use_cluster, unique_name):
    use_cluster(legacy_panel_cluster.kubeconfig)
    project = follow(start(unique_name), is_running)
    assert project.database.api_version == "apps.kubeblocks.io/v1alpha1"
    with psycopg.connect(project.database.connection.url) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_fields_of_the_operator_are_kept(provisioned):
    cluster = steps.administrator.get_or_none(CLUSTERS, "default", provisioned.database.name)
    run_pass(provisioned.pk)
    again = steps.administrator.get_or_none(CLUSTERS, "default", provisioned.database.name)
    assert again["spec"] == cluster["spec"]
    assert again["spec"]["componentSpecs"][0].get("componentDef")


# Failures that the predecessor had in these flows.


@pytest.mark.parametrize("secret", ["empty-password", "half", "undefined"])
def test_incomplete_secret_is_waited_for(set_scenario, unique_name, secret):
    set_scenario("half", Scenario(match=f"{unique_name}-*", secret=secret))
    project = follow(start(unique_name), lambda p: p.reason == Reason.SECRET_INCOMPLETE)
    assert project.sandbox is None
    assert project.database.captured_at is None
    set_scenario("half", None)
    assert follow(project, is_running).sandbox.credentials == CredentialsSource.CAPTURED


def test_late_secret_is_waited_for(set_scenario, unique_name):
    set_scenario("late", Scenario(match=f"{unique_name}-*", secret_after_s=NEVER))
    project = follow(start(unique_name), lambda p: p.reason == Reason.SECRET_MISSING)
    assert (project.phase, project.sandbox) == (Phase.WAITING, None)
    set_scenario("late", None)
    follow(project, is_running)


def test_late_database_fails_with_its_last_status_and_recovers(set_scenario, unique_name):
    set_scenario("never", Scenario(match=f"{unique_name}-*", running_after_s=NEVER))
    project = follow(start(unique_name), lambda p: p.database and p.database.observed_phase == "Creating")
    expire(project)
    late = follow(project, lambda p: p.phase == Phase.FAILED)
    assert late.reason == Reason.DEADLINE_EXCEEDED
    assert "phase Creating" in late.message
    assert late.next_pass_at is not None
    set_scenario("never", None)
    follow(late, is_running)


def test_refused_spec_shows_the_operators_message(cluster, unique_name, settings):
    settings.POSTGRES_VERSION = "99.9.9"
    project = follow(start(unique_name), lambda p: p.reason == Reason.CLUSTER_REJECTED)
    assert "99.9.9" in project.message


def test_delete_during_a_create_is_not_overwritten(cluster, unique_name):
    project = follow(start(unique_name), lambda p: p.database and p.database.applied_at)
    request_delete(project, actor="tester")
    gone = follow(project, lambda p: p.phase == Phase.DELETED)
    assert not [c for c in list_clusters("default") if c.name.startswith(f"{unique_name}-")]
    run_pass(gone.pk)
    assert Project.objects.get(pk=gone.pk).phase == Phase.DELETED


def test_two_requests_create_one_cluster(cluster, unique_name):
    project = start(unique_name)
    assert request_provision(project, actor="another").accepted
    follow(project, is_running)
    assert len([c for c in list_clusters("default") if c.name.startswith(f"{unique_name}-")]) == 1
    assert DatabaseCluster.objects.filter(project=project).count() == 1
    assert Sandbox.objects.filter(project=project).count() == 1


def test_unreachable_api_server_keeps_the_row_and_is_reported(cluster, unique_name, use_cluster, tmp_path):
    project = start(unique_name)
    broken = tmp_path / "kubeconfig"
    broken.write_text(cluster.kubeconfig.read_text().replace(cluster.url, "http://127.0.0.1:9"))
    use_cluster(broken)
    run_pass(project.pk)
    seen = Project.objects.get(pk=project.pk)
    assert (seen.phase, seen.reason) == (Phase.WAITING, Reason.CLUSTER_UNREACHABLE)
    assert "can't be reached" in seen.message
    use_cluster(cluster.kubeconfig)
    follow(project, is_running)


def test_removed_variable_is_removed_from_the_pod(cluster, provisioned):
    ProjectVariable.objects.create(project=provisioned, name="EXTRA", value=EncryptedText.of("v1"))
    with_variable = follow(provisioned, is_restarted_since(provisioned))
    assert sandbox_environment(with_variable)["EXTRA"] == "v1"
    ProjectVariable.objects.filter(project=provisioned).delete()
    without = follow(with_variable, is_restarted_since(with_variable))
    assert "EXTRA" not in sandbox_environment(without)
    assert sandbox_environment(without)["DATABASE_URL"] == without.database.connection.url


def test_password_is_encrypted_and_in_no_event(provisioned):
    from django.db import connection

    password = provisioned.database.connection.password
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 - our own table names
            assert password not in repr(cursor.fetchall()), table


# The default database, and changes outside the panel.


def default_database(project):
    real = project.database.connection
    return Connection(real.host, real.port, real.database, real.username, real.password)


def test_default_credentials_are_marked_and_replaced(set_scenario, provisioned, unique_name, settings):
    settings.DEFAULT_DATABASE = default_database(provisioned)
    name = f"{unique_name}b"
    set_scenario("late", Scenario(match=f"{name}-*", running_after_s=NEVER))
    project = follow(start(name, default_database_allowed=True), lambda p: p.database and p.database.deadline)
    assert project.sandbox is None
    expire(project)
    early = follow(project, is_running)
    assert early.reason == Reason.DEFAULT_CREDENTIALS
    assert early.sandbox.credentials == CredentialsSource.DEFAULT
    assert early.database.connection is None
    assert early.database.captured_at is None
    set_scenario("late", None)
    own = follow(early, lambda p: is_running(p) and p.reason == Reason.READY)
    assert own.sandbox.credentials == CredentialsSource.CAPTURED
    assert sandbox_environment(own)["DATABASE_URL"] == own.database.connection.url
    assert own.database.connection != settings.DEFAULT_DATABASE


def test_default_database_needs_permission(set_scenario, provisioned, unique_name, settings):
    settings.DEFAULT_DATABASE = default_database(provisioned)
    name = f"{unique_name}c"
    set_scenario("late", Scenario(match=f"{name}-*", running_after_s=NEVER))
    project = follow(start(name), lambda p: p.database and p.database.deadline)
    expire(project)
    late = follow(project, lambda p: p.phase == Phase.FAILED)
    assert late.sandbox is None


def test_running_cluster_without_a_server_is_not_verified(set_scenario, unique_name):
    set_scenario("hollow", Scenario(match=f"{unique_name}-*", no_endpoints=True))
    project = follow(start(unique_name), lambda p: p.reason == Reason.CONNECTION_REFUSED)
    assert project.sandbox is None
    set_scenario("hollow", None)
    follow(project, is_running)


def test_wrong_password_is_not_verified(cluster, provisioned):
    connection = provisioned.database.connection
    with psycopg.connect(connection.url, autocommit=True) as session:
        session.execute("ALTER ROLE postgres PASSWORD 'changed-behind-the-panels-back'")
    DatabaseCluster.objects.filter(project=provisioned).update(verified_at=None)
    seen = follow(provisioned, lambda p: p.reason == Reason.CREDENTIALS_REJECTED)
    assert "does not accept" in seen.message
    assert connection.password not in seen.message


def test_unreachable_endpoint_is_not_verified(cluster, provisioned, settings):
    """In a cluster whose DNS the panel doesn't share, the sandbox still gets the real credentials."""
    settings.ENDPOINT_HOSTS = EndpointHosts.parse(["nowhere.invalid"])
    client, database = steps.administrator, provisioned.database
    name = f"{database.name}-postgresql-postgresql"
    service = client.get_or_none(SERVICE, "default", name)
    service = {key: service[key] for key in ("apiVersion", "kind")} | {
        "metadata": {"name": name, "namespace": "default", "annotations": {ENDPOINT_ANNOTATION: "nowhere.invalid:5432"}}
    }
    client.apply(service, "services")
    seen = follow(provisioned, lambda p: p.database.host == "nowhere.invalid" and p.sandbox.applied_at)
    assert seen.database.verified_at is None
    assert seen.database.verification_note.startswith("Not verified")
    assert sandbox_environment(seen)["PGHOST"] == "nowhere.invalid"


def test_deleted_cluster_is_reported_and_replaced_on_retry(cluster, provisioned):
    client = steps.administrator
    client.delete(CLUSTERS, "default", provisioned.database.name)
    gone = follow(provisioned, lambda p: p.reason == Reason.CLUSTER_MISSING)
    assert "Retry" in gone.message
    request_retry(gone, actor="tester")
    again = follow(gone, is_running)
    assert again.database.name != provisioned.database.name
    assert DatabaseCluster.objects.filter(project=gone).count() == 2


def test_deleted_sandbox_is_created_again(cluster, provisioned):
    steps.administrator.delete(STATEFULSET, "default", provisioned.sandbox.name)
    back = follow(provisioned, is_restarted_since(provisioned))
    assert back.sandbox.name == provisioned.sandbox.name


def test_timeline_has_every_event(provisioned):
    reasons = list(Event.objects.filter(project=provisioned).order_by("at", "pk").values_list("reason", flat=True))
    assert reasons == [
        "Registered",
        "Requested",
        "ClusterApplied",
        "CredentialsCaptured",
        "ConnectionVerified",
        "SandboxApplied",
        "Ready",
    ]


def test_project_is_found_in_its_namespace(provisioned):
    assert provisioned.namespace == django_settings.KUBE_NAMESPACE
    assert provisioned.database.namespace == provisioned.namespace
