"""Notices after refused and failed requests of a page."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.middleware.csrf import CSRF_ALLOWED_CHARS, CSRF_SECRET_LENGTH
from django.utils.crypto import get_random_string
from playwright.sync_api import Page, Route, expect

from projects.models import Project
from tests.browser.test_live_pages import open_project
from tests.factories import ProjectFactory, provisioned_project


@pytest.fixture
def refused(panel: Page, errors: list[str]) -> Iterator[Page]:
    """The panel, without the browser's own errors about refused and lost requests."""
    yield panel
    others = [
        error for error in errors if not error.startswith(("Failed to load resource", "Response Status", "htmx:"))
    ]
    assert errors
    assert others == []
    errors.clear()


def replace_csrf_token(panel: Page) -> None:
    """Give the browser another CSRF token than the page has, as a log-in in another tab does."""
    token = get_random_string(CSRF_SECRET_LENGTH, CSRF_ALLOWED_CHARS)
    panel.context.add_cookies([{"name": settings.CSRF_COOKIE_NAME, "value": token, "domain": "localhost", "path": "/"}])


@pytest.mark.parametrize("where", ["own page", "admin", "list"])
def test_button_of_an_expired_page_shows_a_notice(refused: Page, where: str) -> None:
    project = ProjectFactory.create(name="aaa")
    base = refused.url.split("/projects/")[0]
    pages = {
        "own page": project.get_absolute_url(),
        "admin": f"/admin/projects/project/{project.pk}/change/",
        "list": "/projects/",
    }
    refused.goto(base + pages[where])
    replace_csrf_token(refused)
    refused.get_by_role("button", name="Provision aaa").click()
    expect(refused.locator("#notices")).to_contain_text(
        "Nothing was changed. You logged in or out after opening this form"
    )
    refused.wait_for_timeout(9000)
    refused.get_by_role("button", name="Reload page").click()
    expect(refused.locator("#notices")).to_be_empty()
    refused.get_by_role("button", name="Provision aaa").click()
    expect(refused.locator("#notices [data-outcome=accepted]")).to_be_visible()


def test_reveal_of_an_expired_page_shows_a_notice(refused: Page) -> None:
    refused.set_viewport_size({"width": 1280, "height": 500})
    open_project(refused, provisioned_project(name="aaa"))
    replace_csrf_token(refused)
    refused.get_by_label("Reason for revealing the password").fill("debugging")
    refused.get_by_role("button", name="Reveal").click()
    expect(refused.locator("#notices")).to_contain_text("Reload the page and try again.")
    expect(refused.locator("#notices")).to_be_in_viewport()
    expect(refused.get_by_label("Reason for revealing the password")).to_have_value("debugging")


def test_button_without_permission_names_it(refused: Page) -> None:
    root = User.objects.get(username="root")
    project = ProjectFactory.create(name="aaa")
    open_project(refused, project)
    User.objects.filter(pk=root.pk).update(is_superuser=False)
    root.user_permissions.add(Permission.objects.get(codename="view_project"))
    refused.get_by_role("button", name="Provision aaa").click()
    notice = refused.locator("#notices")
    expect(notice).to_contain_text("Nothing was changed. You don't have permission")
    expect(notice).to_contain_text("(needs: provision_project)")
    expect(notice).to_contain_text("Reload the page for its current state.")


def test_page_without_permission_says_that_it_no_longer_updates(refused: Page) -> None:
    project = ProjectFactory.create(name="aaa", waiting=True)
    open_project(refused, project)
    User.objects.filter(username="root").update(is_superuser=False)
    expect(refused.locator("#notices")).to_contain_text("This page no longer updates.")


def test_failed_request_says_that_its_outcome_is_unknown(refused: Page) -> None:
    open_project(refused, ProjectFactory.create(name="aaa"))
    notice = refused.locator("#notices")
    refused.route("**/provision/", lambda route: route.fulfill(status=500, body="no"))
    refused.get_by_role("button", name="Provision aaa").click()
    expect(notice).to_contain_text("Internal error.")
    refused.unroute("**/provision/")
    refused.route("**/provision/", lambda route: route.abort())
    refused.get_by_role("button", name="Provision aaa").click()
    expect(notice).to_contain_text("No response.")
    expect(refused.locator("html.panel-connection-lost")).to_have_count(1)
    assert Project.objects.get().desired_state == "registered"


def test_aborted_search_is_not_a_lost_connection(refused: Page) -> None:
    refused.evaluate(
        "new MutationObserver(() => { window.lost = window.lost || document.documentElement.className }).observe("
        "document.documentElement, {attributes: true, attributeFilter: ['class']})"
    )

    def answer_late(route: Route) -> None:
        refused.wait_for_timeout(700)
        route.continue_()

    refused.route("**/projects/?*", answer_late)
    refused.get_by_label("Search by project or owner").press_sequentially("abc", delay=450)
    expect(refused.get_by_text("No projects match “abc”.")).to_be_visible()
    assert "panel-connection-lost" not in (refused.evaluate("window.lost") or "")
