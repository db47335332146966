"""Names of projects that are added, beside projects of older versions, whose Kubernetes names dropped separators."""

import pytest
from django.core.exceptions import ValidationError

from projects.models import Project
from projects.services.provisioning import add_project
from tests.factories import ProjectFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def older():
    return ProjectFactory.create(name="Shop API", kubernetes_name="shopapi")


def test_separators_become_hyphens_in_kubernetes():
    assert add_project("Shop API", actor="ann").kubernetes_name == "shop-api"


@pytest.mark.parametrize("name", ["Shop API", "shop api", " Shop  API "])
def test_name_of_an_older_project_is_not_given_out_again(older, name):
    with pytest.raises(ValidationError, match="Choose another name"):
        add_project(name, actor="ann")
    assert Project.objects.count() == 1


def test_older_project_keeps_its_kubernetes_name(older):
    older.full_clean()
    older.save()
    older.refresh_from_db()
    assert older.kubernetes_name == "shopapi"


def test_older_project_is_found_by_its_name_first(older):
    other = ProjectFactory.create(name="shop-api")
    assert Project.objects.with_name_of("Shop API", "shop-api") == older
    assert Project.objects.with_name_of("shop-api", "shop-api") == other
    assert Project.objects.with_name_of("shop_api", "shop-api") == other
