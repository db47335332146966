"""The Content-Security-Policy: the HTMX pages allow no inline code. tests/browser checks that they work with it."""

import re
from pathlib import Path

import pytest
from django.contrib import admin
from django.urls import reverse

from projects.models import Project
from tests.factories import provisioned_project
from tests.support.pages import page

OWN = ["projects:list", "projects:add", "projects:detail", "projects:credentials", "projects:delete"]
ADOPTION = ["admin:projects_foundcluster_changelist"]


def directives(response) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))


@pytest.mark.parametrize("name", [*OWN, *ADOPTION])
def test_htmx_pages_forbid_and_contain_no_inline_code(admin, name):
    provisioned_project()
    args = [Project.objects.get().pk] if name in OWN[2:] else []
    response = admin.get(reverse(name, args=args))
    policy = directives(response)
    assert policy["style-src"] == "'self'"
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
    body = response.content.decode()
    assert "<style" not in body
    assert not re.search(r"\sstyle=", body)
    assert not re.search(r"<script(?![^>]*\ssrc=)", body)
    assert not re.search(r"\son[a-z]+=", body)


def test_admin_pages_allow_inline_styles_but_no_inline_scripts(admin):
    policy = directives(admin.get(reverse("admin:projects_project_changelist")))
    assert policy["style-src"] == "'self' 'unsafe-inline'"
    assert policy["script-src"] == "'self' 'unsafe-eval'"


def test_fragment_has_the_policy_of_its_page(admin):
    assert directives(admin.get(page("list"), headers={"HX-Request": "true"}))["style-src"] == "'self'"


def test_colors_css_matches_the_theme(rf):
    css = (Path(__file__).parents[4] / "projects/static/projects/colors.css").read_text()
    colors = admin.site._get_colors("COLORS", rf.get("/"))  # type: ignore[attr-defined]
    expected = {f"--color-{name}-{weight}: {value};" for name, of in colors.items() for weight, value in of.items()}
    assert set(re.findall(r"--color[^;]+;", css)) == expected
