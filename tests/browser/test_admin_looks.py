"""Layout of the admin's pages: nothing is cut off, outside the window or too faint."""

from urllib.parse import urljoin

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page

from projects.models import FoundCluster, Inventory, Orphan
from tests.factories import ProjectFactory


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
def test_buttons_of_an_orphan_stay_in_the_window(panel: Page, width: int) -> None:
    make_orphan("lost-agentruntime-abc123", requested_action="release", requested_by="maria")
    make_orphan("other-agentruntime-abc123", labelled_as="11111111-2222-4333-8444-555555555555")
    open_page(panel, "/admin/projects/orphan/", width)
    for row in panel.get_by_role("row").all()[-2:]:
        release, delete = (row.get_by_role("link", name=name).bounding_box() for name in ("Release", "Delete"))
        assert release is not None
        assert delete is not None
        assert release["y"] == delete["y"]
        assert release["x"] + release["width"] < delete["x"]
        assert delete["x"] + delete["width"] < width


def test_names_and_labels_of_unmanaged_clusters_fit_one_line(panel: Page) -> None:
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
    assert panel.get_by_role("link", name="Orphaned objects").count() == 2


@pytest.mark.parametrize("width", [400, 1280])
def test_no_admin_page_is_wider_than_the_window(panel: Page, width: int) -> None:
    row = {"requested_action": "release", "requested_by": "maria"}
    make_orphan("lost-agentruntime-abc123", **row, project=ProjectFactory.create())
    for path in (
        f"auth/user/{User.objects.get().pk}/change/",
        "auth/user/",
        "projects/orphan/",
        "auditlog/logentry/",
    ):
        open_page(panel, f"/admin/{path}", width)
        assert panel.evaluate("document.documentElement.scrollWidth") <= width, path


CONTRAST = """each => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const backs = [];
    for (let at = each; at; at = at.parentElement) backs.unshift(getComputedStyle(at).backgroundColor);
    const shine = color => {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(part => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    let behind = 0;
    for (const back of backs) behind = shine(back);
    const [most, least] = [behind, shine(getComputedStyle(each).color)].sort((one, other) => other - one);
    return (most + 0.05) / (least + 0.05);
}"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_of_the_theme_has_enough_contrast(panel: Page, dark: bool) -> None:
    for index in range(26):
        ProjectFactory.create(name=f"project-{index:02}")
    open_page(panel, "/admin/projects/project/", dark=dark)
    for what in ("#nav-sidebar-apps a.active", "span.font-medium.text-primary-600", "#result_list p", "a.showall"):
        faintest = min(each.evaluate(CONTRAST) for each in panel.locator(what).all())
        assert faintest >= 4.5, what


def test_backdrop_closes_the_sidebar_on_a_phone(panel: Page) -> None:
    open_page(panel, "/admin/auditlog/logentry/", 400)
    panel.get_by_text("dock_to_right").locator("visible=true").click()
    assert panel.locator("#nav-sidebar").get_by_role("link", name="Databases").is_visible()
    panel.locator("#nav-sidebar").get_by_text("Access").click()
    panel.locator(".panel-backdrop").click(position={"x": 380, "y": 400})
    assert not panel.locator("#nav-sidebar").is_visible()


def test_title_is_not_cut_on_a_phone(panel: Page) -> None:
    for path in ("/admin/auditlog/logentry/", f"/admin/auth/user/{User.objects.get().pk}/change/"):
        open_page(panel, path, 400)
        titles = panel.locator("[data-crumb]").locator("visible=true").all()
        assert len(titles) == 1
        assert titles[0].evaluate("each => each.scrollWidth <= each.clientWidth")
