"""Masks secrets in Django's admin history before it is stored."""

from typing import Any

from django.db.models.signals import pre_save

from projects.confidential.redaction import redact


def mask_entry(instance: Any, **_: Any) -> None:
    """Mask secrets in the entry's change message. The object's name identifies it and isn't masked."""
    instance.change_message = redact(instance.change_message)


def connect() -> None:
    from django.contrib.admin.models import LogEntry

    pre_save.connect(mask_entry, sender=LogEntry, dispatch_uid="mask_admin_history")
