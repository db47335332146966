"""Live pages in a browser: refreshes, hidden credentials, kept focus, no errors in the console."""

import re
from datetime import timedelta

import pytest
from django.db.models import Max
from django.utils import timezone
from django_q.models import OrmQ
from playwright.sync_api import Page, expect

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import DatabaseCluster, Event, Project
from tests.factories import PASSWORD, DatabaseFactory, EventFactory, ProjectFactory, SandboxFactory, provisioned_project


def open_project(panel: Page, project: Project) -> None:
    panel.goto(panel.url.split("/projects/")[0] + project.get_absolute_url())


def test_add_and_provision_from_the_pages(panel: Page) -> None:
    panel.get_by_role("link", name="Add project").first.click()
    panel.locator("[name=name]").fill("../x")
    panel.get_by_role("button", name="Add project").click()
    expect(panel.get_by_text("The name has characters that can't be used: /")).to_be_visible()

    panel.locator("[name=name]").fill("aaa")
    panel.get_by_role("button", name="Add project").click()
    expect(panel.get_by_text("aaa added.")).to_be_visible()
    panel.get_by_role("button", name="Provision aaa").click()
    expect(panel.locator("#notices [data-outcome=accepted]")).to_be_visible()
    expect(panel.get_by_text("aaa added.")).to_have_count(0)
    expect(panel.locator("#project-status [data-reason=Requested]")).to_be_visible()
    assert OrmQ.objects.count() == 1


def test_project_page_refreshes_until_settled_and_then_rarely(panel: Page) -> None:
    database = DatabaseFactory.create(project__name="aaa")
    project = database.project
    open_project(panel, project)
    expect(panel.locator("[data-elapsed]")).to_have_text("1 s", timeout=5000)
    expect(panel.locator("[aria-current=step]")).to_contain_text("Database running")
    expect(panel.get_by_text("Available once the database is running.")).to_be_visible()

    now = timezone.now()
    DatabaseCluster.objects.filter(pk=database.pk).update(
        phase=Phase.RUNNING, running_at=now, captured_at=now, verified_at=now, host="10.0.0.7", port=5432
    )
    expect(panel.locator("[aria-current=step]")).to_contain_text("Sandbox applied")
    expect(panel.locator("#credentials")).to_contain_text("10.0.0.7")

    SandboxFactory.create(project=project)
    EventFactory.create(project=project, message="The sandbox answers for the first time.")
    Project.objects.filter(pk=project.pk).update(
        phase=Phase.RUNNING, reason=Reason.READY, message="The database and the sandbox are running."
    )
    expect(panel.locator("#project-status")).to_contain_text("The database and the sandbox are running.")
    expect(panel.locator("#events")).to_contain_text("The sandbox answers for the first time.")
    expect(panel.locator("#announcement")).to_have_text("aaa: Running. The database and the sandbox are running.")

    asked: list[str] = []
    panel.on("request", lambda request: asked.append(request.url))
    panel.wait_for_timeout(3500)
    assert asked == []


def test_list_refreshes_until_settled_and_then_rarely(panel: Page) -> None:
    project = ProjectFactory.create(name="aaa", waiting=True)
    panel.reload()
    row = panel.get_by_role("row", name="aaa")
    expect(row).to_contain_text("Waiting")
    Project.objects.filter(pk=project.pk).update(phase=Phase.RUNNING)
    expect(row).to_contain_text("Running")
    asked: list[str] = []
    panel.on("request", lambda request: asked.append(request.url))
    panel.wait_for_timeout(3500)
    assert asked == []


def test_settled_list_shows_requests_of_others(panel: Page) -> None:
    ProjectFactory.create(name="aaa", running=True)
    panel.clock.install()
    panel.reload()
    expect(panel.get_by_role("row", name="aaa")).to_contain_text("Running")
    panel.locator("#project-" + str(Project.objects.get().pk)).focus()
    ProjectFactory.create(name="bbb", waiting=True)
    panel.clock.fast_forward(16_000)
    expect(panel.get_by_role("row", name="bbb")).to_contain_text("Waiting")
    expect(panel.get_by_role("link", name="aaa")).to_be_focused()
    Project.objects.update(phase=Phase.RUNNING)
    expect(panel.get_by_role("row", name="bbb")).to_contain_text("Running")


def test_settled_page_shows_requests_of_others_and_keeps_input(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    panel.clock.install()
    open_project(panel, project)
    reason = panel.get_by_label("Reason for revealing the password")
    reason.fill("half a rea")
    Project.objects.filter(pk=project.pk).update(
        phase=Phase.DELETING, desired_state=DesiredState.DELETED, message="Another user deletes it."
    )
    panel.clock.fast_forward(16_000)
    expect(panel.locator("#project-status")).to_contain_text("Another user deletes it.")
    expect(reason).to_have_value("half a rea")
    expect(reason).to_be_focused()


def test_hidden_tab_polls_again_when_shown(panel: Page) -> None:
    project = ProjectFactory.create(name="aaa", running=True)
    panel.clock.install()
    open_project(panel, project)
    show = "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); "
    show += "document.dispatchEvent(new Event('visibilitychange')) }"
    panel.evaluate(show, True)
    asked: list[str] = []
    panel.on("request", lambda request: asked.append(request.url))
    Project.objects.filter(pk=project.pk).update(message="Changed by a pass.")
    panel.clock.fast_forward(60_000)
    panel.wait_for_timeout(500)
    assert asked == []
    panel.evaluate(show, False)
    expect(panel.locator("#project-status")).to_contain_text("Changed by a pass.")


def test_refresh_keeps_input_and_focus(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    Project.objects.filter(pk=project.pk).update(phase=Phase.WAITING)
    open_project(panel, project)
    reason = panel.get_by_label("Reason for revealing the password")
    reason.fill("half a rea")
    EventFactory.create(project=project, message="Another event.")
    expect(panel.locator("#events")).to_contain_text("Another event.")
    expect(reason).to_have_value("half a rea")
    expect(reason).to_be_focused()


def test_search_as_you_type_keeps_the_filter(panel: Page) -> None:
    for name in ("alpha", "beta"):
        ProjectFactory.create(name=name, failed=True)
    ProjectFactory.create(name="alphabet")
    panel.reload()
    panel.get_by_role("link", name="Failed 2").click()
    expect(panel.get_by_role("row")).to_have_count(3)
    panel.get_by_label("Search by project or owner").press_sequentially("alph", delay=30)
    expect(panel.get_by_role("row")).to_have_count(2)
    expect(panel).to_have_url(re.compile("q=alph&phase=Failed|phase=Failed&q=alph"))
    panel.go_back()
    expect(panel.get_by_role("row")).to_have_count(3)


def test_reveal_shows_copies_and_hides_again(panel: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projects.pages.credentials.REVEALED_FOR_S", 4)
    project = provisioned_project(name="aaa")
    open_project(panel, project)
    assert PASSWORD not in panel.content()
    panel.get_by_label("Reason for revealing the password").fill("connecting psql")
    panel.get_by_role("button", name="Reveal").click()
    expect(panel.locator("#credential-password")).to_have_text(PASSWORD)
    expect(panel.locator("#events")).to_contain_text("root revealed the credentials: connecting psql")

    panel.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.get_by_role("button", name="Copy the password").click()
    assert panel.evaluate("navigator.clipboard.readText()") == PASSWORD

    expect(panel.locator("#credential-password")).to_have_count(0, timeout=8000)
    assert PASSWORD not in panel.content()
    expect(panel.locator("#credentials")).to_contain_text("••••••")
    history = panel.evaluate("JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage})")
    assert "canary" not in history


def test_logged_out_user_is_redirected_to_the_log_in(panel: Page) -> None:
    open_project(panel, DatabaseFactory.create(project__name="aaa").project)
    panel.context.clear_cookies()
    panel.wait_for_url("**/admin/login/?next=/projects/*/")


def test_lost_connection_is_shown(panel: Page, errors: list[str]) -> None:
    open_project(panel, DatabaseFactory.create(project__name="aaa").project)
    panel.route("**/status/**", lambda route: route.abort())
    expect(panel.locator("html.panel-connection-lost")).to_have_count(1)
    panel.unroute("**/status/**")
    expect(panel.locator("html.panel-connection-lost")).to_have_count(0)
    assert errors
    errors.clear()


def test_bulk_provision_in_the_admin(panel: Page) -> None:
    for name in ("aaa", "bbb"):
        ProjectFactory.create(name=name)
    panel.goto(panel.url.replace("/projects/", "/admin/projects/project/"))
    panel.locator("thead input[type=checkbox]").click()
    panel.locator("select[name=action]").select_option("provision_selected")
    panel.get_by_role("button", name="Run").click()
    messages = panel.locator("[data-level=success]")
    expect(messages).to_have_count(2)
    expect(messages.nth(0)).to_contain_text("aaa")
    expect(messages.nth(1)).to_contain_text("bbb")
    assert OrmQ.objects.count() == 2

    panel.get_by_role("link", name="View progress of all projects").click()
    expect(panel.get_by_role("row")).to_have_count(3)
    Project.objects.filter(name="aaa").update(phase=Phase.RUNNING)
    expect(panel.get_by_role("row")).to_have_count(2)
    Project.objects.update(phase=Phase.RUNNING)
    expect(panel.locator("[data-empty=in-progress]")).to_be_visible()
    expect(panel.locator("#chip-Running")).to_contain_text("2")


def test_admin_page_of_a_project_refreshes_too(panel: Page) -> None:
    project = ProjectFactory.create(name="aaa")
    panel.goto(panel.url.replace("/projects/", f"/admin/projects/project/{project.pk}/change/"))
    panel.get_by_role("button", name="Provision aaa").click()
    expect(panel.locator("#project-status [data-reason=Requested]")).to_be_visible()
    Project.objects.filter(pk=project.pk).update(message="KubeBlocks says Creating.")
    expect(panel.locator("#project-status")).to_contain_text("KubeBlocks says Creating.")
    expect(panel.locator("#project-status").get_by_role("link", name="Live view")).to_be_visible()
    expect(panel.locator("#project-status").get_by_role("link", name="Edit")).to_have_count(0)
    assert Event.objects.aggregate(latest=Max("at"))["latest"] < timezone.now() + timedelta(seconds=1)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window(panel: Page, width: int, scheme: str) -> None:
    project = ProjectFactory.create(name="a" * 60, failed=True, message="x" * 300)
    DatabaseFactory.create(project=project, name="b" * 60, message="y" * 300)
    panel.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    panel.set_viewport_size({"width": width, "height": 800})
    base = panel.url.split("/projects/")[0]
    for path in ("/projects/", project.get_absolute_url(), "/projects/add/", f"{project.get_absolute_url()}delete/"):
        panel.goto(base + path)
        assert panel.evaluate("document.documentElement.scrollWidth") <= width, path
        assert panel.evaluate("document.documentElement.classList.contains('dark')") is (scheme == "dark")
