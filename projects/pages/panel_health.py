"""Warnings about the panel's own processes, for the banner on every page."""

import hashlib
from collections.abc import Iterable
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string


class ComponentHealth(Protocol):
    """Whether a process is alive, and whether something outside keeps it from working. The message says what that
    means and what to do."""

    @property
    def alive(self) -> bool: ...

    @property
    def is_degraded(self) -> bool: ...

    @property
    def message(self) -> str: ...


class PanelHealth(Protocol):
    """The health of the panel's processes other than the web server."""

    @property
    def watcher(self) -> ComponentHealth: ...

    @property
    def queue(self) -> ComponentHealth: ...


def panel_warnings() -> list[str]:
    """Return the message of each process that is down or can't work.

    The setting PANEL_HEALTH names the function that returns a PanelHealth; empty means no warnings.
    """
    path: str = getattr(settings, "PANEL_HEALTH", "")
    if not path:
        return []
    health: PanelHealth = import_string(path)()
    return [part.message for part in (health.queue, health.watcher) if not part.alive or part.is_degraded]


def warnings_version(warnings: Iterable[str]) -> str:
    """Return a digest of the banner: equal digests, equal banners."""
    return hashlib.sha256("\n".join(warnings).encode()).hexdigest()[:16]
