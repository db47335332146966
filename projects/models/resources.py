"""A project's resources in the cluster: one live database and one live sandbox."""

from django.db import models

from projects.confidential.encrypted_fields import EncryptedText, EncryptedTextField, RedactedTextField
from projects.domain.connection import Connection
from projects.domain.states import CredentialsSource, Origin, ReplacementChoice
from projects.models.observation import Observation


class Resource(Observation):
    """An object in the cluster that belongs to a project. Retired rows are kept for the record."""

    name = models.CharField(max_length=63)
    namespace = models.CharField(max_length=63)
    deadline = models.DateTimeField(null=True, editable=False)
    wanted_generation = models.PositiveBigIntegerField(default=0, editable=False)
    observed_generation = models.PositiveBigIntegerField(default=0, editable=False)
    requested_at = models.DateTimeField(null=True, editable=False)
    applied_at = models.DateTimeField(null=True, editable=False)
    retired_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class DatabaseCluster(Resource):
    """One KubeBlocks Cluster and the credentials captured from it."""

    project = models.ForeignKey("projects.Project", models.PROTECT, related_name="databases")
    origin = models.CharField(max_length=20, choices=Origin.choices, default=Origin.CREATED)
    api_version = models.CharField(max_length=60, blank=True)
    object_uid = models.CharField(max_length=64, blank=True)
    observed_phase = models.CharField("KubeBlocks phase", max_length=30, blank=True)
    host = models.CharField(max_length=255, blank=True)
    port = models.PositiveIntegerField(null=True)
    database = models.CharField(max_length=63, blank=True)
    username = models.CharField(max_length=63, blank=True)
    password = EncryptedTextField(blank=True, default=EncryptedText)
    verification_note = RedactedTextField(blank=True)
    # A password change: when it was requested, the new password, which is stored before it is used, and since when the
    # server may have it.
    rotation_requested_at = models.DateTimeField(null=True, editable=False)
    pending_password = EncryptedTextField(blank=True, default=EncryptedText)
    rotation_begun_at = models.DateTimeField(null=True, editable=False)
    running_at = models.DateTimeField(null=True)
    captured_at = models.DateTimeField(null=True)
    # The Secret that the credentials were read from.
    secret_uid = models.CharField(max_length=64, blank=True, editable=False)
    # Since when every connection with the captured credentials has succeeded; None if the last one failed.
    verified_at = models.DateTimeField(null=True)
    # When a connection with the captured password last succeeded. Kept when a later one fails.
    proved_at = models.DateTimeField("last verified at", null=True)
    verification_requested_at = models.DateTimeField(null=True, editable=False)
    # Since when the Secret has a password that replaced a proved one and is not proved, and what a user chose to do.
    secret_replaced_at = models.DateTimeField(null=True, editable=False)
    replacement_choice = models.CharField(max_length=10, blank=True, choices=ReplacementChoice.choices, editable=False)

    class Meta:
        verbose_name = "database"
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=models.Q(retired_at=None), name="one_live_database_a_project"
            ),
            models.UniqueConstraint(
                fields=["namespace", "name"], condition=models.Q(retired_at=None), name="one_project_a_cluster"
            ),
        ]

    @property
    def connection(self) -> Connection | None:
        """The captured credentials, decrypted; None before they are captured. Raises UndecryptableValueError."""
        return self._connection_with(self.password)

    @property
    def pending_connection(self) -> Connection | None:
        """The same with the pending password; None if there is none. Raises UndecryptableValueError."""
        return self._connection_with(self.pending_password)

    def _connection_with(self, password: EncryptedText) -> Connection | None:
        if self.captured_at is None or not password or self.port is None:
            return None
        return Connection(self.host, self.port, self.database, self.username, password.reveal())

    @property
    def has_credentials(self) -> bool:
        """Whether its credentials are captured, with their password."""
        return self.captured_at is not None and bool(self.password)

    @property
    def is_verified(self) -> bool:
        """Whether the last connection with the captured credentials succeeded. Never during a change of the password:
        the server may have either."""
        return self.verified_at is not None and self.rotation_begun_at is None

    @property
    def has_replaced_secret(self) -> bool:
        """Whether its Secret has a password that replaced a proved one and is not proved."""
        return self.secret_replaced_at is not None


class Sandbox(Resource):
    """One workload (StatefulSet, Service, Ingresses) that uses the credentials of its project's database."""

    project = models.ForeignKey("projects.Project", models.PROTECT, related_name="sandboxes")
    credentials = models.CharField(max_length=20, choices=CredentialsSource.choices, default=CredentialsSource.NONE)
    # Digest of the environment that was applied. If it differs from the desired one, the sandbox is restarted.
    environment_digest = models.CharField(max_length=64, blank=True)
    # The storage that it was created with: a StatefulSet's claims can't be changed.
    storage = models.CharField(max_length=20, blank=True)
    storage_class = models.CharField(max_length=253, blank=True)
    urls = models.JSONField(default=dict, blank=True)
    # All Secrets that cert-manager was ever asked for: they carry none of the panel's labels and outlive their Ingress.
    certificates: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list, blank=True, editable=False)
    is_simulated = models.BooleanField(default=False)
    ready_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "sandboxes"
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=models.Q(retired_at=None), name="one_live_sandbox_a_project"
            ),
            models.UniqueConstraint(fields=["namespace", "name"], name="one_sandbox_a_name"),
        ]
