"""The audit log in the admin: read by administrators, changed by nobody, exported as JSON lines."""

import json
from typing import Any

from auditlog.models import LogEntry
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from projects import audit
from projects.admin_records import ChoicesDropdownFilter, PanelRecordAdmin, shown
from projects.templatetags.panel import ago, spaced


class AuditAdmin(PanelRecordAdmin):
    list_display = ("at_shown", "who_shown", "remote_addr", "what_shown", "object_repr", "kind_shown", "message_shown")
    list_display_links = ("at_shown",)
    list_filter = (("action", ChoicesDropdownFilter),)
    list_select_related = ("content_type",)
    search_fields = ("object_repr", "additional_data", "remote_addr")
    fields = (
        "timestamp",
        "who_shown",
        "remote_addr",
        "what_shown",
        "kind_shown",
        "object_repr",
        "changes_shown",
        "message_shown",
    )
    change_list_template = "admin/auditlog/logentry/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        export = path("export/", self.admin_site.admin_view(self.export_view), name="auditlog_logentry_export")
        return [export, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """All entries as JSON lines, the oldest first; `manage.py audit` gives a part of them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        lines = (f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in audit.export(LogEntry.objects.all()))
        headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(lines, content_type="application/x-ndjson", headers=headers)

    @shown("When", ordering="timestamp")
    def at_shown(self, entry: LogEntry) -> SafeString:
        return ago(entry.timestamp)

    @shown("Who")
    def who_shown(self, entry: LogEntry) -> str:
        return str(audit.describe(entry)["who"])

    @shown("What")
    def what_shown(self, entry: LogEntry) -> str:
        return spaced(str(audit.describe(entry)["what"]))

    @shown("Kind", ordering="content_type")
    def kind_shown(self, entry: LogEntry) -> str:
        return str(entry.content_type.name)

    @shown("Changes")
    def changes_shown(self, entry: LogEntry) -> str:
        return json.dumps(audit.describe(entry)["changes"], ensure_ascii=False, indent=2)

    @shown("Message")
    def message_shown(self, entry: LogEntry) -> str:
        described = audit.describe(entry)
        changed: dict[str, Any] = described["changes"]
        return str(described["message"] or ", ".join(changed))


def register() -> None:
    if admin.site.is_registered(LogEntry):
        admin.site.unregister(LogEntry)
    admin.site.register(LogEntry, AuditAdmin)
