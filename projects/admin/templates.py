"""The admin of sandbox templates. A change is applied to every running project that uses the template."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, ProtectedError, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminExpandableTextareaWidget, UnfoldAdminTextareaWidget

from projects.admin.base import PanelModelAdmin, column
from projects.domain.states import DesiredState, Phase
from projects.models import SandboxTemplate
from projects.pages.forms import LinesField
from projects.services.provisioning import request_update


@admin.register(SandboxTemplate)
class SandboxTemplateAdmin(PanelModelAdmin):
    list_display = ("name", "image", "ports", "amounts_shown", "domain", "projects_shown")
    list_per_page = 25
    show_full_result_count = False
    search_fields = ("name", "description", "image")
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "description")}),
        ("Workload", {"fields": ("image", "command", "ports", "readiness_path")}),
        ("Resources", {"fields": ("cpu", "memory", "storage", "storage_class")}),
        ("Networking", {"fields": ("domain", "ingress_class", "tls_secret", "cluster_issuer")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SandboxTemplate]:
        present = Count("projects", filter=~Q(projects__phase=Phase.DELETED))
        templates: QuerySet[SandboxTemplate] = super().get_queryset(request)
        return templates.annotate(project_count=present)

    def get_form(
        self, request: HttpRequest, obj: SandboxTemplate | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        # A script in the command may have line breaks, which a one-line input would drop.
        widgets = {
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            "command": UnfoldAdminExpandableTextareaWidget(),
        }
        options = {"widgets": widgets, "field_classes": {"command": LinesField}}
        return super().get_form(request, obj, change=change, **{**kwargs, **options})

    def save_model(
        self, request: HttpRequest, obj: SandboxTemplate, form: ModelForm[SandboxTemplate], change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        if not change or not set(form.changed_data) - {"name", "description"}:
            return
        running = list(obj.projects.filter(desired_state=DesiredState.RUNNING))
        for project in running:
            request_update(project, actor=request.user.get_username(), change=f"changed the template {obj.name}")
        if running:
            count = f"{len(running)} running project{'' if len(running) == 1 else 's'}"
            messages.info(request, f"Sandboxes of {count} restart with the change.")

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Refuse while projects use the template, also if one began to use it after the confirmation page was shown."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except ProtectedError:
            messages.error(request, "This template is in use. Choose another template for its projects first.")
            return HttpResponseRedirect(reverse("admin:projects_sandboxtemplate_changelist"))

    @column("CPU, memory, storage")
    def amounts_shown(self, template: SandboxTemplate) -> str:
        return f"{template.cpu}, {template.memory}, {template.storage}"

    @column("Projects", ordering="project_count")
    def projects_shown(self, template: SandboxTemplate) -> int:
        count: int = getattr(template, "project_count", 0)
        return count
