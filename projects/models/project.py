"""Projects and the variables of their sandboxes: what users ask for, and the schedule of passes."""

import uuid
from typing import Any, TypeVar, cast

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils.functional import cached_property

from projects.confidential.encrypted_fields import EncryptedText, EncryptedTextField
from projects.domain import naming, permissions
from projects.domain.connection import ENVIRONMENT_NAMES
from projects.domain.lifecycle import ProjectLifecycle
from projects.domain.namespaces import allowed_namespaces, explain_forbidden
from projects.domain.progress import ReachedStep, reached_steps
from projects.domain.states import CredentialsSource, DesiredState, DriftPolicy, Phase, Reason
from projects.models.observation import Observation
from projects.models.resources import DatabaseCluster, Sandbox
from projects.models.sandbox_template import SandboxTemplate
from projects.models.validators import validate_name, validate_namespace

# A single failed pass is retried within seconds and needs no attention.
_FAILURES_NOTED = 2
_Resource = TypeVar("_Resource", DatabaseCluster, Sandbox)


class ProjectQuerySet(models.QuerySet["Project"]):
    def present(self) -> "ProjectQuerySet":
        """Return projects that aren't deleted. Rows of deleted projects are kept, so that their names aren't reused."""
        return self.exclude(phase=Phase.DELETED)

    def forbidden_namespaces(self) -> list[str]:
        """Return the namespaces of projects that aren't deleted in which nothing may be provisioned, sorted."""
        used = self.present().exclude(namespace__in=("", *allowed_namespaces())).order_by()
        return sorted(set(used.values_list("namespace", flat=True)))

    def visible_to(self, user: permissions.Person) -> "ProjectQuerySet":
        """Return the projects that the user may see: see `permissions.visible`."""
        return cast("ProjectQuerySet", permissions.visible(self, user, owner="owner"))

    def with_name_of(self, name: str, kubernetes_name: str) -> "Project | None":
        """Return the project that has one of these names. The name is compared regardless of case: older projects got
        another Kubernetes name for the same name."""
        return self.filter(name__iexact=name).first() or self.filter(kubernetes_name=kubernetes_name).first()

    def needing_attention(self) -> "ProjectQuerySet":
        """Return the projects of which a user should know: failed, hindered repeatedly or until somebody acts, drifted,
        or running with the default credentials."""
        reasons = [*Reason.needs_person(), Reason.INTERNAL_ERROR, Reason.DRIFTED]
        is_troubled = models.Q(failures__gte=_FAILURES_NOTED) | models.Q(reason__in=reasons)
        is_troubled |= models.Q(phase=Phase.FAILED) | models.Q(models.Exists(_default_sandboxes()))
        return self.present().exclude(phase=Phase.NEW).filter(is_troubled)

    def on_default_database(self) -> "ProjectQuerySet":
        """Return the projects whose sandbox uses the default database."""
        return self.filter(models.Exists(_default_sandboxes()))

    def for_pass(self) -> "ProjectQuerySet":
        """Fetch what a pass reads of the project, and whether it `has_variables`."""
        variables = ProjectVariable.objects.filter(project=models.OuterRef("pk"))
        return self.select_related("template").annotate(found_variables=models.Exists(variables))

    def with_resources(self) -> "ProjectQuerySet":
        """Also fetch each project's live database and sandbox, in three queries for any number of projects."""
        return self.select_related("owner", "template").prefetch_related(
            models.Prefetch("databases", DatabaseCluster.objects.filter(retired_at=None), "live_databases"),
            models.Prefetch("sandboxes", Sandbox.objects.filter(retired_at=None), "live_sandboxes"),
        )


def _default_sandboxes() -> models.QuerySet[Sandbox]:
    """Return the live sandboxes of the outer project that use the default database."""
    return Sandbox.objects.filter(project=models.OuterRef("pk"), retired_at=None, credentials=CredentialsSource.DEFAULT)


class Project(ProjectLifecycle, Observation):
    """What users ask for: a name, an owner, variables, and the state they want."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(
        max_length=naming.MAX_NAME_LENGTH,
        validators=[validate_name],
        help_text="Letters, digits, spaces, hyphens, underscores and dots.",
    )
    kubernetes_name = models.CharField(
        "Kubernetes name",
        max_length=naming.MAX_KUBERNETES_NAME_LENGTH,
        unique=True,
        editable=False,
        help_text="Derived from the name. Never reused for another project.",
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="projects")
    description = models.TextField(blank=True, max_length=2000)
    namespace = models.CharField(max_length=63, validators=[validate_namespace], blank=True)
    desired_state = models.CharField(
        max_length=20, choices=DesiredState.choices, default=DesiredState.REGISTERED, editable=False
    )
    template = models.ForeignKey(
        SandboxTemplate,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="projects",
        verbose_name="sandbox template",
        help_text="What the sandbox runs. Without a template, the panel's settings apply.",
    )
    default_database_allowed = models.BooleanField(
        "allow default database",
        default=False,
        help_text="The sandbox starts with the default database if its own is late.",
    )
    drift_policy = models.CharField(
        "drift policy",
        max_length=10,
        blank=True,
        choices=[("", "Default"), *DriftPolicy.choices],
        help_text="What happens when the project's objects are changed outside the panel.",
    )
    # What differed from the last applied manifests at the last complete check.
    drift: "models.JSONField[list[dict[str, str]], list[dict[str, str]]]" = models.JSONField(
        default=list, blank=True, editable=False
    )
    # How often and for how long it was not ready lately: provisioning/decisions/interruptions.py.
    interruptions: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(
        default=dict, blank=True, editable=False
    )
    delete_adopted = models.BooleanField(default=False, editable=False)
    deletion_deadline = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    requested_at = models.DateTimeField(null=True, editable=False)
    # When it first ran. From then on, it may contain users' data.
    ran_at = models.DateTimeField(null=True, editable=False)

    # Intents are numbered, so that a pass can record which one it has completed.
    wanted_generation = models.PositiveIntegerField(default=0, editable=False)
    observed_generation = models.PositiveIntegerField(default=0, editable=False)
    # The last intent that requested a database, a new one if necessary: Provision or Retry, not a change of variables.
    asked_generation = models.PositiveIntegerField(default=0, editable=False)
    # Whether the user who provisioned it may adopt. Otherwise, a Cluster that matches by name only isn't used.
    adopts_by_name = models.BooleanField(default=False, editable=False)

    # Scheduling: one queued task (queued_at), one pass at a time (lease), the next pass (next_pass_at).
    queued_at = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    next_pass_at = models.DateTimeField(null=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = [Lower("name"), "pk"]
        indexes = [
            models.Index(fields=["next_pass_at"], name="project_due", condition=models.Q(next_pass_at__isnull=False)),
            models.Index(fields=["queued_at"], name="project_queued", condition=models.Q(queued_at__isnull=False)),
            models.Index("phase", Lower("name"), name="project_phase_name"),
            models.Index(Lower("name"), "id", name="project_lower_name"),
        ]
        permissions = [
            ("provision_project", "Can provision and retry projects"),
            ("reveal_credentials", "Can reveal database credentials"),
            ("allow_default_database", "Can allow the default database"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Normalize the name and derive the Kubernetes name. Raises ValidationError."""
        if self._state.adding:
            try:
                self.name = naming.clean_name(self.name)
                self.kubernetes_name = naming.kubernetes_name(self.name)
            except naming.InvalidNameError:
                return  # the field's own validator says so already
            taken = Project.objects.with_name_of(self.name, self.kubernetes_name)
            if taken:
                raise ValidationError({"name": taken.explain_taken(self.name)})
        if not self.namespace:
            self.namespace = settings.KUBE_NAMESPACE
        forbidden = explain_forbidden(self.namespace)
        # A project that is already there can still be edited.
        if forbidden and not Project.objects.filter(pk=self.pk, namespace=self.namespace).exists():
            raise ValidationError({"namespace": forbidden})

    def explain_taken(self, name: str) -> str:
        """Return why `name` conflicts with this project."""
        if self.phase == Phase.DELETED:
            return (
                f"'{name}' is '{self.kubernetes_name}' in Kubernetes, as the deleted project '{self.name}' was, and "
                "names can't be reused. Choose another name."
            )
        if self.name == name:
            return f"The project '{name}' already exists. Choose another name."
        return (
            f"'{name}' is '{self.kubernetes_name}' in Kubernetes, and so is the project '{self.name}'. "
            "Choose another name."
        )

    def get_absolute_url(self) -> str:
        return reverse("projects:detail", args=[self.pk])

    @cached_property
    def has_variables(self) -> bool:
        """Whether the project has variables. Runs a query unless `for_pass` has fetched the answer."""
        if self._state.adding:
            return False
        found: bool | None = self.__dict__.get("found_variables")
        return self.variables.exists() if found is None else found

    @cached_property
    def database(self) -> "DatabaseCluster | None":
        """The live database, if there is one."""
        return self._find_live(self.databases.all(), fetched_as="live_databases")

    @cached_property
    def sandbox(self) -> "Sandbox | None":
        """The live sandbox, if there is one."""
        return self._find_live(self.sandboxes.all(), fetched_as="live_sandboxes")

    def _find_live(self, rows: "models.QuerySet[_Resource]", *, fetched_as: str) -> "_Resource | None":
        """Return the row that is not retired. Runs a query unless `with_resources` has fetched it."""
        fetched: list[_Resource] | None = self.__dict__.get(fetched_as)
        return rows.filter(retired_at=None).first() if fetched is None else next(iter(fetched), None)

    @property
    def is_carried_out(self) -> bool:
        """Whether a pass has completed the last intent and nothing more is expected."""
        return self.is_settled and self.observed_generation >= self.wanted_generation

    @cached_property
    def last_database(self) -> "DatabaseCluster | None":
        """The live database; for a deleted project, its last one."""
        return self.database or self._find_last(self.databases.all())

    @cached_property
    def last_sandbox(self) -> "Sandbox | None":
        """The live sandbox; for a deleted project, its last one."""
        return self.sandbox or self._find_last(self.sandboxes.all())

    def _find_last(self, rows: "models.QuerySet[_Resource]") -> "_Resource | None":
        """Return the last row of a deleted project, unless it was retired by a cancellation."""
        if self.desired_state != DesiredState.DELETED:
            return None
        last = rows.order_by("pk").last()
        return None if last and last.reason == Reason.CANCELLED else last

    def steps(self) -> list[ReachedStep]:
        """Return every step of the provisioning in order, with when it was reached and how long it took.

        A deleted project keeps the steps that it had reached, which costs two more queries.
        """
        return list(reached_steps(self))


class ProjectVariable(models.Model):
    """An environment variable of a project's sandbox. Its value may be secret and is stored encrypted."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="variables")
    name = models.CharField(
        max_length=200,
        validators=[
            RegexValidator(
                r"\A[A-Za-z_][A-Za-z0-9_]*\Z",
                "Enter letters, digits and underscores, not starting with a digit.",
            )
        ],
    )
    value = EncryptedTextField(blank=True, default=EncryptedText)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_variable_of_a_name")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.name in ENVIRONMENT_NAMES or self.name == "PROJECT_NAME":
            raise ValidationError({"name": f"{self.name} is set by the panel. Choose another name."})
