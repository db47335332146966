"""The admin of what the panel records (databases, sandboxes, events), read-only."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.db import models
from django.db.models.expressions import Combinable
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    AllValuesCheckboxFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
    RelatedDropdownFilter,
)
from unfold.decorators import display as unfold_display

from projects import display, permissions
from projects.models import DatabaseCluster, Event, Observation, Sandbox
from projects.states import CredentialsSource, Phase
from projects.templatetags.panel import ago, spaced

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _AnyAdmin = ModelAdmin[Any]
    _Filter = admin.SimpleListFilter
else:
    from unfold.admin import ModelAdmin as _AnyAdmin

    _Filter = DropdownFilter

__all__ = [
    "AllValuesFilter",
    "ChoicesDropdownFilter",
    "PhaseFilter",
    "ReadOnlyAdmin",
    "RelatedDropdownFilter",
    "SandboxCredentialsFilter",
    "in_a_sentence",
    "phase_label",
    "register",
    "shown",
]

AllValuesFilter = AllValuesCheckboxFilter


_Column = TypeVar("_Column", bound=Callable[..., Any])


def shown(
    description: str,
    *,
    ordering: str | Combinable | None = None,
    label: dict[str, str] | None = None,
    header: bool | None = None,
) -> Callable[[_Column], _Column]:
    """Mark a method as a column of the admin; the theme's own decorator, with types."""
    decorate: Callable[[_Column], _Column] = unfold_display(
        description=description, ordering=ordering, label=label, header=header
    )
    return decorate


def in_a_sentence(label: object) -> str:
    """Return what people call a field as it stands within a sentence: abbreviations keep their capitals."""
    text = str(label)
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def phase_label(row: Observation) -> tuple[str, str]:
    """Return what the admin's label column takes: the key of its colour, and its text."""
    return row.phase, row.get_phase_display()


class PhaseFilter(_Filter):
    """Filters by phase; deleted projects are hidden until someone asks for them."""

    title = "phase"
    parameter_name = "phase"
    all_option = ["", "All but deleted ones"]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((value, str(label)) for value, label in Phase.choices), ("any", "Any, deleted ones too")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        value = self.value()
        if value == "any":
            return queryset
        if value in Phase.values:
            return queryset.filter(phase=value)
        return queryset.exclude(phase=Phase.DELETED)


class SandboxCredentialsFilter(_Filter):
    """Filters projects by the credentials that their live sandbox runs with."""

    title = "sandbox's credentials"
    parameter_name = "credentials"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in CredentialsSource.choices]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() not in CredentialsSource.values:
            return queryset
        live = Sandbox.objects.filter(retired_at=None, credentials=self.value())
        return queryset.filter(pk__in=live.values("project"))


class LiveFilter(_Filter):
    """Hides the retired rows of earlier databases and sandboxes until someone asks for them."""

    title = "rows"
    parameter_name = "rows"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("any", "Live and retired"), ("retired", "Retired only")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        match self.value():
            case "any":
                return queryset
            case "retired":
                return queryset.exclude(retired_at=None)
            case _:
                return queryset.filter(retired_at=None)


class ReadOnlyAdmin(_AnyAdmin):
    """Rows that nobody changes in the admin."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


class RecordAdmin(ReadOnlyAdmin):
    """Rows that the panel writes: read by whoever sees their project."""

    list_per_page = 25
    list_filter_submit = True
    show_full_result_count = False
    actions = None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or permissions.may(request.user, "view_project", obj.project)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Nobody saves it with a form, so that it has no history of what was."""
        context["show_history"] = False
        return super().render_change_form(request, context, add, change, form_url, obj)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return permissions.visible(super().get_queryset(request), request.user, owner="project__owner")

    @shown("Project", ordering=Lower("project__name"))
    def project_link(self, row: DatabaseCluster | Sandbox | Event) -> SafeString:
        return format_html('<a class="panel-link" href="{}">{}</a>', row.project.get_absolute_url(), row.project)


class ResourceAdmin(RecordAdmin):
    """A database or a sandbox."""

    list_filter: ClassVar[tuple[Any, ...]] = (("phase", ChoicesDropdownFilter), LiveFilter)
    list_select_related = ("project",)
    search_fields = ("name", "project__name", "project__kubernetes_name")

    @shown("Phase", ordering="phase", label=display.PHASE_COLOURS)
    def phase_shown(self, row: DatabaseCluster | Sandbox) -> tuple[str, str]:
        return phase_label(row)

    @shown("Reason", ordering="reason")
    def reason_shown(self, row: DatabaseCluster | Sandbox) -> SafeString:
        return format_html('<span title="{}">{}</span>', row.message, spaced(row.reason))

    @shown("Requested", ordering="requested_at")
    def requested_shown(self, row: DatabaseCluster | Sandbox) -> SafeString:
        return ago(row.requested_at)


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
                    "credentials_in_words",
                    "verified_at",
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

    @shown("Origin", ordering="origin")
    def origin_shown(self, row: DatabaseCluster) -> str:
        return row.origin.capitalize()

    @shown("Credentials", label=display.CREDENTIALS_COLOURS)
    def credentials_shown(self, row: DatabaseCluster) -> tuple[str, str]:
        return _credentials_of(row).value, self.credentials_in_words(row)

    @shown("Credentials")
    def credentials_in_words(self, row: DatabaseCluster) -> str:
        """For a row's own page, which has no labels."""
        return str(_credentials_of(row).label)

    @shown("API version")
    def api_shown(self, row: DatabaseCluster) -> str:
        return row.api_version

    @shown("UID")
    def uid_shown(self, row: DatabaseCluster) -> str:
        return row.object_uid


def _credentials_of(row: DatabaseCluster) -> CredentialsSource:
    return CredentialsSource.CAPTURED if row.captured_at else CredentialsSource.NONE


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

    @shown("Credentials", ordering="credentials", label=display.CREDENTIALS_COLOURS)
    def credentials_shown(self, row: Sandbox) -> tuple[str, str]:
        return row.credentials, row.get_credentials_display()

    @shown("Simulated", ordering="is_simulated")
    def simulated_shown(self, row: Sandbox) -> str:
        return "Yes" if row.is_simulated else "No"

    @shown("Addresses")
    def urls_shown(self, row: Sandbox) -> str:
        return ", ".join(display.linkable_urls(row).values()) or "–"


class EventAdmin(RecordAdmin):
    list_display = ("at_shown", "project_link", "level_shown", "reason_shown", "message", "actor", "resource")
    list_display_links = ("at_shown",)
    list_filter = (("level", ChoicesDropdownFilter), ("reason", AllValuesFilter))
    list_select_related = ("project",)
    search_fields = ("project__name", "message", "actor", "reason")
    fields = ("at", "project_link", "level", "reason_shown", "message", "actor", "resource")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """A project's page links to all of its events."""
        return lookup == "project__id__exact" or super().lookup_allowed(lookup, value, request)

    @shown("When", ordering="at")
    def at_shown(self, event: Event) -> SafeString:
        return ago(event.at)

    @shown("Level", ordering="level", label=display.LEVEL_COLOURS)
    def level_shown(self, event: Event) -> tuple[str, str]:
        return event.level, event.get_level_display()

    @shown("Reason", ordering="reason")
    def reason_shown(self, event: Event) -> str:
        return spaced(event.reason)


class PanelRecordAdmin(RecordAdmin):
    """Rows of the panel itself, for those with the permission to view them. Of the queue: what runs when, never what is
    in a task."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('view', self.opts)}")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        queryset: models.QuerySet[Any] = self.model._default_manager.all()
        return queryset


def register() -> None:
    """Register them on the theme's ModelAdmin."""
    ours: dict[type[models.Model], type[Any]] = {
        DatabaseCluster: DatabaseClusterAdmin,
        Sandbox: SandboxAdmin,
        Event: EventAdmin,
    }
    register_all(ours)


def register_all(ours: dict[type[models.Model], type[Any]]) -> None:
    """Register models on our own classes, in place of what other apps registered."""
    for model, model_admin in ours.items():
        if admin.site.is_registered(model):
            admin.site.unregister(model)
        admin.site.register(model, model_admin)
