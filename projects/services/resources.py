"""The end of a project's database and sandbox rows."""

from datetime import datetime

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, LastAppliedManifest, Project, Sandbox


def retire_resources(project: Project, now: datetime, reason: Reason) -> None:
    """Retire the project's live rows, and delete every password and what was last applied. The caller holds the
    transaction."""
    for model in (DatabaseCluster, Sandbox):
        model.objects.filter(project=project, retired_at=None).update(
            retired_at=now, phase=Phase.DELETED, reason=reason, message="", deadline=None
        )
    DatabaseCluster.objects.filter(project=project).update(
        password=EncryptedText(), pending_password=EncryptedText(), rotation_requested_at=None
    )
    LastAppliedManifest.objects.filter(project=project).delete()
