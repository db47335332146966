"""`manage.py watch`: follow the cluster and wake the passes of the projects whose objects change."""

import signal
import threading
from types import FrameType
from typing import Any

from provisioning.management.console import PanelCommand
from provisioning.watch.watcher import Watcher


class Command(PanelCommand):
    help = (
        "Watch the cluster until SIGINT or SIGTERM. A second watcher stands by and takes over when the first is gone."
    )

    def handle(self, **options: Any) -> None:
        stopping = threading.Event()

        def ask_to_stop(number: int, frame: FrameType | None) -> None:
            stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask_to_stop)
        Watcher(stopping).run()
