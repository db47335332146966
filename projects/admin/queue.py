"""The queue in the admin, read-only. A task's arguments are never shown."""

from typing import ClassVar

from django.utils.safestring import SafeString
from django_q.models import Failure, OrmQ, Schedule, Success

from projects.admin.base import PanelRecordAdmin, column, register_replacing
from projects.confidential.redaction import redact_all
from projects.templatetags.panel import ago


@register_replacing(OrmQ)
class QueuedTaskAdmin(PanelRecordAdmin):
    when_empty = "All tasks have been started."
    list_display = ("task_shown", "function_shown", "due_shown")
    fields = ("task_shown", "function_shown", "due_shown")
    ordering = ("lock",)

    @column("Task")
    def task_shown(self, row: OrmQ) -> str:
        return str(row.name())

    @column("Function")
    def function_shown(self, row: OrmQ) -> str:
        return str(row.func())

    @column("Due", ordering="lock")
    def due_shown(self, row: OrmQ) -> SafeString:
        return ago(row.lock)


@register_replacing(Success)
class TaskRecordAdmin(PanelRecordAdmin):
    list_display: tuple[str, ...] = ("name", "func", "started_shown", "took_shown", "attempt_count")
    fields: ClassVar[tuple[str, ...]] = ("name", "func", "started", "stopped", "attempt_count")
    search_fields = ("name", "func")
    ordering = ("-started",)

    @column("Started", ordering="started")
    def started_shown(self, row: Success | Failure) -> SafeString:
        return ago(row.started)

    @column("Duration")
    def took_shown(self, row: Success | Failure) -> str:
        return f"{row.time_taken():.2f} s"


@register_replacing(Failure)
class FailedTaskAdmin(TaskRecordAdmin):
    when_empty = "No task has failed."
    list_display = (*TaskRecordAdmin.list_display, "error_shown")
    fields = (*TaskRecordAdmin.fields, "error_shown")

    @column("Error")
    def error_shown(self, row: Failure) -> str:
        """Return the last line of the traceback, with secrets masked."""
        lines = str(row.result or "").strip().splitlines()
        return redact_all(lines[-1])[:300] if lines else "–"


@register_replacing(Schedule)
class ScheduleRecordAdmin(PanelRecordAdmin):
    list_display = ("name", "function_shown", "schedule_shown", "next_run_shown", "repeats_shown")
    fields = ("name", "function_shown", "schedule_shown", "next_run", "repeats_shown")

    @column("Function", ordering="func")
    def function_shown(self, row: Schedule) -> str:
        return str(row.func)

    @column("Schedule", ordering="schedule_type")
    def schedule_shown(self, row: Schedule) -> str:
        if row.schedule_type == Schedule.MINUTES:
            return "Every minute" if row.minutes == 1 else f"Every {row.minutes} minutes"
        return str(row.get_schedule_type_display())

    @column("Repeats", ordering="repeats")
    def repeats_shown(self, row: Schedule) -> str:
        """Return the remaining runs. Django-q counts down to 0 and stores a negative number for unlimited schedules."""
        return "Forever" if row.repeats < 0 else str(row.repeats)

    @column("Next run", ordering="next_run")
    def next_run_shown(self, row: Schedule) -> SafeString:
        return ago(row.next_run)
