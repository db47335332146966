"""`manage.py up`: the whole panel under one supervisor, with the embedded cluster unless a real one is configured."""

import contextlib
import os
import sys
import time
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from projects.services.provisioning import add_project, request_provision
from provisioning.management.console import DONE, FAILED, PanelCommand, command_error, explain_invalid
from provisioning.management.prerequisites import check_address, check_embedded_cluster, check_kubeconfig, check_port
from provisioning.management.progress import ProgressTracker
from provisioning.management.shared_user import explain_shared_user, is_shared
from provisioning.management.startup import (
    SAMPLE,
    HealthProbe,
    embedded_cluster,
    ensure_administrator,
    file_version,
    forget_dead_processes,
    is_first_start,
    prepare_database,
    queue,
    watcher,
    web_server,
)
from provisioning.management.stop_signals import listen_for_stop
from provisioning.management.supervisor import Supervisor, SupervisorError, lock
from provisioning.management.wait import positive_seconds
from provisioning.management.watchdog import restart_hanging_queue

_START_TIMEOUT_S = 60.0
_HEALTH_TIMEOUT_S = 20.0
_TICK_S = 0.1
_HEALTH_EVERY_S = 0.25
_WATCHDOG_EVERY_S = 1.0
_MAX_TRIES = 3
_SAMPLE_TIMEOUT_S = 60


class Command(PanelCommand):
    help = (
        "Start the panel: web server, queue, watcher and, unless a real cluster is configured, the embedded cluster. "
        "Ctrl-C stops all of them. Data is kept in STATE_DIR."
    )
    examples = ("up", "up --port 9000", "up --host 0.0.0.0 --no-sample")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port to listen on (default: PORT, 8000)")
        parser.add_argument(
            "--sample",
            action=BooleanOptionalAction,
            default=settings.EMBEDDED_CLUSTER,
            help=f"on the first start, add a project '{SAMPLE}' and provision it (default: on the embedded cluster "
            "only)",
        )
        for moment, meaning in (("running", "is Running"), ("secret", "has its credentials")):
            parser.add_argument(
                f"--{moment}-after-s",
                type=positive_seconds,
                metavar="N",
                help=f"embedded cluster: a database {meaning} N seconds after it was applied",
            )

    def handle(self, *, host: str, port: int, sample: bool, **options: Any) -> None:
        self.host, self.port = host, port
        self.delays = [
            f"--{moment}-after-s={options[f'{moment}_after_s']:g}"
            for moment in ("running", "secret")
            if options[f"{moment}_after_s"] is not None
        ]
        self.signals = 0
        # Logs, records and what else this process and its children create are for their owner only.
        os.umask(0o077)
        check_port(port)
        check_kubeconfig()
        if settings.EMBEDDED_CLUSTER:
            check_embedded_cluster()
        try:
            with lock(settings.STATE_DIR / "run" / "up.lock", f"process {os.getpid()}, port {port}"):
                # After the lock: if this panel itself has the port, the lock's message says so.
                check_address(host, port)
                self._run(sample)
        except SupervisorError as error:
            raise command_error(FAILED, str(error)) from None
        sys.exit(DONE)

    def _run(self, sample: bool) -> None:
        supervisor = Supervisor(settings.STATE_DIR, self._environment(), settings.BASE_DIR, self._print)
        supervisor.prepare()
        listen_for_stop(self._count_signal, hangup=True)
        try:
            self._start(supervisor, sample)
            self._tend(supervisor)
        finally:
            if self.signals:
                self._print("Stopping …")
            supervisor.stop(("web", "watcher"), ("queue",), ("devcluster",), is_urgent=lambda: self.signals > 1)
            # The processes that have just ended must not count as alive until their last heartbeat is old.
            with contextlib.suppress(DatabaseError):
                forget_dead_processes()
            if self.signals:
                self._print(f"Stopped. The data stays in {settings.STATE_DIR}")

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1

    def _print(self, line: str) -> None:
        # The terminal or the reader may be gone (`make run | head`): the panel keeps running.
        with contextlib.suppress(OSError, ValueError):
            self.stdout.write(line)
            self.stdout.flush()

    def _environment(self) -> dict[str, str]:
        """Return the environment of the processes: this one's, without what only this process needs."""
        environment = {name: value for name, value in os.environ.items() if name not in ("ADMIN_PASSWORD",)}
        return {
            **environment,
            "STATE_DIR": str(settings.STATE_DIR),
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            # Their logs are files, whatever the terminal's encoding is.
            "PYTHONIOENCODING": "utf-8",
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "controlpanel.settings"),
        }

    # --- Starting ----------------------------------------------------------------------------------------------------

    def _start(self, supervisor: Supervisor, sample: bool) -> None:
        """Start every process once what it needs is there, then wait until /healthz reports that all of them run."""
        before = file_version(settings.EMBEDDED_KUBECONFIG)
        if settings.EMBEDDED_CLUSTER:
            self._print("Starting the embedded cluster …")
            if is_shared():
                self._print(explain_shared_user())
            supervisor.start(embedded_cluster(self.delays))
        prepare_database()
        is_first = is_first_start()
        self._print_all(ensure_administrator())
        supervisor.start(web_server(self.host, self.port))
        if settings.EMBEDDED_CLUSTER:
            kubeconfig = settings.EMBEDDED_KUBECONFIG
            self._await(supervisor, "devcluster", lambda: file_version(kubeconfig) not in (None, before))
        supervisor.start(queue())
        supervisor.start(watcher())
        health = HealthProbe(self.host, self.port)
        if not self._await(supervisor, "web", health.is_good, _HEALTH_TIMEOUT_S):
            if not self.signals:
                self._print(f"Not ready after {_HEALTH_TIMEOUT_S:g} s: {health.explain()} Still trying.")
            while not self.signals and not health.is_good():
                self._pause(supervisor, _HEALTH_EVERY_S)
        if self.signals:
            return
        self._print(f"The panel is ready: {health.url}")
        if is_first and sample:
            self._provision_sample(supervisor)
        if not self.signals:
            self._print("Press Ctrl-C to stop the panel.")

    def _print_all(self, lines: list[str]) -> None:
        for line in lines:
            self._print(line)

    def _await(
        self, supervisor: Supervisor, name: str, is_ready: Callable[[], bool], timeout_s: float = _START_TIMEOUT_S
    ) -> bool:
        """Tend the processes until `is_ready`, a signal or the time-out; return whether it is ready.

        Raises SupervisorError if the process `name` has ended several times in a row.
        """
        until_s = time.monotonic() + timeout_s
        while not self.signals and time.monotonic() < until_s:
            if is_ready():
                return True
            self._pause(supervisor, _HEALTH_EVERY_S)
            if supervisor.failures_of(name) >= _MAX_TRIES:
                raise SupervisorError(
                    f"The panel can't start: its process '{name}' ended {_MAX_TRIES} times. The last line of "
                    f"its log, {supervisor.log_of(name)}: {supervisor.last_log_line(name) or '(empty)'}"
                )
        if not self.signals and name == "devcluster":
            raise SupervisorError(
                f"The embedded cluster did not start within {timeout_s:g} s. The last line of its log, "
                f"{supervisor.log_of(name)}: {supervisor.last_log_line(name) or '(empty)'}"
            )
        return False

    def _pause(self, supervisor: Supervisor, pause_s: float = _TICK_S) -> None:
        time.sleep(pause_s)
        if not self.signals and supervisor.tend():
            with contextlib.suppress(DatabaseError):
                forget_dead_processes()

    def _provision_sample(self, supervisor: Supervisor) -> None:
        """Add the sample project, request its database and sandbox, and print each step when it is reached."""
        try:
            with transaction.atomic():
                project = add_project(SAMPLE, actor="first start", description="A sample. Look around, then delete it.")
                tracker = ProgressTracker([project])
                request_provision(project, actor="first start")
        except ValidationError as error:
            self._print(f"The sample project was not added: {explain_invalid(error)}")
            return
        self._print(f"Provisioning the sample project '{SAMPLE}' …")
        until_s = time.monotonic() + settings.READY_TIMEOUT_S + _SAMPLE_TIMEOUT_S
        while not self.signals and time.monotonic() < until_s:
            for line in tracker.refresh():
                self._print(f"  {line}")
            if tracker.is_finished:
                break
            self._pause(supervisor)
        for project in tracker.projects:
            self._print(f"'{project.name}' is {project.phase}: {project.message}")

    # --- Running -----------------------------------------------------------------------------------------------------

    def _tend(self, supervisor: Supervisor) -> None:
        """Keep the processes running until a signal comes."""
        checked_at_s = time.monotonic()
        while not self.signals:
            self._pause(supervisor)
            if time.monotonic() - checked_at_s >= _WATCHDOG_EVERY_S:
                checked_at_s = time.monotonic()
                restart_hanging_queue(supervisor)
