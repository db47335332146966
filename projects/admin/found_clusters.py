"""Unmanaged clusters in the admin, and the form that adopts one. The inventory writes the rows."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from projects.admin.base import ReadOnlyAdmin
from projects.domain import permissions
from projects.domain.naming import legacy_name
from projects.models import FoundCluster, Inventory, Orphan, Project, read_inventory
from projects.pages.forms import ProjectNameField
from projects.pages.guards import strict_policy
from projects.pages.layout import layout_context
from projects.services.adoption import Adoptable, projects_for_adoption, request_adopt, request_adopt_for_new
from projects.services.inventory import request_inventory

# Opening the page requests a new inventory when the last one is older.
_FRESH_FOR = timedelta(minutes=2)
# An inventory that was requested longer ago and has not started waits for a queue worker.
_OVERDUE_AFTER = timedelta(seconds=20)


class OptionalNameField(ProjectNameField):
    """A project's name, or an empty value."""

    def clean(self, value: Any) -> str:
        return super().clean(value) if str(value or "").strip() else ""


class AdoptForm(forms.Form):
    """The project that adopts the Cluster: an existing one without a database, or a new one."""

    project = forms.ModelChoiceField(
        Project.objects.none(),
        required=False,
        label="Existing project",
        widget=UnfoldAdminSelectWidget,
        help_text="Projects without a database in the cluster's namespace.",
        error_messages={"invalid_choice": "This project now has a database or was deleted. Choose another project."},
    )
    name = OptionalNameField(required=False, label="New project")

    def __init__(self, *args: Any, cluster: FoundCluster, may_add: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        projects = projects_for_adoption(Adoptable.of(cluster))
        # The predecessor's Clusters have its name of the project, which may differ from the Kubernetes name.
        named = (one for one in projects if cluster.hint in (one.kubernetes_name, legacy_name(one.name)))
        suggested = next(named, None) if cluster.hint else None
        choice = self.fields["project"]
        assert isinstance(choice, forms.ModelChoiceField)  # noqa: S101 - declared above  # nosec B101
        choice.queryset = projects
        choice.empty_label = "–"
        choice.initial = suggested
        self.fields["name"].widget = UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})
        if suggested is None and not cluster.claimed_by:
            self.fields["name"].initial = cluster.hint
        if not may_add or cluster.claimed_by:
            del self.fields["name"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and bool(cleaned.get("project")) == bool(cleaned.get("name")):
            raise ValidationError("Choose an existing project or enter the name of a new one, not both.")
        return cleaned


class InventoryAdmin(ReadOnlyAdmin):
    """A list that the inventory writes. The page refreshes while an inventory is running."""

    title: str
    # The name in URLs and template paths.
    url_name: str

    # --- Permissions -------------------------------------------------------------------------------------------

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.may(request.user, "view_project")

    # --- Pages -------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        wrap = self.guarded_view
        return [
            path("", wrap(self.list_view), name=f"projects_{self.url_name}_changelist"),
            path("fragment/", wrap(self.fragment_view), name=f"projects_{self.url_name}_fragment"),
            path("rescan/", wrap(self.rescan_view), name=f"projects_{self.url_name}_rescan"),
        ]

    def guarded_view(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """Return the view behind the admin's log-in, with the strict content security policy."""
        guarded: Callable[..., HttpResponse] = self.admin_site.admin_view(view)
        return strict_policy(guarded)

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Show the last inventory; request a new one if it is old."""
        self.require(self.has_view_permission(request))
        return self.page(request, "admin/projects/inventory/list.html", self.list_context(request))

    def fragment_view(self, request: HttpRequest) -> HttpResponse:
        """The part of the page that refreshes."""
        self.require(self.has_view_permission(request))
        return self.fragment(request)

    def rescan_view(self, request: HttpRequest) -> HttpResponse:
        """Request a new inventory, unless one is in the queue already."""
        self.require(self.has_view_permission(request))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        request_inventory(timezone.now())
        if "HX-Request" in request.headers:
            return self.fragment(request)
        return redirect(f"admin:projects_{self.url_name}_changelist")

    @property
    def list_template(self) -> str:
        return f"admin/projects/{self.url_name}/_list.html"

    def fragment(self, request: HttpRequest) -> HttpResponse:
        return render(request, self.list_template, self.list_context(request))

    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return the list's context; request a new inventory if the last one is old."""
        now = timezone.now()
        inventory = read_inventory()
        if not inventory.is_awaited and inventory.is_older_than(_FRESH_FOR, now):
            request_inventory(now)
            inventory = read_inventory()
        return {
            "title": self.title,
            "list_template": self.list_template,
            "inventory": inventory,
            "is_overdue": _is_overdue(inventory),
            "refresh_url": reverse(f"admin:projects_{self.url_name}_fragment"),
            "rescan_url": reverse(f"admin:projects_{self.url_name}_rescan"),
            "now": now,
        }

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        return render(request, template, {**layout_context(request), "opts": self.opts, **context})

    @staticmethod
    def require(is_allowed: bool) -> None:
        if not is_allowed:
            raise PermissionDenied


@admin.register(FoundCluster)
class FoundClusterAdmin(InventoryAdmin):
    """Unmanaged clusters, and the form that adopts one."""

    title = "Unmanaged clusters"
    url_name = "foundcluster"

    def has_adopt_permission(self, request: HttpRequest) -> bool:
        return permissions.may_adopt(request.user)

    # --- Pages -------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        adopt = path("<int:pk>/adopt/", self.guarded_view(self.adopt_view), name="projects_foundcluster_adopt")
        return [*super().get_urls(), adopt]

    def adopt_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows the form; POST requests the adoption."""
        self.require(self.has_adopt_permission(request))
        cluster = FoundCluster.objects.filter(pk=pk).first()
        if cluster is None or cluster.obstacle:
            missing = "This cluster was deleted or adopted in the meantime."
            messages.warning(request, cluster.obstacle if cluster else missing)
            return redirect("admin:projects_foundcluster_changelist")
        may_add = permissions.may(request.user, "add_project")
        form = AdoptForm(request.POST if request.method == "POST" else None, cluster=cluster, may_add=may_add)
        if request.method == "POST" and form.is_valid():
            project = self._adopt(request, cluster, form)
            if project is not None:
                return redirect(project)
        context = {"title": f"Adopt {cluster.name}", "cluster": cluster, "form": form, "may_add": may_add}
        return self.page(request, "admin/projects/foundcluster/adopt.html", context)

    def _adopt(self, request: HttpRequest, cluster: FoundCluster, form: AdoptForm) -> Project | None:
        """Request the adoption; return the project, or None with an error in the form if it was refused."""
        actor, adoptable = request.user.get_username(), Adoptable.of(cluster)
        project: Project | None = form.cleaned_data["project"]
        if project is None:
            try:
                name: str = form.cleaned_data["name"]
                project, outcome = request_adopt_for_new(name, adoptable, actor=actor, owner=request.user)
            except ValidationError as error:
                form.add_error("name", error.messages)
                return None
        else:
            outcome = request_adopt(project, adoptable, actor=actor)
            if not outcome.accepted:
                form.add_error(None, outcome.message)
                return None
        messages.success(request, outcome.message)
        return project

    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        orphans = Orphan.objects.filter(kind="Cluster", namespace=OuterRef("namespace"), name=OuterRef("name"))
        rows = FoundCluster.objects.annotate(is_orphan=Exists(orphans.filter(is_releasable=True)))
        more = {"rows": rows, "may_adopt": self.has_adopt_permission(request)}
        return {**super().list_context(request), **more}


def _is_overdue(inventory: Inventory) -> bool:
    """Whether a requested inventory should have started by now."""
    since = inventory.requested_at
    return inventory.is_awaited and since is not None and timezone.now() - since > _OVERDUE_AFTER
