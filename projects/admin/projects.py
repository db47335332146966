"""The admin of projects: list, filters, form, and actions that make requests through services."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, models
from django.db.models.functions import Lower
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from projects.access.permissions import may_with_any_project, wants_adopted_deleted
from projects.admin.base import (
    AllValuesFilter,
    ChoicesDropdownFilter,
    PanelModelAdmin,
    PhaseFilter,
    RelatedDropdownFilter,
    SandboxCredentialsFilter,
    column,
    lower_first,
    phase_label,
)
from projects.admin.bulk import NAMED, request_each
from projects.domain import permissions
from projects.domain.limits import MOST_FORMS
from projects.domain.states import CredentialsSource, DesiredState, Phase
from projects.models import Project, ProjectVariable
from projects.pages.context import get_project, project_context
from projects.pages.forms import ProjectAdminForm, VariableForm, VariableFormSet
from projects.pages.presentation import PHASE_COLORS, can_delete_adopted, deletion_effects
from projects.services.cancellation import request_cancel
from projects.services.events import record_event
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import request_delete, request_provision, request_retry, request_update
from projects.services.replaced_secret import request_restore_secret
from projects.services.verification import request_verification
from projects.templatetags.panel import ago, reason_label

if TYPE_CHECKING:
    from django.contrib.admin import TabularInline

    _VariableInline = TabularInline[ProjectVariable, Project]
else:
    from unfold.admin import TabularInline as _VariableInline


class VariableInline(_VariableInline):
    """The variables of a project's sandbox, for users who can change the project."""

    model = ProjectVariable
    form = VariableForm
    formset = VariableFormSet
    extra = 0
    max_num = MOST_FORMS
    # The title would repeat the name field below it.
    hide_title = True
    verbose_name = "variable"
    verbose_name_plural = "environment variables"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.may(request.user, "view_project", obj) if obj else permissions.is_staff(request.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_edit(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_edit(request, obj)

    def _may_edit(self, request: HttpRequest, project: Project | None) -> bool:
        if project is None or project.pk is None:
            return permissions.may(request.user, "add_project") or permissions.may(request.user, "change_project")
        may_change = permissions.may(request.user, "change_project", project)
        return may_change and project.desired_state != DesiredState.DELETED


@admin.register(Project)
class ProjectAdmin(PanelModelAdmin):
    """Projects. Delete is a request like the others: no row is removed here."""

    form = ProjectAdminForm
    inlines = (VariableInline,)
    list_display = (
        "name_shown",
        "phase_shown",
        "live_link",
        "reason_shown",
        "database_shown",
        "owner",
        "age_shown",
    )
    list_display_links = ("name_shown",)
    list_filter = (
        PhaseFilter,
        ("desired_state", ChoicesDropdownFilter),
        ("owner", RelatedDropdownFilter),
        ("namespace", AllValuesFilter),
        SandboxCredentialsFilter,
    )
    list_filter_submit = True
    list_per_page = 25
    show_full_result_count = False
    search_fields = ("name", "kubernetes_name", "description", "owner__username")
    search_help_text = "Search by name, description or owner"
    ordering = (Lower("name"), "pk")
    actions = (
        "provision_selected",
        "retry_selected",
        "cancel_selected",
        "verify_selected",
        "rotate_passwords",
        "restore_secrets",
        "delete_selected_projects",
    )
    list_before_template = "admin/projects/project/_live_view.html"
    change_form_template = "admin/projects/project/change_form.html"

    # --- Permissions -------------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        """False: rows are kept, so that no name is used twice."""
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return permissions.is_staff(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return permissions.may(request.user, "view_project", obj) if obj else permissions.is_staff(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        if obj is not None and obj.desired_state == DesiredState.DELETED:
            return False
        return permissions.may(request.user, "change_project", obj)

    def has_provision_permission(self, request: HttpRequest) -> bool:
        return may_with_any_project(request.user, "provision_project")

    def has_request_delete_permission(self, request: HttpRequest) -> bool:
        return may_with_any_project(request.user, "delete_project")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Project]:
        return Project.objects.visible_to(request.user).with_resources()

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Leave out the owner filter for users who see only their own projects: it lists all owners."""
        filters = super().get_list_filter(request)
        if permissions.may(request.user, "view_project"):
            return list(filters)
        return [each for each in filters if not (isinstance(each, tuple) and each[0] == "owner")]

    def get_fieldsets(self, request: HttpRequest, obj: Project | None = None) -> Any:
        may_change = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        may_share = may_change and permissions.may(request.user, "allow_default_database")
        names = ("name", "owner", "description") if obj is None else ("name", "kubernetes_name", "owner", "description")
        shared = "default_database_allowed" if may_share else "default_database_shown"
        return (
            (None, {"fields": names}),
            ("Configuration", {"fields": ("namespace", "template", "drift_policy", shared)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        """The name never changes; the namespace doesn't once the project was provisioned, since its objects live there.
        Sharing the default database needs its own permission."""
        always = ("default_database_shown",)
        if obj is None:
            return always
        if not permissions.may(request.user, "change_project"):
            # Owners can neither give a project away nor move it.
            return ("name", "kubernetes_name", "namespace", "owner", *always)
        if obj.desired_state == DesiredState.REGISTERED and not obj.is_cancelling:
            return ("name", "kubernetes_name", *always)
        return ("name", "kubernetes_name", "namespace", *always)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk, **super().get_changeform_initial_data(request)}

    # --- Saving ------------------------------------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = dict(extra_context or {})
        if _is_key(object_id) and self.get_queryset(request).filter(pk=object_id).exists():
            project = get_project(int(object_id))
            context |= {**project_context(request, project), "in_admin": True}
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except IntegrityError:
            # Another request took the name between the check and the insert. The check finds it now.
            return super().changeform_view(request, object_id, form_url, context)

    def lock_row(self, request: HttpRequest, object_id: str) -> Project | None:
        """Raise PermissionDenied for a project that has ended since its form was opened."""
        project: Project | None = super().lock_row(request, object_id)
        is_ended = project is not None and project.desired_state == DesiredState.DELETED
        if is_ended and permissions.may(request.user, "change_project", project):
            raise PermissionDenied(f"{project} is deleted or being deleted. It can't be changed anymore.")
        return project

    def save_model(self, request: HttpRequest, obj: Project, form: ModelForm[Project], change: bool) -> None:
        actor = request.user.get_username()
        if change:
            # Only the changed fields: passes and requests write the other columns at the same time.
            obj.save(update_fields=form.changed_data)
            typed = request.POST.get("namespace")
            if typed and typed != obj.namespace and "namespace" not in form.fields:
                messages.warning(
                    request, f"{obj.name} was provisioned in the meantime. Its namespace stays {obj.namespace}."
                )
        else:
            super().save_model(request, obj, form, change)
            record_event(obj, actor=actor, reason="Registered", message=f"{actor} added the project.")

    def save_related(
        self,
        request: HttpRequest,
        form: ModelForm[Project],
        formsets: Iterable[BaseModelFormSet[Any, Any]],
        change: bool,
    ) -> None:
        """Save the variables and request an update of the sandbox if anything changed."""
        super().save_related(request, form, list(formsets), change)
        if not change:
            return
        fields = [lower_first(form.fields[name].label) for name in form.changed_data]
        changes = [f"changed {', '.join(fields)}"] if fields else []
        changes += [text for formset in formsets for text in _variable_changes(formset)]
        if changes:
            request_update(form.instance, actor=request.user.get_username(), change="; ".join(changes))

    # --- Columns -----------------------------------------------------------------------------------------------

    @column("Project", ordering=Lower("name"), header=True)
    def name_shown(self, project: Project) -> list[str]:
        return [project.name, f"{project.namespace}/{project.kubernetes_name}"]

    @column("Phase", ordering="phase", label=PHASE_COLORS)
    def phase_shown(self, project: Project) -> tuple[str, str]:
        return phase_label(project)

    @column("Reason", ordering="reason")
    def reason_shown(self, project: Project) -> SafeString:
        return format_html('<span title="{}">{}</span>', project.message, reason_label(project.reason))

    @column("Database")
    def database_shown(self, project: Project) -> SafeString | str:
        name = project.database.name if project.database else "–"
        if project.sandbox and project.sandbox.credentials == CredentialsSource.DEFAULT:
            return format_html('{} <span class="panel-sub is-warning">default credentials</span>', name)
        return name

    @column("Allow default database")
    def default_database_shown(self, project: Project) -> str:
        """Yes or No for users who can't change it: the theme's red cross would look like an error."""
        return "Yes" if project.default_database_allowed else "No"

    @column("Added", ordering="created_at")
    def age_shown(self, project: Project) -> SafeString:
        return ago(project.created_at)

    @column("Live view")
    def live_link(self, project: Project) -> SafeString:
        return format_html(
            '<a class="panel-button is-small" href="{}" aria-label="Live view of {}">'
            '<span class="material-symbols-outlined" aria-hidden="true">monitoring</span>Open</a>',
            project.get_absolute_url(),
            project.name,
        )

    # --- Bulk actions ------------------------------------------------------------------------------------------

    @admin.action(description="Provision selected projects", permissions=["provision"])
    def provision_selected(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        request_one = partial(request_provision, may_adopt=permissions.may_adopt(request.user))
        request_each(request, queryset, "provision_project", request_one)

    @admin.action(description="Retry selected projects", permissions=["provision"])
    def retry_selected(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        request_one = partial(request_retry, may_adopt=permissions.may_adopt(request.user))
        request_each(request, queryset, "provision_project", request_one)

    @admin.action(description="Cancel provisioning of selected projects", permissions=["provision"])
    def cancel_selected(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        request_each(request, queryset, "provision_project", request_cancel)

    @admin.action(description="Verify database credentials of selected projects", permissions=["provision"])
    def verify_selected(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        request_each(request, queryset, "provision_project", request_verification)

    @admin.action(description="Write verified passwords back to Secrets", permissions=["provision"])
    def restore_secrets(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        request_each(request, queryset, "provision_project", request_restore_secret)

    @admin.action(description="Rotate database passwords of selected projects", permissions=["provision"])
    def rotate_passwords(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        """Refused for adopted databases: the project's page asks for confirmation."""
        request_each(request, queryset, "provision_project", request_password_rotation)

    @admin.action(description="Delete selected projects…", permissions=["request_delete"])
    def delete_selected_projects(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> HttpResponse | None:
        """Show what will be deleted and kept; once confirmed, request each deletion."""
        if request.POST.get("confirmed") == "yes":
            request_one = partial(request_delete, delete_adopted=wants_adopted_deleted(request))
            request_each(request, queryset, "delete_project", request_one)
            return None
        projects = list(queryset)
        present = [
            project
            for project in projects
            if project.phase != Phase.DELETED and permissions.may(request.user, "delete_project", project)
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete {len(present)} project{'' if len(present) == 1 else 's'}?",
            "opts": self.opts,
            "projects": projects,
            "deletions": [(project, deletion_effects(project, request.user)) for project in present[:NAMED]],
            "count": len(present),
            "more": max(len(present) - NAMED, 0),
            "offers_adopted": any(can_delete_adopted(project, request.user) for project in present),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/projects/project/delete_projects.html", context)


def _is_key(object_id: str | None) -> TypeGuard[str]:
    return object_id is not None and object_id.isdecimal()


def _variable_changes(formset: BaseModelFormSet[Any, Any]) -> list[str]:
    """Return what a saved formset did to which variables, such as "added variable A". Names only, never values."""
    changes = {
        "added": formset.new_objects,
        "changed": [row for row, _ in formset.changed_objects],
        "removed": formset.deleted_objects,
    }
    names = {verb: [row.name for row in rows if isinstance(row, ProjectVariable)] for verb, rows in changes.items()}
    return [f"{verb} variable{'s' if len(of) > 1 else ''} {', '.join(of)}" for verb, of in names.items() if of]
