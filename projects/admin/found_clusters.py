"""The admin page of Clusters that no project owns, and of their adoption. It reads rows; an inventory writes them."""

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
from projects.models import FoundCluster, Inventory, Orphan, Project, read_inventory
from projects.pages.forms import ProjectNameField
from projects.pages.layout import shell, strict_policy
from projects.services.adoption import Adoptable, may_adopt, request_adopt, request_adopt_for_new
from projects.services.inventory import request_inventory

# While somebody looks, the list is taken anew when it is older than this.
_FRESH_FOR = timedelta(minutes=2)
# A task that has not begun by then waits for a worker, or for one to be started.
_SOON = timedelta(seconds=20)


class OptionalNameField(ProjectNameField):
    """A project's name, or nothing."""

    def clean(self, value: Any) -> str:
        return super().clean(value) if str(value or "").strip() else ""


class AdoptForm(forms.Form):
    """Which project the Cluster is for: one that has no database yet, or a new one."""

    project = forms.ModelChoiceField(
        Project.objects.none(),
        required=False,
        label="A project that has no database",
        widget=UnfoldAdminSelectWidget,
        help_text="Only projects in the cluster's namespace are offered.",
        error_messages={"invalid_choice": "That project has a database meanwhile, or is gone. Choose another one."},
    )
    name = OptionalNameField(required=False, label="Or a new project's name")

    def __init__(self, *args: Any, cluster: FoundCluster, may_add: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        projects = may_adopt(Adoptable.of(cluster))
        suggested = projects.filter(kubernetes_name=cluster.hint).first() if cluster.hint else None
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
            raise ValidationError("Choose a project, or give the name of a new one: one of the two.")
        return cleaned


class InventoryAdmin(ReadOnlyAdmin):
    """A page of what the inventory wrote: it follows the inventory, and changes nothing of its rows."""

    title: str
    # Of its templates and addresses.
    called: str

    # --- What may be done --------------------------------------------------------------------------------------

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.may(request.user, "view_project")

    # --- Pages -------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        wrap = self.own_view
        return [
            path("", wrap(self.list_view), name=f"projects_{self.called}_changelist"),
            path("fragment/", wrap(self.fragment_view), name=f"projects_{self.called}_fragment"),
            path("look-again/", wrap(self.look_again_view), name=f"projects_{self.called}_look_again"),
        ]

    def own_view(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """Return the view as the admin guards it, under the policy of our own pages."""
        guarded: Callable[..., HttpResponse] = self.admin_site.admin_view(view)
        return strict_policy(guarded)

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """The rows as of the last inventory; one that is old asks for a newer one."""
        self.require(self.has_view_permission(request))
        return self.page(request, "admin/projects/inventory/list.html", self.list_context(request))

    def fragment_view(self, request: HttpRequest) -> HttpResponse:
        """The part of the page that follows the inventory."""
        self.require(self.has_view_permission(request))
        return self.fragment(request)

    def look_again_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new inventory; one that waits in the queue already is enough."""
        self.require(self.has_view_permission(request))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        request_inventory(timezone.now())
        if "HX-Request" in request.headers:
            return self.fragment(request)
        return redirect(f"admin:projects_{self.called}_changelist")

    @property
    def list_template(self) -> str:
        return f"admin/projects/{self.called}/_list.html"

    def fragment(self, request: HttpRequest) -> HttpResponse:
        return render(request, self.list_template, self.list_context(request))

    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the list shows, with an inventory on its way where the last one is old."""
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
            "refresh_url": reverse(f"admin:projects_{self.called}_fragment"),
            "look_again_url": reverse(f"admin:projects_{self.called}_look_again"),
            "now": now,
        }

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        return render(request, template, {**shell(request), "opts": self.opts, **context})

    @staticmethod
    def require(is_allowed: bool) -> None:
        if not is_allowed:
            raise PermissionDenied


@admin.register(FoundCluster)
class FoundClusterAdmin(InventoryAdmin):
    """Clusters found, and a form that adopts one."""

    title = "Clusters found"
    called = "foundcluster"

    def has_adopt_permission(self, request: HttpRequest) -> bool:
        return permissions.may_adopt(request.user)

    # --- Pages -------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        adopt = path("<int:pk>/adopt/", self.own_view(self.adopt_view), name="projects_foundcluster_adopt")
        return [*super().get_urls(), adopt]

    def adopt_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET asks which project the cluster is for; POST stores the wish, and a pass carries it out."""
        self.require(self.has_adopt_permission(request))
        cluster = FoundCluster.objects.filter(pk=pk).first()
        if cluster is None or cluster.obstacle:
            gone = "That cluster is gone, or a project has it meanwhile. This is what there is now."
            messages.warning(request, cluster.obstacle if cluster else gone)
            return redirect("admin:projects_foundcluster_changelist")
        may_add = permissions.may(request.user, "add_project")
        form = AdoptForm(request.POST if request.method == "POST" else None, cluster=cluster, may_add=may_add)
        if request.method == "POST" and form.is_valid():
            project = self._adopt(request, cluster, form)
            if project is not None:
                return redirect(project)
        context = {"title": f"Adopt {cluster.name}", "cluster": cluster, "form": form, "may_add": may_add}
        return self.page(request, "admin/projects/foundcluster/adopt.html", context)

    # --- Their parts -------------------------------------------------------------------------------------------

    def _adopt(self, request: HttpRequest, cluster: FoundCluster, form: AdoptForm) -> Project | None:
        """Make the request; return the project, or None where it was refused: the form says why."""
        actor, wish = request.user.get_username(), Adoptable.of(cluster)
        project: Project | None = form.cleaned_data["project"]
        if project is None:
            try:
                name: str = form.cleaned_data["name"]
                project, outcome = request_adopt_for_new(name, wish, actor=actor, owner=request.user)
            except ValidationError as error:
                form.add_error("name", error.messages)
                return None
        else:
            outcome = request_adopt(project, wish, actor=actor)
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
    """Whether an inventory that was asked for has been waiting for longer than it should."""
    since = inventory.requested_at
    return inventory.is_awaited and since is not None and timezone.now() - since > _SOON
