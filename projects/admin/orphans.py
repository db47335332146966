"""The admin page of orphans, and what can be done about each. It reads rows; an inventory writes them."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from projects.admin.found_clusters import InventoryAdmin
from projects.domain import permissions
from projects.models import Orphan, OrphanWish
from projects.services.orphans import request_orphan


@admin.register(Orphan)
class OrphanAdmin(InventoryAdmin):
    """Orphans, and a page that asks before one is deleted or released."""

    title = "Orphans"
    called = "orphan"

    def has_end_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and permissions.may(request.user, "delete_project")

    def get_urls(self) -> list[URLPattern]:
        end = self.own_view(self.end_view)
        ways = [path(f"<int:pk>/{wish}/", end, {"wish": wish}, name=f"projects_orphan_{wish}") for wish in OrphanWish]
        return [*super().get_urls(), *ways]

    def end_view(self, request: HttpRequest, pk: int, wish: OrphanWish) -> HttpResponse:
        """GET says what would be done; POST, with the boxes ticked, asks for it, and a task carries it out."""
        self.require(self.has_end_permission(request))
        orphan = Orphan.objects.select_related("project").filter(pk=pk).first()
        if orphan is None:
            messages.warning(request, "That orphan is gone, or a project has it meanwhile. This is what there is now.")
            return redirect("admin:projects_orphan_changelist")
        refusal = orphan.explain_refusal(wish, is_sure=True)
        if refusal:
            messages.warning(request, refusal)
            return redirect("admin:projects_orphan_changelist")
        if request.method == "POST" and request.POST.get("confirmed") == "yes":
            is_sure = request.POST.get("is_sure") == "yes"
            outcome = request_orphan(orphan, wish, actor=request.user.get_username(), is_sure=is_sure)
            messages.add_message(request, messages.SUCCESS if outcome.accepted else messages.WARNING, outcome.message)
            if outcome.accepted:
                return redirect("admin:projects_orphan_changelist")
        context = {"title": f"{wish.label} {orphan.kind} {orphan.name}", "orphan": orphan, "wish": wish}
        return self.page(request, "admin/projects/orphan/end.html", context)

    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        more = {"rows": Orphan.objects.select_related("project"), "may_end": self.has_end_permission(request)}
        return {**super().list_context(request), **more}
