"""Forms that come back with errors: they are seen, and nothing that was typed is lost in silence."""

from playwright.sync_api import Page, expect

from projects.models import Project
from tests.factories import VariableFactory, provisioned_project


def open_form(panel: Page, project: Project) -> None:
    panel.goto(panel.url.replace("/projects/", f"/admin/projects/project/{project.pk}/change/"))


def save(panel: Page) -> None:
    panel.get_by_role("button", name="Save", exact=True).click()


def test_a_new_variable_whose_value_was_lost_with_the_errors_is_not_stored_empty(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    open_form(panel, project)
    panel.get_by_role("link", name="Add another variable").click()
    panel.locator("[name=variables-0-name]").fill("1-bad")
    panel.locator("[name=variables-0-value]").fill("canary-typed")
    save(panel)
    expect(panel.get_by_text("A variable's name has letters")).to_be_in_viewport()
    expect(panel.locator("[name=variables-0-name]")).to_be_focused()
    expect(panel.get_by_text("Type the value again: it is not kept while the form has errors.")).to_be_visible()
    assert "canary-typed" not in panel.content()

    panel.locator("[name=variables-0-name]").fill("GOOD")
    for _ in range(2):
        save(panel)
        expect(
            panel.get_by_text("Type the value again: it was not kept while the form had errors.")
        ).to_be_in_viewport()
        assert not project.variables.exists()

    panel.locator("[name=variables-0-value]").fill("canary-typed")
    save(panel)
    expect(panel.get_by_text("changed successfully")).to_be_visible()
    assert project.variables.get().value.reveal() == "canary-typed"


def test_a_new_value_that_was_lost_with_the_errors_does_not_leave_the_old_one_in_silence(panel: Page) -> None:
    variable = VariableFactory.create(project=provisioned_project(name="aaa"), name="GOOD")
    open_form(panel, variable.project)
    panel.locator("[name=variables-0-name]").fill("1-bad")
    panel.locator("[name=variables-0-value]").fill("new")
    save(panel)
    panel.locator("[name=variables-0-name]").fill("GOOD")
    save(panel)
    expect(panel.get_by_text("To keep the stored one, open the page anew.")).to_be_in_viewport()


def test_an_empty_value_is_stored_where_nothing_was_typed(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    open_form(panel, project)
    panel.get_by_role("link", name="Add another variable").click()
    panel.locator("[name=variables-0-name]").fill("1-bad")
    save(panel)
    expect(panel.get_by_text("Type the value again")).to_have_count(0)
    panel.locator("[name=variables-0-name]").fill("EMPTY")
    save(panel)
    expect(panel.get_by_text("changed successfully")).to_be_visible()
    assert project.variables.get().value.reveal() == ""


def test_a_form_that_came_back_stands_before_what_is_known_of_the_project(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    open_form(panel, project)
    panel.locator("[name=description]").evaluate("(area) => { area.removeAttribute('maxlength') }")
    panel.locator("[name=description]").fill("x" * 2001)
    save(panel)
    expect(panel.get_by_text("Nothing was saved.")).to_be_in_viewport()
    expect(panel.locator("[name=description]")).to_be_in_viewport()
    expect(panel.locator("#project-status")).to_have_count(1)
    expect(panel.locator("#credentials")).to_have_count(1)
