"""Forms shown again with errors: the errors are in view, and no input is lost without a message."""

from playwright.sync_api import Page, expect

from projects.models import Project
from tests.factories import VariableFactory, provisioned_project


def open_form(panel: Page, project: Project) -> None:
    panel.goto(panel.url.replace("/projects/", f"/admin/projects/project/{project.pk}/change/"))


def save(panel: Page) -> None:
    panel.get_by_role("button", name="Save", exact=True).click()


def test_lost_value_of_a_new_variable_is_not_stored_empty(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    open_form(panel, project)
    panel.get_by_role("link", name="Add another variable").click()
    panel.locator("[name=variables-0-name]").fill("1-bad")
    panel.locator("[name=variables-0-value]").fill("canary-typed")
    save(panel)
    expect(panel.get_by_text("Enter letters, digits and underscores")).to_be_in_viewport()
    expect(panel.locator("[name=variables-0-name]")).to_be_focused()
    expect(panel.get_by_text("Enter the value again. Values aren't kept")).to_be_visible()
    assert "canary-typed" not in panel.content()

    panel.locator("[name=variables-0-name]").fill("GOOD")
    for _ in range(2):
        save(panel)
        expect(panel.get_by_text("For an empty value, remove this variable and add it again.")).to_be_in_viewport()
        assert not project.variables.exists()

    panel.locator("[name=variables-0-value]").fill("canary-typed")
    save(panel)
    expect(panel.get_by_text("changed successfully")).to_be_visible()
    assert project.variables.get().value.reveal() == "canary-typed"


def test_lost_new_value_does_not_silently_keep_the_old_one(panel: Page) -> None:
    variable = VariableFactory.create(project=provisioned_project(name="aaa"), name="GOOD")
    open_form(panel, variable.project)
    panel.locator("[name=variables-0-name]").fill("1-bad")
    panel.locator("[name=variables-0-value]").fill("new")
    save(panel)
    panel.locator("[name=variables-0-name]").fill("GOOD")
    save(panel)
    expect(panel.get_by_text("To keep the stored value, reload the page.")).to_be_in_viewport()


def test_empty_value_of_a_new_variable_is_stored(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    open_form(panel, project)
    panel.get_by_role("link", name="Add another variable").click()
    panel.locator("[name=variables-0-name]").fill("1-bad")
    save(panel)
    expect(panel.get_by_text("Enter the value again")).to_have_count(0)
    panel.locator("[name=variables-0-name]").fill("EMPTY")
    save(panel)
    expect(panel.get_by_text("changed successfully")).to_be_visible()
    assert project.variables.get().value.reveal() == ""


def test_form_with_errors_comes_before_the_status(panel: Page) -> None:
    project = provisioned_project(name="aaa")
    open_form(panel, project)
    panel.locator("[name=description]").evaluate("(area) => { area.removeAttribute('maxlength') }")
    panel.locator("[name=description]").fill("x" * 2001)
    save(panel)
    expect(panel.get_by_text("Not saved.")).to_be_in_viewport()
    expect(panel.locator("[name=description]")).to_be_in_viewport()
    expect(panel.locator("#project-status")).to_have_count(1)
    expect(panel.locator("#credentials")).to_have_count(1)


def test_form_that_another_user_overtook_is_saved_by_choice(panel: Page) -> None:
    project = provisioned_project(name="aaa", description="old")
    open_form(panel, project)
    Project.objects.update(description="theirs")
    panel.locator("[name=description]").fill("mine")
    save(panel)
    shown = panel.locator("[data-differences] tbody tr")
    expect(shown.get_by_role("cell")).to_have_text(["theirs", "mine"])
    expect(panel.locator("[data-differences]")).to_be_in_viewport()
    save(panel)
    expect(shown).to_have_count(1)
    panel.get_by_label("Replace the stored values with mine").check()
    save(panel)
    expect(panel.get_by_text("changed successfully")).to_be_visible()
    assert Project.objects.get().description == "mine"


def test_pasted_lines_reach_the_variable(panel: Page) -> None:
    project, lines = provisioned_project(name="aaa"), "-----BEGIN KEY-----\n  abc\n-----END KEY-----\n"
    open_form(panel, project)
    panel.get_by_role("link", name="Add another variable").click()
    panel.locator("[name=variables-0-name]").fill("KEY")
    value = panel.locator("[name=variables-0-value]")
    value.focus()
    panel.keyboard.insert_text(lines)
    assert value.evaluate("field => getComputedStyle(field).webkitTextSecurity") == "disc"
    save(panel)
    expect(panel.get_by_text("changed successfully")).to_be_visible()
    assert project.variables.get().value.reveal() == lines
