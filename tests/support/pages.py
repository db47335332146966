"""Helpers of the tests of pages."""

from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory

HTMX = {"HX-Request": "true"}


def log_in(*permissions: str, is_staff: bool = True) -> Client:
    """Return a logged-in client of the user maria, with these permissions of the app `projects`."""
    client = Client()
    client.force_login(UserFactory.create(permissions=list(permissions), is_staff=is_staff, username="maria"))
    return client


def page(name: str, *args: int) -> str:
    """Return the address of one of the panel's pages."""
    return reverse(f"projects:{name}", args=args)
