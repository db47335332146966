"""Navigation between the two lists of projects."""

import pytest
from django.conf import settings
from django.test import RequestFactory
from django.urls import reverse

from projects.admin.dashboard import is_among_projects
from tests.support.html import links_of

pytestmark = pytest.mark.django_db


def test_sidebar_has_one_projects_item_and_the_lists_link_to_each_other(admin):
    live, listed = reverse("projects:list"), reverse("admin:projects_project_changelist")
    titles = [item["title"] for item in settings.UNFOLD["SIDEBAR"]["navigation"][0]["items"]]
    assert titles.count("Projects") == 1
    assert "Live view" not in titles
    assert ("Live view", live) in links_of(admin.get(listed).content.decode())
    assert ("Bulk actions", listed) in links_of(admin.get(live).content.decode())
    for url in (live, listed, f"{listed}add/"):
        assert is_among_projects(RequestFactory().get(url))
    assert not is_among_projects(RequestFactory().get(reverse("admin:projects_sandbox_changelist")))
