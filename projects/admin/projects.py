"""The admin of projects: lists, filters, read-only status, actions that go through services."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Lower
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from projects.access.permissions import may_with_any_project, wants_adopted_deleted
from projects.admin.base import (
    AllValuesFilter,
    ChoicesDropdownFilter,
    PanelModelAdmin,
    PhaseFilter,
    RelatedDropdownFilter,
    SandboxCredentialsFilter,
    in_a_sentence,
    phase_label,
    shown,
)
from projects.domain import permissions
from projects.domain.limits import MOST_FORMS
from projects.domain.states import CredentialsSource, DesiredState, Phase
from projects.models import Project, ProjectVariable
from projects.pages import presentation as display
from projects.pages.detail import get_shown_project, project_context
from projects.pages.forms import ProjectAdminForm, VariableForm, VariableFormSet
from projects.pages.list import UNSETTLED
from projects.services.cancellation import request_cancel
from projects.services.events import record_event
from projects.services.outcome import Outcome
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import request_delete, request_provision, request_retry, request_update
from projects.templatetags.panel import ago, spaced

if TYPE_CHECKING:
    from django.contrib.admin import TabularInline

    _VariableInline = TabularInline[ProjectVariable, Project]
else:
    from unfold.admin import TabularInline as _VariableInline

# Beyond so many projects an action says what became of them in groups.
_LISTED_ONE_BY_ONE = 8
# Projects that a message or a confirmation names; it counts the others.
_NAMED = 50


class VariableInline(_VariableInline):
    """The variables of a project's sandbox. Who may change the project may change them."""

    model = ProjectVariable
    form = VariableForm
    formset = VariableFormSet
    extra = 0
    max_num = MOST_FORMS
    # Its name is in the field right below.
    hide_title = True
    verbose_name = "variable"
    verbose_name_plural = "environment variables of the sandbox"

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
    """Projects. Rows are never removed from here: Delete is a request like the others, and the row stays."""

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
    search_help_text = "Search by name, Kubernetes name, description or owner"
    ordering = (Lower("name"), "pk")
    actions = (
        "provision_selected",
        "retry_selected",
        "cancel_selected",
        "rotate_passwords",
        "delete_selected_projects",
    )
    list_before_template = "admin/projects/project/_live_view.html"
    change_form_template = "admin/projects/project/change_form.html"

    # --- What may be done --------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        """Rows stay, so that no name is used twice: nobody removes one, whatever their permissions."""
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
        """Who sees only their own projects is not shown who else has some."""
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
            ("Where and how it runs", {"fields": ("namespace", "template", "drift_policy", shared)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        """The name is for ever; the namespace from the first request on, since objects live there. The default database
        is the owner's of the panel: who may share it is a permission of its own."""
        in_words = ("default_database_shown",)
        if obj is None:
            return in_words
        if not permissions.may(request.user, "change_project"):
            # An owner does not give a project away, nor choose where it lives.
            return ("name", "kubernetes_name", "namespace", "owner", *in_words)
        if obj.desired_state == DesiredState.REGISTERED and not obj.is_cancelling:
            return ("name", "kubernetes_name", *in_words)
        return ("name", "kubernetes_name", "namespace", *in_words)

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
        if request.method != "POST":
            return self._show_or_save(request, object_id, form_url, extra_context)
        with transaction.atomic():
            # Before any other row, as requests and passes do; and what they wrote before is what is judged here.
            rows = Project.objects.select_for_update().filter(pk=object_id) if _is_key(object_id) else ()
            for project in rows:
                is_ended = project.desired_state == DesiredState.DELETED
                if is_ended and permissions.may(request.user, "change_project", project):
                    raise PermissionDenied(f"{project.name} is deleted, or will be: nothing of it can be changed.")
            return self._show_or_save(request, object_id, form_url, extra_context)

    def _show_or_save(
        self, request: HttpRequest, object_id: str | None, form_url: str, extra_context: dict[str, Any] | None
    ) -> Any:
        context = dict(extra_context or {})
        if _is_key(object_id) and self.get_queryset(request).filter(pk=object_id).exists():
            project = get_shown_project(int(object_id))
            context |= {**project_context(request, project), "in_admin": True}
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except IntegrityError:
            # Someone took the name, or the variable's, between the check and the insert: now the check sees it.
            return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Project, form: ModelForm[Project], change: bool) -> None:
        actor = request.user.get_username()
        if change:
            # Only what the form changed: passes and requests write the other columns meanwhile.
            obj.save(update_fields=form.changed_data)
            typed = request.POST.get("namespace")
            if typed and typed != obj.namespace and "namespace" not in form.fields:
                messages.warning(request, f"{obj.name} was provisioned meanwhile: its namespace stays {obj.namespace}.")
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
        """Save the variables, and have a running sandbox follow what changed."""
        super().save_related(request, form, list(formsets), change)
        fields = [in_a_sentence(form.fields[name].label) for name in form.changed_data]
        changed = [*fields, *(name for formset in formsets for name in _changed_variables(formset))]
        if not change or not changed:
            return
        request_update(form.instance, actor=request.user.get_username(), changed=", ".join(changed))

    # --- Columns -----------------------------------------------------------------------------------------------

    @shown("Project", ordering=Lower("name"), header=True)
    def name_shown(self, project: Project) -> list[str]:
        return [project.name, f"{project.namespace}/{project.kubernetes_name}"]

    @shown("Phase", ordering="phase", label=display.PHASE_COLOURS)
    def phase_shown(self, project: Project) -> tuple[str, str]:
        return phase_label(project)

    @shown("Reason", ordering="reason")
    def reason_shown(self, project: Project) -> SafeString:
        return format_html('<span title="{}">{}</span>', project.message, spaced(project.reason))

    @shown("Database")
    def database_shown(self, project: Project) -> SafeString | str:
        name = project.database.name if project.database else "–"
        if project.sandbox and project.sandbox.credentials == CredentialsSource.DEFAULT:
            return format_html('{} <span class="panel-sub is-warning">default credentials</span>', name)
        return name

    @shown("May start with the default database")
    def default_database_shown(self, project: Project) -> str:
        """For those who may not change it: in words, since the theme's red cross reads like an error."""
        return "Yes" if project.default_database_allowed else "No"

    @shown("Added", ordering="created_at")
    def age_shown(self, project: Project) -> SafeString:
        return ago(project.created_at)

    @shown("Live view")
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
        asked = partial(request_provision, may_adopt=permissions.may_adopt(request.user))
        self._request_each(request, queryset, "provision_project", asked)

    @admin.action(description="Retry selected projects", permissions=["provision"])
    def retry_selected(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        asked = partial(request_retry, may_adopt=permissions.may_adopt(request.user))
        self._request_each(request, queryset, "provision_project", asked)

    @admin.action(description="Cancel selected projects", permissions=["provision"])
    def cancel_selected(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        self._request_each(request, queryset, "provision_project", request_cancel)

    @admin.action(description="Change the database passwords of selected projects", permissions=["provision"])
    def rotate_passwords(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        """Adopted databases are refused here: that takes a word of its own, on the project's page."""
        self._request_each(request, queryset, "provision_project", request_password_rotation)

    @admin.action(description="Delete selected projects…", permissions=["request_delete"])
    def delete_selected_projects(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> HttpResponse | None:
        """Ask first, with a page that says what will be deleted and what kept; then request each deletion."""
        if request.POST.get("confirmed") == "yes":
            asked = partial(request_delete, delete_adopted=wants_adopted_deleted(request))
            self._request_each(request, queryset, "delete_project", asked)
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
            "deletions": [(project, display.deletion_summary(project, request.user)) for project in present[:_NAMED]],
            "count": len(present),
            "more": max(len(present) - _NAMED, 0),
            "offers_adopted": any(display.offers_adopted(project, request.user) for project in present),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/projects/project/delete_projects.html", context)

    def _request_each(
        self,
        request: HttpRequest,
        projects: Iterable[Project],
        codename: str,
        request_one: Callable[..., Outcome],
    ) -> None:
        """Make the request for each project with which the user may do this, and say what became of it: one by one, or
        grouped where there are many."""

        def ask(project: Project) -> Outcome:
            if not permissions.may(request.user, codename, project):
                return Outcome(False, f"{project.name} is not yours, and you may not do that with others' projects.")
            return request_one(project, actor=request.user.get_username())

        outcomes = [(project, ask(project)) for project in projects]
        for say, accepted in ((messages.success, True), (messages.warning, False)):
            kind = [(project, outcome) for project, outcome in outcomes if outcome.accepted is accepted]
            if len(kind) <= _LISTED_ONE_BY_ONE:
                for _, outcome in kind:
                    say(request, outcome.message)
            else:
                say(request, _grouped(kind))
        accepted_ones = [project for project, outcome in outcomes if outcome.accepted]
        if accepted_ones:
            messages.info(request, _invite_to_follow(accepted_ones))


def _is_key(object_id: str | None) -> TypeGuard[str]:
    return object_id is not None and object_id.isdecimal()


def _invite_to_follow(projects: list[Project]) -> SafeString:
    """Return a link to where requests are followed, since this list does not refresh: a project's page, or the live
    view of everything in progress."""
    if len(projects) == 1:
        url, text = projects[0].get_absolute_url(), f"Follow {projects[0].name} in the live view"
    else:
        url, text = f"{reverse('projects:list')}?phase={UNSETTLED}", "Follow all that is in progress in the live view"
    return format_html('This list stays as it is. <a class="panel-link" href="{}">{}</a>', url, text)


def _grouped(outcomes: list[tuple[Project, Outcome]]) -> SafeString:
    """Return a line for each thing that was said, with the names of all the projects that it was said of."""
    names: dict[str, list[str]] = {}
    for project, outcome in outcomes:
        names.setdefault(outcome.message.removeprefix(f"{project.name}:").removeprefix(f"{project.name} "), []).append(
            project.name
        )
    lines = [
        (f"{len(of)} projects" if len(of) > 1 else of[0], said.strip(), f" ({_first(of)})" if len(of) > 1 else "")
        for said, of in names.items()
    ]
    return format_html_join("", "<p><strong>{}</strong>: {}{}</p>", lines)


def _first(names: list[str]) -> str:
    """Return the names in a row, the first ones where there are many."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _changed_variables(formset: BaseModelFormSet[Any, Any]) -> list[str]:
    """Return the names, never the values, of the variables that a saved formset added, changed or removed."""
    touched = [*formset.new_objects, *(row for row, _ in formset.changed_objects), *formset.deleted_objects]
    return [f"the variable {row}" for row in touched if isinstance(row, ProjectVariable)]
