"""Fixtures that the tests of the admin share."""

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.fixture
def admin(db) -> Client:
    """A client of a superuser's."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client
