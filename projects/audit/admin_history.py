"""Django's own history of changes in the admin, masked as it is stored."""

from typing import Any

from django.db.models.signals import pre_save

from projects.confidential.redaction import redact


def mask_entry(instance: Any, **_: Any) -> None:
    """Mask secrets in what an entry says of the change and of the object's name."""
    instance.change_message = redact(instance.change_message)
    instance.object_repr = redact(instance.object_repr)


def connect() -> None:
    from django.contrib.admin.models import LogEntry

    pre_save.connect(mask_entry, sender=LogEntry, dispatch_uid="mask_admin_history")
