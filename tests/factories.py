"""Rows for tests, in the states in which passes leave them."""

# mypy: disable-error-code="no-untyped-call"

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone
from factory.declarations import LazyAttribute, LazyFunction, Sequence, SubFactory, Trait
from factory.django import DjangoModelFactory
from factory.helpers import post_generation

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain import naming
from projects.domain.states import CredentialsSource, DesiredState, Phase, Reason
from projects.models import DatabaseCluster, Event, Project, ProjectVariable, Sandbox

PASSWORD = "canary-Pa55/word@of:the?database"


class UserFactory(DjangoModelFactory[User]):
    """A staff member. `permissions=["view_project", …]` are permissions of the app `projects`, `groups=["Viewer", …]`
    the panel's groups.
    """

    class Meta:
        model = User
        skip_postgeneration_save = True

    username = Sequence(lambda n: f"user{n}")
    is_staff = True

    @post_generation
    def permissions(self: Any, create: bool, extracted: list[str] | None, **_: Any) -> None:
        for codename in extracted or ():
            self.user_permissions.add(Permission.objects.get(codename=codename, content_type__app_label="projects"))

    @post_generation
    def groups(self: Any, create: bool, extracted: list[str] | None, **_: Any) -> None:
        if extracted:
            self.groups.set(Group.objects.filter(name__in=extracted))


class ProjectFactory(DjangoModelFactory[Project]):
    """A project that was never provisioned."""

    class Meta:
        model = Project

    name = Sequence(lambda n: f"project-{n}")
    kubernetes_name = LazyAttribute(lambda project: naming.kubernetes_name(project.name))
    namespace = "default"

    class Params:
        wanted = Trait(
            desired_state=DesiredState.RUNNING,
            wanted_generation=1,
            observed_generation=1,
            requested_at=LazyFunction(timezone.now),
        )
        waiting = Trait(
            wanted=True,
            phase=Phase.WAITING,
            reason=Reason.WAITING_FOR_DATABASE,
            message="The database is being created: KubeBlocks says Creating.",
        )
        running = Trait(
            wanted=True,
            phase=Phase.RUNNING,
            reason=Reason.READY,
            message="The database and the sandbox are running.",
            ran_at=LazyFunction(timezone.now),
        )
        failed = Trait(
            wanted=True,
            phase=Phase.FAILED,
            reason=Reason.DEADLINE_EXCEEDED,
            message="The database was not ready within 120 s. Last status: phase Creating. Still monitoring.",
        )
        deleted = Trait(
            desired_state=DesiredState.DELETED,
            wanted_generation=2,
            observed_generation=2,
            phase=Phase.DELETED,
            reason=Reason.DELETED,
            message="The database and the sandbox are deleted.",
        )


class DatabaseFactory(DjangoModelFactory[DatabaseCluster]):
    """A database that was applied and is not running yet; with `captured=True` one that runs, with its credentials."""

    class Meta:
        model = DatabaseCluster

    project = SubFactory(ProjectFactory, waiting=True)
    name = LazyAttribute(lambda database: f"{database.project.kubernetes_name}-agentruntime-abc123")
    namespace = "default"
    phase = Phase.CREATING
    reason = Reason.CLUSTER_NOT_RUNNING
    message = "KubeBlocks says Creating."
    observed_phase = "Creating"
    api_version = "apps.kubeblocks.io/v1"
    requested_at = LazyFunction(timezone.now)
    applied_at = LazyAttribute(lambda database: database.requested_at + timedelta(seconds=0.4))
    deadline = LazyAttribute(lambda database: database.requested_at + timedelta(seconds=120))

    class Params:
        captured = Trait(
            phase=Phase.RUNNING,
            reason=Reason.CAPTURED,
            message="The database is running and its credentials are captured.",
            observed_phase="Running",
            host="10.0.0.7",
            port=5432,
            database="postgres",
            username="postgres",
            password=LazyFunction(lambda: EncryptedText.of(PASSWORD)),
            deadline=None,
            running_at=LazyAttribute(lambda database: database.requested_at + timedelta(seconds=12)),
            captured_at=LazyAttribute(lambda database: database.requested_at + timedelta(seconds=12.2)),
            verified_at=LazyAttribute(lambda database: database.requested_at + timedelta(seconds=12.3)),
            proved_at=LazyAttribute(lambda database: database.verified_at),
        )


class SandboxFactory(DjangoModelFactory[Sandbox]):
    """A running sandbox with captured credentials."""

    class Meta:
        model = Sandbox

    project = SubFactory(ProjectFactory, running=True)
    name = LazyAttribute(lambda sandbox: f"{sandbox.project.kubernetes_name}-sandbox")
    namespace = "default"
    phase = Phase.RUNNING
    reason = Reason.SANDBOX_READY
    message = "The sandbox answers."
    credentials = CredentialsSource.CAPTURED
    urls = LazyAttribute(lambda sandbox: {"app": f"http://{sandbox.name}.example.org/"})
    requested_at = LazyFunction(timezone.now)
    applied_at = LazyAttribute(lambda sandbox: sandbox.requested_at + timedelta(seconds=12.5))
    ready_at = LazyAttribute(lambda sandbox: sandbox.requested_at + timedelta(seconds=14.1))


class EventFactory(DjangoModelFactory[Event]):
    class Meta:
        model = Event

    project = SubFactory(ProjectFactory)
    at = LazyFunction(timezone.now)
    actor = "pass"
    reason = "ClusterApplied"
    message = "The Cluster was applied."


class VariableFactory(DjangoModelFactory[ProjectVariable]):
    class Meta:
        model = ProjectVariable

    project = SubFactory(ProjectFactory)
    name = Sequence(lambda n: f"VARIABLE_{n}")
    value = LazyFunction(lambda: EncryptedText.of(PASSWORD))


def provisioned_project(**fields: Any) -> Project:
    """Return a running project with its database, captured credentials and sandbox."""
    project = ProjectFactory.create(running=True, **fields)
    requested_at = timezone.now() - timedelta(minutes=7)
    ran_at = requested_at + timedelta(seconds=14.1)
    Project.objects.filter(pk=project.pk).update(requested_at=requested_at, ran_at=ran_at)
    project.refresh_from_db()
    DatabaseFactory.create(project=project, captured=True, requested_at=requested_at)
    SandboxFactory.create(project=project, requested_at=requested_at)
    return project
