"""`manage.py watch`: watch the cluster, and enqueue passes for projects whose objects change."""

import threading
from types import FrameType
from typing import Any

from provisioning.management.console import PanelCommand
from provisioning.management.stop_signals import listen_for_stop
from provisioning.watch.watcher import Watcher


class Command(PanelCommand):
    help = (
        "Watch the cluster and enqueue passes for projects whose objects change, until SIGINT or SIGTERM. A second "
        "watcher waits, and takes over if the first one ends."
    )

    def handle(self, **options: Any) -> None:
        stopping = threading.Event()

        def ask_to_stop(number: int, frame: FrameType | None) -> None:
            stopping.set()

        listen_for_stop(ask_to_stop)
        Watcher(stopping).run()
