"""`manage.py up`: the whole panel, its embedded cluster included, under one supervisor."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import sys
import time
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from projects.models import Project
from projects.services.provisioning import add_project, request_provision
from provisioning.management.console import (
    DONE,
    FAILED,
    Follower,
    PanelCommand,
    explain_database_error,
    sentences,
    stop,
)
from provisioning.management.prerequisites import check_address, check_embedded_cluster, check_kubeconfig, check_port
from provisioning.management.supervisor import Part, Supervisor, SupervisorError, lock, start_of
from provisioning.management.wait import positive_seconds
from provisioning.models import ProcessLease

SAMPLE = "demo"
_START_TIMEOUT_S = 60.0
_HEALTH_PATIENCE_S = 20.0
_TICK_S = 0.1
_HEALTH_EVERY_S = 0.25
_WATCHDOG_EVERY_S = 1.0
# The watcher asks the queue for a sign every 5 s, a schedule every minute: a queue that gives none for so long hangs
# (django-q2's issue 23: it does when an idle worker is killed). It is mended within 30 s, start included.
_QUEUE_PATIENCE_S, _QUEUE_PATIENCE_UNWATCHED_S = 15.0, 100.0
_TRIES_AT_START = 3
# One or two may have been lost with a worker that was killed.
_MOST_UNACKNOWLEDGED = 3


class Command(PanelCommand):
    help = (
        "Start the panel: web server, queue, watcher and, unless a real cluster is configured, the embedded cluster. "
        "Ctrl-C ends them all. State is kept in STATE_DIR."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port to listen on (default: PORT, 8000)")
        parser.add_argument(
            "--sample",
            action=BooleanOptionalAction,
            default=settings.EMBEDDED_CLUSTER,
            help=f"on the very first start, add a project '{SAMPLE}' and provision it (default: on the embedded "
            "cluster only)",
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
        self.clock = [
            f"--{moment}-after-s={options[f'{moment}_after_s']:g}"
            for moment in ("running", "secret")
            if options[f"{moment}_after_s"] is not None
        ]
        self.signals = 0
        check_port(port)
        check_kubeconfig()
        if settings.EMBEDDED_CLUSTER:
            check_embedded_cluster()
        try:
            with lock(settings.STATE_DIR / "run" / "up.lock", f"process {os.getpid()}, port {port}"):
                # Only now: whoever has the port may be this very panel, and the lock says so.
                check_address(host, port)
                self._run(sample)
        except SupervisorError as error:
            raise stop(FAILED, str(error)) from None
        sys.exit(DONE)

    def _run(self, sample: bool) -> None:
        supervisor = Supervisor(settings.STATE_DIR, self._environment(), settings.BASE_DIR, self._print)
        supervisor.prepare()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._count_signal)
        try:
            self._start(supervisor, sample)
            self._tend(supervisor)
        finally:
            if self.signals:
                self._print("Stopping …")
            supervisor.stop(("web", "watcher"), ("queue",), ("devcluster",), is_urgent=lambda: self.signals > 1)
            # What ended here must not count as alive until its last sign of life is old.
            with contextlib.suppress(DatabaseError):
                forget_the_dead()
            if self.signals:
                self._print("Stopped. The state stays in " + str(settings.STATE_DIR))

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _environment(self) -> dict[str, str]:
        """Return what the parts get: ours, without what only this process needs."""
        environment = {name: value for name, value in os.environ.items() if name not in ("ADMIN_PASSWORD",)}
        return {
            **environment,
            "STATE_DIR": str(settings.STATE_DIR),
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "controlpanel.settings"),
        }

    # --- starting ----------------------------------------------------------------------------------------------

    def _start(self, supervisor: Supervisor, sample: bool) -> None:
        """Start every part, each when what it needs is there, then wait until /healthz says that all are up."""
        before = _identity(settings.EMBEDDED_KUBECONFIG)
        if settings.EMBEDDED_CLUSTER:
            self._print("Starting the embedded cluster …")
            supervisor.start(embedded_cluster(self.clock))
        self._prepare_database()
        is_first = self._is_first_start()
        self._make_administrator()
        supervisor.start(web_server(self.host, self.port))
        if settings.EMBEDDED_CLUSTER:
            self._await(supervisor, "devcluster", lambda: _identity(settings.EMBEDDED_KUBECONFIG) not in (None, before))
        supervisor.start(queue())
        supervisor.start(watcher())
        health = Health(self.host, self.port)
        if not self._await(supervisor, "web", health.is_good, _HEALTH_PATIENCE_S):
            if not self.signals:
                self._print(f"Not everything is up after {_HEALTH_PATIENCE_S:g} s: {health.explain()} Still trying.")
            while not self.signals and not health.is_good():
                self._pause(supervisor, _HEALTH_EVERY_S)
        if self.signals:
            return
        self._print(f"The panel is ready: {health.url}")
        if is_first and sample:
            self._provision_sample(supervisor)
        if not self.signals:
            self._print("Ctrl-C ends the panel.")

    def _await(
        self, supervisor: Supervisor, name: str, is_ready: Callable[[], bool], timeout_s: float = _START_TIMEOUT_S
    ) -> bool:
        """Tend the parts until `is_ready`, a signal or the time-out; return whether it is.

        Raises SupervisorError when the part `name` can't start: it died several times in a row.
        """
        until_s = time.monotonic() + timeout_s
        while not self.signals and time.monotonic() < until_s:
            if is_ready():
                return True
            self._pause(supervisor, _HEALTH_EVERY_S)
            if supervisor.failures_of(name) >= _TRIES_AT_START:
                raise SupervisorError(
                    f"The panel can't start: its part '{name}' ended {_TRIES_AT_START} times. The last line of its "
                    f"log, {supervisor.log_of(name)}: {supervisor.last_words_of(name) or '(empty)'}"
                )
        if not self.signals and name == "devcluster":
            raise SupervisorError(
                f"The embedded cluster was not up within {timeout_s:g} s. The last line of its log, "
                f"{supervisor.log_of(name)}: {supervisor.last_words_of(name) or '(empty)'}"
            )
        return False

    def _pause(self, supervisor: Supervisor, pause_s: float = _TICK_S) -> None:
        time.sleep(pause_s)
        if not self.signals and supervisor.tend():
            with contextlib.suppress(DatabaseError):
                forget_the_dead()

    def _prepare_database(self) -> None:
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except DatabaseError as error:
            raise SupervisorError(explain_database_error(error)) from None
        from provisioning.tasks import ensure_schedules

        ensure_schedules()
        forget_the_dead()

    def _is_first_start(self) -> bool:
        """Whether nobody has used this database and this state directory yet; asked once, the answer is kept."""
        marker = settings.STATE_DIR / "run" / "started"
        if marker.exists():
            return False
        marker.touch()
        return not Project.objects.exists()

    def _make_administrator(self) -> None:
        """Make the administrator of the first start; a generated password is printed here and nowhere else."""
        users = get_user_model()._default_manager
        username, given = settings.ADMIN_USERNAME, os.environ.get("ADMIN_PASSWORD", "").strip()
        there = list(users.filter(is_superuser=True, is_active=True).order_by("pk").values_list("username", flat=True))
        if there or users.filter(is_superuser=True).exists():
            name = username if username in there else next(iter(there), "")
            if name:
                self._print(f"Administrator: {name}. If the password is lost: `manage.py changepassword {name}`.")
            return
        if users.filter(username=username).exists():
            self._print(
                f"There is a user '{username}' who is no superuser, and no superuser at all: "
                "make one with `manage.py createsuperuser`."
            )
            return
        password = given or secrets.token_urlsafe(12)
        user = get_user_model()(username=username, is_staff=True, is_superuser=True)
        user.set_password(password)
        try:
            user.full_clean()
        except ValidationError as error:
            raise SupervisorError(f"ADMIN_USERNAME can't be used: {sentences(error)}") from None
        user.save()
        if given:
            self._print(f"Administrator: {username}, with the password in ADMIN_PASSWORD.")
        else:
            self._print(f"Administrator: {username}, password: {password} (shown only this once)")

    # --- running -----------------------------------------------------------------------------------------------

    def _tend(self, supervisor: Supervisor) -> None:
        """Keep the parts running until a signal comes."""
        checked_at_s = time.monotonic()
        while not self.signals:
            self._pause(supervisor)
            if time.monotonic() - checked_at_s >= _WATCHDOG_EVERY_S:
                checked_at_s = time.monotonic()
                self._wake_hanging_queue(supervisor)

    def _wake_hanging_queue(self, supervisor: Supervisor) -> None:
        from provisioning import heartbeats
        from provisioning.queue.sweep import count_unacknowledged
        from provisioning.tasks import beat, path_of

        now, uptime_s = timezone.now(), supervisor.uptime_s("queue")
        try:
            alive = heartbeats.read()
            unacknowledged = count_unacknowledged(path_of(beat), now, now - timedelta(seconds=uptime_s))
            # Passes that wait for a slow API server are no hanging queue, if all workers have one; their leases say
            # that they are under way. One lease alone may be that of a worker that was killed.
            under_way = Project.objects.filter(lease_until__gt=now).count()
            is_busy = under_way >= settings.Q_CLUSTER["workers"]
        except DatabaseError:
            # A database that is away for a moment is no reason to restart the queue.
            connection.close()
            return
        patience_s = _QUEUE_PATIENCE_S if alive.watcher.alive else _QUEUE_PATIENCE_UNWATCHED_S
        is_silent = (alive.queue.age_s or 0.0) > patience_s and not is_busy
        if (is_silent or not alive.queue.alive) and uptime_s > patience_s:
            supervisor.restart("queue", f"The queue's workers have been silent for more than {patience_s:g} s.")
        elif unacknowledged >= _MOST_UNACKNOWLEDGED and not is_busy:  # the queue hands out more than workers begin
            supervisor.restart("queue", "The queue does not take off what its workers have done.")

    def _provision_sample(self, supervisor: Supervisor) -> None:
        """Add the sample project, ask for its database and sandbox, and print the steps as they are reached."""
        try:
            with transaction.atomic():
                project = add_project(SAMPLE, actor="first start", description="A sample: look around, then delete it.")
                follower = Follower([project])
                request_provision(project, actor="first start")
        except ValidationError as error:
            self._print(f"The sample project was left out: {sentences(error)}")
            return
        self._print(f"Provisioning the sample project '{SAMPLE}' …")
        until_s = time.monotonic() + settings.READY_TIMEOUT_S + 60
        while not self.signals and time.monotonic() < until_s:
            for line in follower.look():
                self._print(f"  {line}")
            if follower.is_over:
                break
            self._pause(supervisor)
        for project in follower.projects:
            self._print(f"'{project.name}' is {project.phase}: {project.message}")


class Health:
    """What /healthz says, asked over HTTP as anybody would."""

    def __init__(self, host: str, port: int) -> None:
        self._address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - not bound  # nosec B104
        name = self._address[0]
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
        self._said: dict[str, Any] = {}

    def is_good(self) -> bool:
        client = http.client.HTTPConnection(*self._address, timeout=5)
        try:
            client.request("GET", "/healthz", headers={"Host": _host_header(self._address[1])})
            answer = client.getresponse()
            body = answer.read()
            if answer.status == http.HTTPStatus.OK:
                return True
            self._said = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError):
            self._said = {}
        finally:
            client.close()
        return False

    def explain(self) -> str:
        parts = self._said.get("parts", {})
        missing = [str(part.get("message")) for part in parts.values() if not part.get("ok")]
        return " ".join(missing) or "the web server does not answer; its log says why."


def _host_header(port: int) -> str:
    """Return a host that ALLOWED_HOSTS allows."""
    allowed = [host for host in settings.ALLOWED_HOSTS if host != "*"]
    host = "localhost" if not allowed or "localhost" in allowed else allowed[0].lstrip(".")
    return f"{host}:{port}"


def forget_the_dead() -> None:
    """Remove the leases and heartbeats of processes of this machine that are gone, so that nothing that only was
    counts as up, and a new watcher need not wait for the lease of a killed one to run out."""
    for lease in ProcessLease.objects.filter(holder__startswith=f"{socket.gethostname()}:"):
        if not _is_alive(lease.holder.rpartition(":")[2]):
            ProcessLease.objects.filter(pk=lease.pk, holder=lease.holder).delete()


def _is_alive(pid: str) -> bool:
    """Whether a process of that pid runs; one that ended and only waits for its parent does not."""
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ProcessLookupError, ValueError):
        return False
    return start_of(int(pid)) is not None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what changes whenever a file is written anew; None if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _manage(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments)


def embedded_cluster(options: Iterable[str] = ()) -> Part:
    return Part("devcluster", "The embedded cluster", _manage("devcluster", *options), stop_timeout_s=6.0)


def queue() -> Part:
    return Part("queue", "The queue", _manage("qcluster"), stop_timeout_s=4.0)


def watcher() -> Part:
    return Part("watcher", "The watcher", _manage("watch"), stop_timeout_s=3.0)


def web_server(host: str, port: int) -> Part:
    """One process with threads: pages wait for the database and for nothing else."""
    options = ("--host", host, "--port", str(port), "--graceful-s", "2")
    return Part(
        "web",
        "The web server",
        (sys.executable, "-m", "controlpanel.serve", *options),
        stop_timeout_s=3.0,
    )
