"""What the admin's pages look like in a browser: nothing is cut off or out of the window."""

from urllib.parse import urljoin

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page

from projects.found_cluster import FoundCluster, Inventory
from projects.orphan import Orphan
from tests.factories import ProjectFactory

pytestmark = pytest.mark.browser


def open_page(panel: Page, path: str, width: int = 1280, *, dark: bool = False) -> None:
    panel.emulate_media(color_scheme="dark" if dark else "light")
    panel.set_viewport_size({"width": width, "height": 800})
    panel.goto(urljoin(panel.url, path))


def make_orphan(name: str, **fields: object) -> Orphan:
    now = timezone.now()
    Inventory.objects.get_or_create(pk=Inventory.PK, defaults={"looked_at": now, "complete_at": now})
    return Orphan.objects.create(
        kind="Cluster",
        namespace="default",
        name=name,
        uid=name,
        explanation="Its project is deleted. It was made by the panel: it can be deleted, or released.",
        is_deletable=True,
        is_releasable=True,
        created_at=now,
        seen_at=now,
        **fields,
    )


@pytest.mark.parametrize("width", [400, 1280])
def test_the_buttons_of_an_orphan_stay_in_the_window_and_apart(panel: Page, width: int) -> None:
    make_orphan("lost-agentruntime-abc123", wish="release", wished_by="maria")
    make_orphan("other-agentruntime-abc123", labelled_as="11111111-2222-4333-8444-555555555555")
    open_page(panel, "/admin/projects/orphan/", width)
    for row in panel.get_by_role("row").all()[-2:]:
        release, delete = (row.get_by_role("link", name=name).bounding_box() for name in ("Release", "Delete"))
        assert release is not None
        assert delete is not None
        assert release["y"] == delete["y"]
        assert release["x"] + release["width"] < delete["x"]
        assert delete["x"] + delete["width"] < width


def test_names_and_labels_of_clusters_found_are_not_broken_where_there_is_room(panel: Page) -> None:
    make_orphan("lost-agentruntime-abc123")
    FoundCluster.objects.create(
        namespace="default",
        name="lost-agentruntime-abc123",
        uid="u",
        api_version="apps.kubeblocks.io/v1",
        labels={"panel.example.org/origin": "created", "panel.example.org/project": "11111111-2222"},
        secret_note="Secret default/lost-conn-credential",
        obstacle="It has the label of a project that this panel does not know.",
        seen_at=timezone.now(),
    )
    open_page(panel, "/admin/projects/foundcluster/")
    for text in panel.locator(".panel-name, .panel-labels code").all():
        assert text.evaluate("each => each.getBoundingClientRect().height") < 30, text.text_content()
    assert panel.get_by_role("link", name="Orphans").count() == 2


@pytest.mark.parametrize("width", [400, 1280])
def test_no_page_of_the_admin_is_wider_than_the_window(panel: Page, width: int) -> None:
    make_orphan("lost-agentruntime-abc123", wish="release", wished_by="maria", project=ProjectFactory.create())
    for path in (f"auth/user/{User.objects.get().pk}/change/", "auth/user/", "projects/orphan/", "auditlog/logentry/"):
        open_page(panel, f"/admin/{path}", width)
        assert panel.evaluate("document.documentElement.scrollWidth") <= width, path
