"""A headless Chromium on Django's test server. Tests set rows as passes leave them."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Playwright's event loop runs in this thread, so Django would refuse every query here as one from async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests. Chromium's sandbox doesn't work as root, and the pages are the panel's own."""
    if CHROMIUM is None:
        pytest.skip("There is no Chromium on the PATH: apt install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in its own context."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def errors() -> list[str]:
    """Errors of the page's console and scripts. Each test has to end without any."""
    return []


@pytest.fixture
def panel(page: Page, live_server: Any, transactional_db: None, errors: list[str]) -> Iterator[Page]:
    """A page on which a superuser is logged in, at the list of projects."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(live_server.url + "/projects/")
    yield page
    page.goto("about:blank")
    assert errors == []
