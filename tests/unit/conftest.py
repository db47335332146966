"""Fixtures of the tests without a cluster."""

import pytest

from projects.models import Project
from projects.services.provisioning import add_project


@pytest.fixture
def project(db: None) -> Project:
    """A project that was just added."""
    return add_project("aaa", actor="tester")
