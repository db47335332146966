"""The admin of the queue, read-only: what runs when and what failed, never what is in a task."""

from typing import ClassVar

from django.utils.safestring import SafeString
from django_q.models import Failure, OrmQ, Schedule, Success

from projects.admin.base import PanelRecordAdmin, register_instead, shown
from projects.confidential.redaction import redact_all
from projects.templatetags.panel import ago


@register_instead(OrmQ)
class QueuedTaskAdmin(PanelRecordAdmin):
    when_empty = "Nothing waits: the queue has begun everything that was put into it."
    list_display = ("task_shown", "function_shown", "due_shown")
    fields = ("task_shown", "function_shown", "due_shown")
    ordering = ("lock",)

    @shown("Task")
    def task_shown(self, row: OrmQ) -> str:
        return str(row.name())

    @shown("Function")
    def function_shown(self, row: OrmQ) -> str:
        return str(row.func())

    @shown("Due", ordering="lock")
    def due_shown(self, row: OrmQ) -> SafeString:
        return ago(row.lock)


@register_instead(Success)
class TaskRecordAdmin(PanelRecordAdmin):
    list_display: tuple[str, ...] = ("name", "func", "started_shown", "took_shown", "attempt_count")
    fields: ClassVar[tuple[str, ...]] = ("name", "func", "started", "stopped", "attempt_count")
    search_fields = ("name", "func")
    ordering = ("-started",)

    @shown("Started", ordering="started")
    def started_shown(self, row: Success | Failure) -> SafeString:
        return ago(row.started)

    @shown("Took")
    def took_shown(self, row: Success | Failure) -> str:
        return f"{row.time_taken():.2f} s"


@register_instead(Failure)
class FailedTaskAdmin(TaskRecordAdmin):
    when_empty = "No task has ended with an error."
    list_display = (*TaskRecordAdmin.list_display, "error_shown")
    fields = (*TaskRecordAdmin.fields, "error_shown")

    @shown("Error")
    def error_shown(self, row: Failure) -> str:
        """The last line of the traceback, with anything like a password masked."""
        lines = str(row.result or "").strip().splitlines()
        return redact_all(lines[-1])[:300] if lines else "–"


@register_instead(Schedule)
class ScheduleRecordAdmin(PanelRecordAdmin):
    list_display = ("name", "func", "schedule_type", "minutes", "next_run_shown", "repeats_shown")
    fields = ("name", "func", "schedule_type", "minutes", "next_run", "repeats_shown")

    @shown("Repeats", ordering="repeats")
    def repeats_shown(self, row: Schedule) -> str:
        """The queue counts down to 0, and writes less for one that never ends."""
        return "for ever" if row.repeats < 0 else str(row.repeats)

    @shown("Next run", ordering="next_run")
    def next_run_shown(self, row: Schedule) -> SafeString:
        return ago(row.next_run)
