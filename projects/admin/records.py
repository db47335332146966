"""Databases, sandboxes and events in the admin, read-only."""

from typing import Any, ClassVar

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from projects.admin.base import (
    AllValuesFilter,
    ChoicesDropdownFilter,
    LiveFilter,
    RecordAdmin,
    column,
    phase_label,
)
from projects.domain.states import CredentialsSource
from projects.domain.verification import describe_proof
from projects.models import DatabaseCluster, Event, Sandbox
from projects.pages.presentation import CREDENTIALS_COLORS, LEVEL_COLORS, PHASE_COLORS, linkable_urls
from projects.templatetags.panel import ago, reason_label


class ResourceAdmin(RecordAdmin):
    """A database or a sandbox."""

    list_filter: ClassVar[tuple[Any, ...]] = (("phase", ChoicesDropdownFilter), LiveFilter)
    list_select_related = ("project",)
    search_fields = ("name", "project__name", "project__kubernetes_name")

    @column("Phase", ordering="phase", label=PHASE_COLORS)
    def phase_shown(self, row: DatabaseCluster | Sandbox) -> tuple[str, str]:
        return phase_label(row)

    @column("Reason", ordering="reason")
    def reason_shown(self, row: DatabaseCluster | Sandbox) -> SafeString:
        return format_html('<span title="{}">{}</span>', row.message, reason_label(row.reason))

    @column("Requested", ordering="requested_at")
    def requested_shown(self, row: DatabaseCluster | Sandbox) -> SafeString:
        return ago(row.requested_at)


@admin.register(DatabaseCluster)
class DatabaseClusterAdmin(ResourceAdmin):
    list_display = (
        "name",
        "project_link",
        "phase_shown",
        "reason_shown",
        "observed_phase",
        "origin_shown",
        "credentials_shown",
        "requested_shown",
    )
    list_filter = (("phase", ChoicesDropdownFilter), ("origin", ChoicesDropdownFilter), LiveFilter)
    fieldsets = (
        (None, {"fields": ("name", "namespace", "project_link", "origin")}),
        ("Status", {"fields": ("phase", "reason_shown", "message", "observed_phase", "deadline")}),
        (
            "Connection",
            {
                "fields": (
                    "host",
                    "port",
                    "database",
                    "username",
                    "credentials_text",
                    "proof_text",
                    "verification_note",
                )
            },
        ),
        (
            "Steps",
            {"fields": ("requested_at", "applied_at", "running_at", "captured_at", "retired_at")},
        ),
        ("In the cluster", {"fields": ("api_shown", "uid_shown", "wanted_generation", "observed_generation")}),
    )

    @column("Verification")
    def proof_text(self, row: DatabaseCluster) -> str:
        return describe_proof(row, timezone.now())

    @column("Origin", ordering="origin")
    def origin_shown(self, row: DatabaseCluster) -> str:
        return row.origin.capitalize()

    @column("Credentials", label=CREDENTIALS_COLORS)
    def credentials_shown(self, row: DatabaseCluster) -> tuple[str, str]:
        return _credentials_of(row).value, self.credentials_text(row)

    @column("Credentials")
    def credentials_text(self, row: DatabaseCluster) -> str:
        """Return the label as text: the row's own page has no label columns."""
        return str(_credentials_of(row).label)

    @column("API version")
    def api_shown(self, row: DatabaseCluster) -> str:
        return row.api_version

    @column("UID")
    def uid_shown(self, row: DatabaseCluster) -> str:
        return row.object_uid


def _credentials_of(row: DatabaseCluster) -> CredentialsSource:
    return CredentialsSource.CAPTURED if row.captured_at else CredentialsSource.NONE


@admin.register(Sandbox)
class SandboxAdmin(ResourceAdmin):
    list_display = (
        "name",
        "project_link",
        "phase_shown",
        "reason_shown",
        "credentials_shown",
        "simulated_shown",
        "requested_shown",
    )
    list_filter = (("phase", ChoicesDropdownFilter), ("credentials", ChoicesDropdownFilter), LiveFilter)
    fieldsets = (
        (None, {"fields": ("name", "namespace", "project_link", "simulated_shown")}),
        ("Status", {"fields": ("phase", "reason_shown", "message", "deadline", "credentials", "urls_shown")}),
        ("Steps", {"fields": ("requested_at", "applied_at", "ready_at", "retired_at")}),
        ("In the cluster", {"fields": ("wanted_generation", "observed_generation")}),
    )

    @column("Credentials", ordering="credentials", label=CREDENTIALS_COLORS)
    def credentials_shown(self, row: Sandbox) -> tuple[str, str]:
        return row.credentials, row.get_credentials_display()

    @column("Simulated", ordering="is_simulated")
    def simulated_shown(self, row: Sandbox) -> str:
        return "Yes" if row.is_simulated else "No"

    @column("URLs")
    def urls_shown(self, row: Sandbox) -> str:
        return ", ".join(linkable_urls(row).values()) or "–"


@admin.register(Event)
class EventAdmin(RecordAdmin):
    # A project's page links to all of its events.
    other_lookups = ("project__id__exact",)
    list_display = ("at_shown", "project_link", "level_shown", "reason_shown", "message", "actor", "resource")
    list_display_links = ("at_shown",)
    list_filter = (("level", ChoicesDropdownFilter), ("reason", AllValuesFilter))
    list_select_related = ("project",)
    search_fields = ("project__name", "message", "actor", "reason")
    fields = ("at", "project_link", "level", "reason_shown", "message", "actor", "resource")

    @column("Date", ordering="at")
    def at_shown(self, event: Event) -> SafeString:
        return ago(event.at)

    @column("Level", ordering="level", label=LEVEL_COLORS)
    def level_shown(self, event: Event) -> tuple[str, str]:
        return event.level, event.get_level_display()

    @column("Reason", ordering="reason")
    def reason_shown(self, event: Event) -> str:
        return reason_label(event.reason)
