"""Functions for the setting PANEL_HEALTH."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ComponentHealth:
    alive: bool
    message: str = ""
    is_degraded: bool = False


@dataclass(frozen=True)
class Health:
    watcher: ComponentHealth
    queue: ComponentHealth


def read_without_watcher() -> Health:
    return Health(watcher=ComponentHealth(False, "The watcher is not running."), queue=ComponentHealth(True))


def read_all_well() -> Health:
    return Health(watcher=ComponentHealth(True), queue=ComponentHealth(True))
