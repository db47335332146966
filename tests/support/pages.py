"""Helpers of the tests of pages."""

from typing import Any

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


def opened(client: Client, url: str) -> dict[str, str]:
    """Open an admin's form, and return the version that it carries. Empty if the user can't save it."""
    context = client.get(url).context or {}
    version = getattr(context["adminform"].form, "carried_version", "") if "adminform" in context else ""
    return {"_version": version} if version else {}


def edit(client: Client, url: str, data: dict[str, Any], **options: Any) -> Any:
    """Open an admin's form and save it with this data."""
    return client.post(url, {**opened(client, url), **data}, **options)
