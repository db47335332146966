"""A project's rows and settings as the plain values on which `decide` works."""

from datetime import datetime

from django.conf import settings

from projects.domain.namespaces import explain_forbidden
from projects.domain.states import CredentialsSource, DesiredState, Origin, Reason, ReplacementChoice
from projects.models import DatabaseCluster, Sandbox
from provisioning.decisions.types import Desired, DesiredDatabase, DesiredSandbox
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.drift import choose_drift_response
from provisioning.reconcile.observe import default_connection


def build_desired(context: PassContext, now: datetime) -> Desired:
    """Return what the project is to be. Reads the database only if there is drift to respond to."""
    project, database, sandbox = context.project, context.database, context.sandbox
    return Desired(
        uid=str(project.uid),
        state=DesiredState(project.desired_state),
        timeout_s=settings.READY_TIMEOUT_S,
        forbidden=explain_forbidden(project.namespace),
        is_new_intent=project.observed_generation < project.wanted_generation,
        may_replace=project.observed_generation < project.asked_generation,
        database=_build_database(database) if database else None,
        sandbox=_build_sandbox(sandbox) if sandbox else None,
        is_cancelled=project.desired_state == DesiredState.REGISTERED and project.wanted_generation > 0,
        is_ended=not project.is_being_removed,
        is_default_available=default_connection(project) is not None,
        drift_response=choose_drift_response(project, context.snapshot.drift or (), now),
        verifies=settings.VERIFY_CONNECTIONS,
        deletion_deadline=project.deletion_deadline,
    )


def _build_database(row: DatabaseCluster) -> DesiredDatabase:
    return DesiredDatabase(
        name=row.name,
        origin=Origin(row.origin),
        object_uid=row.object_uid,
        is_applied=row.applied_at is not None,
        has_run=row.running_at is not None,
        is_reported_missing=row.reason == Reason.CLUSTER_MISSING,
        captured_at=row.captured_at,
        is_verified=row.is_verified,
        is_rotating=row.rotation_requested_at is not None,
        replacement_choice=ReplacementChoice(row.replacement_choice) if row.replacement_choice else None,
        deadline=row.deadline,
    )


def _build_sandbox(row: Sandbox) -> DesiredSandbox:
    return DesiredSandbox(
        name=row.name,
        is_applied=row.applied_at is not None,
        credentials=CredentialsSource(row.credentials),
        environment_digest=row.environment_digest,
        deadline=row.deadline,
    )
