"""Orphaned objects in the admin, and the page that deletes or releases one. The inventory writes the rows."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from projects.admin.found_clusters import InventoryAdmin
from projects.domain import permissions
from projects.models import Orphan, OrphanAction
from projects.services.orphans import request_orphan


@admin.register(Orphan)
class OrphanAdmin(InventoryAdmin):
    """Orphaned objects, and the confirmation page for deleting or releasing one."""

    title = "Orphaned objects"
    url_name = "orphan"

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and permissions.may(request.user, "delete_project")

    def get_urls(self) -> list[URLPattern]:
        view = self.guarded_view(self.resolve_view)
        urls = [
            path(f"<int:pk>/{action}/", view, {"action": action}, name=f"projects_orphan_{action}")
            for action in OrphanAction
        ]
        return [*super().get_urls(), *urls]

    def resolve_view(self, request: HttpRequest, pk: int, action: OrphanAction) -> HttpResponse:
        """GET asks for confirmation; a confirmed POST requests the deletion or the release."""
        self.require(self.has_resolve_permission(request))
        orphan = Orphan.objects.select_related("project").filter(pk=pk).first()
        if orphan is None:
            messages.warning(request, "This object was deleted or belongs to a project now.")
            return redirect("admin:projects_orphan_changelist")
        refusal = orphan.find_refusal(action, is_sure=True)
        if refusal:
            messages.warning(request, refusal.message)
            return redirect("admin:projects_orphan_changelist")
        if request.method == "POST" and request.POST.get("confirmed") == "yes":
            is_sure = request.POST.get("is_sure") == "yes"
            outcome = request_orphan(orphan, action, actor=request.user.get_username(), is_sure=is_sure)
            messages.add_message(request, messages.SUCCESS if outcome.accepted else messages.WARNING, outcome.message)
            if outcome.accepted:
                return redirect("admin:projects_orphan_changelist")
        context = {"title": f"{action.label} {orphan.kind} {orphan.name}", "orphan": orphan, "action": action}
        return self.page(request, "admin/projects/orphan/resolve.html", context)

    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        more = {"rows": Orphan.objects.select_related("project"), "may_resolve": self.has_resolve_permission(request)}
        return {**super().list_context(request), **more}
