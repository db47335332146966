"""Columns, filters and base classes that the admin's modules share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.views.main import ChangeList
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

from projects.admin.versions import VersionedAdmin
from projects.domain import permissions
from projects.domain.states import CredentialsSource, Phase
from projects.models import DatabaseCluster, Event, Observation, Sandbox

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _AnyAdmin = ModelAdmin[Any]
    _Filter = admin.SimpleListFilter
    _ChangeList = ChangeList
else:
    from unfold.admin import ModelAdmin as _AnyAdmin
    from unfold.views import ChangeList as _ChangeList

    _Filter = DropdownFilter

__all__ = [
    "AllValuesFilter",
    "ChoicesDropdownFilter",
    "LiveFilter",
    "PanelModelAdmin",
    "PanelRecordAdmin",
    "PhaseFilter",
    "ReadOnlyAdmin",
    "RecordAdmin",
    "RelatedDropdownFilter",
    "SandboxCredentialsFilter",
    "column",
    "lower_first",
    "phase_label",
    "register_replacing",
    "unregister",
]

AllValuesFilter = AllValuesCheckboxFilter
_Column = TypeVar("_Column", bound=Callable[..., Any])
_Admin = TypeVar("_Admin", bound=type[Any])


def column(
    description: str,
    *,
    ordering: str | Combinable | None = None,
    label: dict[str, str] | None = None,
    header: bool | None = None,
) -> Callable[[_Column], _Column]:
    """Mark a method as a column of the admin: the theme's decorator, with types."""
    decorate: Callable[[_Column], _Column] = unfold_display(
        description=description, ordering=ordering, label=label, header=header
    )
    return decorate


def lower_first(label: object) -> str:
    """Return a field's label as it reads within a sentence; abbreviations such as `CPU` stay in capitals."""
    text = str(label)
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def phase_label(row: Observation) -> tuple[str, str]:
    """Return the phase as (color key, text) for a label column."""
    return row.phase, row.get_phase_display()


class PhaseFilter(_Filter):
    """Filters by phase. By default, deleted projects are hidden."""

    title = "phase"
    parameter_name = "phase"
    all_option = ["", "All except deleted"]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((value, str(label)) for value, label in Phase.choices), ("any", "All, including deleted")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        value = self.value()
        if value == "any":
            return queryset
        if value in Phase.values:
            return queryset.filter(phase=value)
        return queryset.exclude(phase=Phase.DELETED)


class SandboxCredentialsFilter(_Filter):
    """Filters projects by the credentials that their live sandbox uses."""

    title = "credentials"
    parameter_name = "credentials"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in CredentialsSource.choices]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() not in CredentialsSource.values:
            return queryset
        live = Sandbox.objects.filter(retired_at=None, credentials=self.value())
        return queryset.filter(pk__in=live.values("project"))


class LiveFilter(_Filter):
    """Filters databases and sandboxes by whether they are retired. By default, retired ones are hidden."""

    title = "retirement"
    parameter_name = "rows"
    all_option = ["", "Live"]

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


class DeclaredChangeList(_ChangeList):
    """A list that accepts its declared filters only.

    Django accepts any `?column__lookup=value` in the query string. That would allow to search hidden columns, such as
    encrypted passwords and uids, and to run regular expressions in the database.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        filters, has_filters, undeclared, *rest = super().get_filters(request)
        for name in undeclared.keys() - set(_other_lookups(self.model_admin)):
            raise DisallowedModelAdminLookup(f"This list has no filter {name}.")
        return filters, has_filters, undeclared, *rest


def _other_lookups(model_admin: Any) -> tuple[str, ...]:
    """Return the lookups that a ModelAdmin declares besides its filters."""
    return tuple(model_admin.other_lookups)


class PanelModelAdmin(VersionedAdmin, _AnyAdmin):
    """Base of all ModelAdmins of the panel."""

    # Lookups besides the filters, for links of the panel.
    other_lookups: ClassVar[tuple[str, ...]] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeclaredChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return lookup in self.other_lookups or super().lookup_allowed(lookup, value, request)

    def change_form_context(self, row: Any) -> dict[str, Any]:
        """Return template variables of a row's page that override Django's."""
        return {}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if kwargs.get("obj") is not None:
            context |= self.change_form_context(kwargs["obj"])
        return super().render_change_form(request, context, *args, **kwargs)


class ReadOnlyAdmin(PanelModelAdmin):
    """A model that nobody changes in the admin."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


class RecordAdmin(ReadOnlyAdmin):
    """Rows that the panel writes, for users who can see their project."""

    list_per_page = 25
    list_filter_submit = True
    show_full_result_count = False
    actions = None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or permissions.may(request.user, "view_project", obj.project)

    def change_form_context(self, row: Any) -> dict[str, Any]:
        """Hide the History button: rows that no form saves have no history."""
        return {"show_history": False}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return permissions.visible(super().get_queryset(request), request.user, owner="project__owner")

    @column("Project", ordering=Lower("project__name"))
    def project_link(self, row: DatabaseCluster | Sandbox | Event) -> SafeString:
        return format_html('<a class="panel-link" href="{}">{}</a>', row.project.get_absolute_url(), row.project)


class PanelRecordAdmin(RecordAdmin):
    """Rows of the panel itself, for users with the model's view permission."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('view', self.opts)}")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        queryset: models.QuerySet[Any] = self.model._default_manager.all()
        return queryset


def register_replacing(*rows: type[models.Model]) -> Callable[[_Admin], _Admin]:
    """Register the class for these models, replacing what another app registered."""

    def decorate(model_admin: _Admin) -> _Admin:
        unregister(*rows)
        admin.register(*rows)(model_admin)
        return model_admin

    return decorate


def unregister(*rows: type[models.Model]) -> None:
    """Remove these models from the admin if another app registered them."""
    for model in rows:
        if admin.site.is_registered(model):
            admin.site.unregister(model)
