"""The audit log in the admin: read-only, exported as JSON lines."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from auditlog.models import LogEntry
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from projects.admin.base import PanelRecordAdmin, column, lower_first, register_replacing
from projects.audit.log import ACTIONS, describe_entry, export_entries, filter_by_action
from projects.templatetags.panel import ago, display_name, reason_label

if TYPE_CHECKING:
    _Filter = admin.SimpleListFilter
    _TextFilter = admin.SimpleListFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter as _Filter
    from unfold.contrib.filters.admin import TextFilter as _TextFilter

_PERIODS = {
    "1": "Last hour",
    "24": "Last 24 hours",
    "168": "Last 7 days",
    "720": "Last 30 days",
}


class ActionFilter(_Filter):
    """Filters by the column Action."""

    title = "action"
    parameter_name = "what"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(what, reason_label(what)) for what in ACTIONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        found: QuerySet[LogEntry] = filter_by_action(queryset, self.value() or "")
        return found


class UserFilter(_TextFilter):
    """Filters by the beginning of the user name. A text field, not a list: entries outlive their users."""

    title = "user"
    parameter_name = "who"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        who = (self.value() or "").strip()
        return queryset.filter(additional_data__by__istartswith=who) if who else queryset


class DateFilter(_Filter):
    """Filters by age."""

    title = "date"
    parameter_name = "hours"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(_PERIODS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        hours = self.value()
        if hours not in _PERIODS:
            return queryset
        return queryset.filter(timestamp__gte=timezone.now() - timedelta(hours=int(hours)))


@register_replacing(LogEntry)
class AuditAdmin(PanelRecordAdmin):
    # A row's history links to what the audit log has of it.
    other_lookups = ("content_type", "object_pk")
    list_display = (
        "at_shown",
        "who_shown",
        "address_shown",
        "what_shown",
        "name_shown",
        "kind_shown",
        "message_shown",
    )
    list_display_links = ("at_shown",)
    list_filter = (ActionFilter, UserFilter, DateFilter)
    search_help_text = "Search by name, address or message"
    list_select_related = ("content_type",)
    search_fields = ("object_repr", "additional_data", "remote_addr")
    fields = (
        "timestamp",
        "who_shown",
        "address_shown",
        "what_shown",
        "kind_shown",
        "name_shown",
        "changes_shown",
        "message_text",
    )
    change_list_template = "admin/auditlog/logentry/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        export = path("export/", self.admin_site.admin_view(self.export_view), name="auditlog_logentry_export")
        return [export, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream all entries as JSON lines, oldest first. `manage.py audit` exports a selection."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        lines = (f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in export_entries(LogEntry.objects.all()))
        headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(lines, content_type="application/x-ndjson", headers=headers)

    @column("Date", ordering="timestamp")
    def at_shown(self, entry: LogEntry) -> SafeString:
        return ago(entry.timestamp)

    @column("User")
    def who_shown(self, entry: LogEntry) -> str:
        return str(describe_entry(entry)["who"])

    @column("Action")
    def what_shown(self, entry: LogEntry) -> str:
        return reason_label(str(describe_entry(entry)["what"]))

    @column("Address", ordering="remote_addr")
    def address_shown(self, entry: LogEntry) -> str:
        return str(entry.remote_addr or "–")

    @column("Name", ordering="object_repr")
    def name_shown(self, entry: LogEntry) -> str:
        return str(entry.object_repr or "–")

    @column("Type", ordering="content_type")
    def kind_shown(self, entry: LogEntry) -> str:
        return str(capfirst(entry.content_type.name))

    @column("Changes")
    def changes_shown(self, entry: LogEntry) -> SafeString | str:
        """Return a table of the changed fields with their values before and after."""
        lines = [
            format_html("<tr><th scope='row'>{}</th><td>{}</td><td>{}</td></tr>", _label(entry, name), *values)
            for name, values in _values(describe_entry(entry)["changes"])
        ]
        if not lines:
            return "None"
        heads = format_html_join("", "<th scope='col'>{}</th>", ((head,) for head in ("Field", "Before", "After")))
        rows = format_html_join("", "{}", ((line,) for line in lines))
        return format_html(
            "<table class='panel-changes'><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", heads, rows
        )

    @column("Message")
    def message_text(self, entry: LogEntry) -> str:
        return str(describe_entry(entry)["message"] or "–")

    @column("Message")
    def message_shown(self, entry: LogEntry) -> str:
        """Return the entry's message, or the names of the changed fields."""
        described = describe_entry(entry)
        changed: dict[str, Any] = described["changes"]
        return str(
            described["message"] or capfirst(", ".join(lower_first(_label(entry, name)) for name in changed)) or "–"
        )

    def change_form_context(self, row: LogEntry) -> dict[str, Any]:
        return {"subtitle": display_name(row)}


def _label(entry: LogEntry, name: str) -> str:
    """Return the label of a field; its name if the model or the field no longer exists."""
    model = entry.content_type.model_class()
    try:
        return str(capfirst(model._meta.get_field(name).verbose_name)) if model else name
    except (FieldDoesNotExist, AttributeError):
        return name


def _values(changes: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (field, (before, after)) as text; for related rows, what was added or removed."""
    for name, change in changes.items():
        if isinstance(change, dict):
            names = ", ".join(map(str, change.get("objects", ())))
            is_added = change.get("operation") == "add"
            yield name, ("", f"Added: {names}") if is_added else (f"Removed: {names}", "")
        elif isinstance(change, list | tuple) and len(change) == 2:
            before, after = map(_as_text, change)
            # Skip the empty fields of a new row.
            if change[0] is not None or before != after:
                yield name, (before, after)


def _as_text(value: Any) -> str:
    match value:
        case None | "" | "None":
            return "–"
        case True | "True":
            return "Yes"
        case False | "False":
            return "No"
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)
