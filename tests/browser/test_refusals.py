"""What a page says when the panel refuses what was pressed on it, or answers with an error: never nothing."""

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
    """A panel whose browser complains of what was refused or lost, since that is what these tests are about."""
    yield panel
    others = [
        error for error in errors if not error.startswith(("Failed to load resource", "Response Status", "htmx:"))
    ]
    assert errors
    assert others == []
    errors.clear()


def log_in_anew(panel: Page) -> None:
    """Give the browser another CSRF token than the page has, as a log-in in another tab does."""
    token = get_random_string(CSRF_SECRET_LENGTH, CSRF_ALLOWED_CHARS)
    panel.context.add_cookies([{"name": settings.CSRF_COOKIE_NAME, "value": token, "domain": "localhost", "path": "/"}])


@pytest.mark.parametrize("where", ["own page", "admin", "list"])
def test_a_button_of_a_page_from_before_the_last_log_in_says_so(refused: Page, where: str) -> None:
    project = ProjectFactory.create(name="aaa")
    base = refused.url.split("/projects/")[0]
    pages = {
        "own page": project.get_absolute_url(),
        "admin": f"/admin/projects/project/{project.pk}/change/",
        "list": "/projects/",
    }
    refused.goto(base + pages[where])
    log_in_anew(refused)
    refused.get_by_role("button", name="Provision aaa").click()
    expect(refused.locator("#notices")).to_contain_text("Nothing was done. The form was opened before you last logged")
    refused.wait_for_timeout(9000)
    refused.get_by_role("button", name="Reload the page").click()
    expect(refused.locator("#notices")).to_be_empty()
    refused.get_by_role("button", name="Provision aaa").click()
    expect(refused.locator("#notices")).to_contain_text("aaa: provisioning started.")


def test_reveal_from_before_the_last_log_in_says_so(refused: Page) -> None:
    refused.set_viewport_size({"width": 1280, "height": 500})
    open_project(refused, provisioned_project(name="aaa"))
    log_in_anew(refused)
    refused.get_by_label("Why do you need them?").fill("debugging")
    refused.get_by_role("button", name="Reveal").click()
    expect(refused.locator("#notices")).to_contain_text("Reload the page that it is on, then try again.")
    expect(refused.locator("#notices")).to_be_in_viewport()
    expect(refused.get_by_label("Why do you need them?")).to_have_value("debugging")


def test_a_button_whose_permission_was_taken_away_says_which(refused: Page) -> None:
    root = User.objects.get(username="root")
    project = ProjectFactory.create(name="aaa")
    open_project(refused, project)
    User.objects.filter(pk=root.pk).update(is_superuser=False)
    root.user_permissions.add(Permission.objects.get(codename="view_project"))
    refused.get_by_role("button", name="Provision aaa").click()
    notice = refused.locator("#notices")
    expect(notice).to_contain_text("Nothing was done. This page or button needs the permission")
    expect(notice).to_contain_text("Reload the page to see how things are now.")


def test_a_page_that_may_no_longer_be_seen_says_that_it_does_not_follow(refused: Page) -> None:
    project = ProjectFactory.create(name="aaa", waiting=True)
    open_project(refused, project)
    User.objects.filter(username="root").update(is_superuser=False)
    expect(refused.locator("#notices")).to_contain_text("This page is not kept up to date any more.")


def test_a_button_that_met_an_error_or_no_answer_says_that_nobody_knows(refused: Page) -> None:
    open_project(refused, ProjectFactory.create(name="aaa"))
    notice = refused.locator("#notices")
    refused.route("**/provision/", lambda route: route.fulfill(status=500, body="no"))
    refused.get_by_role("button", name="Provision aaa").click()
    expect(notice).to_contain_text("The panel had an error of its own")
    refused.unroute("**/provision/")
    refused.route("**/provision/", lambda route: route.abort())
    refused.get_by_role("button", name="Provision aaa").click()
    expect(notice).to_contain_text("The panel did not answer")
    expect(refused.locator("html.panel-connection-lost")).to_have_count(1)
    assert Project.objects.get().desired_state == "registered"


def test_a_search_typed_over_another_is_not_a_lost_connection(refused: Page) -> None:
    refused.evaluate(
        "new MutationObserver(() => { window.lost = window.lost || document.documentElement.className }).observe("
        "document.documentElement, {attributes: true, attributeFilter: ['class']})"
    )

    def answer_late(route: Route) -> None:
        refused.wait_for_timeout(700)
        route.continue_()

    refused.route("**/projects/?*", answer_late)
    refused.get_by_label("Search by project or owner").press_sequentially("abc", delay=450)
    expect(refused.get_by_text("Nothing was found for “abc”")).to_be_visible()
    assert "panel-connection-lost" not in (refused.evaluate("window.lost") or "")
