"""Events: the history of each project. An event is written once and never changed."""

from typing import Any

from django.db import models

from projects.confidential.encrypted_fields import RedactedTextField
from projects.domain.states import Level


class EventQuerySet(models.QuerySet["Event"]):
    """Events are added and read. Nothing in the panel changes an event; only pruning deletes old ones of passes."""

    def update(self, **values: object) -> int:
        raise EventsAreKeptError

    def delete(self) -> tuple[int, dict[str, int]]:
        raise EventsAreKeptError

    def prune(self) -> int:
        """Delete these events, except those of users and those that are always kept; return how many were deleted."""
        return self.filter(by_panel=True).exclude(reason__in=Event.KEPT_REASONS)._raw_delete(self.db)


class EventsAreKeptError(Exception):
    """Something tried to change or delete an event."""

    def __init__(self) -> None:
        super().__init__("Events can't be changed or deleted.")


class Event(models.Model):
    """One line of a project's history: when, who, which resource, what happened."""

    # Always kept, even if a pass wrote them.
    KEPT_REASONS = ("CredentialsRevealed", "PasswordGivenUp", "PasswordRotationRequested", "PasswordRotated")

    project = models.ForeignKey("projects.Project", models.PROTECT, related_name="events")
    at = models.DateTimeField()
    actor = models.CharField(max_length=150, help_text="The user, or the component of the panel.")
    # A user may be called "panel", so the name alone can't tell.
    by_panel = models.BooleanField(default=False, editable=False)
    resource = models.CharField(max_length=120, blank=True)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.INFO)
    reason = models.CharField(max_length=40)
    message = RedactedTextField()

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["project", "-at", "-id"], name="event_timeline")]

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise EventsAreKeptError
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise EventsAreKeptError
