"""Reports of the panel's health, as PANEL_HEALTH names them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    alive: bool
    message: str = ""
    is_hindered: bool = False


@dataclass(frozen=True)
class Health:
    watcher: Part
    queue: Part


def read_without_watcher() -> Health:
    return Health(watcher=Part(False, "The watcher is not running."), queue=Part(True))


def read_all_well() -> Health:
    return Health(watcher=Part(True), queue=Part(True))
