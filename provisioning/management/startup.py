"""The parts of `manage.py up`: its processes, the database and the administrator of a first start, the health probe."""

import http.client
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DatabaseError

from projects.models import Project
from provisioning.management.console import explain_database_error, explain_invalid
from provisioning.management.supervisor import ManagedProcess, SupervisorError, process_start_time
from provisioning.models import ProcessLease
from provisioning.schema import explain_unknown, list_unknown_migrations

# The name of the project that a first start adds.
SAMPLE = "demo"


# --- Processes -------------------------------------------------------------------------------------------------------


def embedded_cluster(options: Iterable[str] = ()) -> ManagedProcess:
    return ManagedProcess("devcluster", "embedded cluster", _manage("devcluster", *options), stop_timeout_s=6.0)


def queue() -> ManagedProcess:
    return ManagedProcess("queue", "queue", _manage("qcluster"), stop_timeout_s=4.0)


def watcher() -> ManagedProcess:
    return ManagedProcess("watcher", "watcher", _manage("watch"), stop_timeout_s=3.0)


def web_server(host: str, port: int) -> ManagedProcess:
    """One process with threads: pages wait for the database and for nothing else."""
    options = ("--host", host, "--port", str(port), "--graceful-s", "2")
    command = (sys.executable, "-m", "controlpanel.serve", *options)
    return ManagedProcess("web", "web server", command, stop_timeout_s=3.0)


def _manage(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments)


def forget_dead_processes() -> None:
    """Delete the leases and heartbeats of this machine's processes that have ended: they no longer count as alive, and
    a new watcher need not wait until the lease of a killed one expires."""
    for lease in ProcessLease.objects.filter(holder__startswith=f"{socket.gethostname()}:"):
        if not _is_alive(lease.holder.rpartition(":")[2]):
            ProcessLease.objects.filter(pk=lease.pk, holder=lease.holder).delete()


def _is_alive(pid: str) -> bool:
    """Whether a process with this id runs; a zombie does not."""
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ProcessLookupError, ValueError):
        return False
    return process_start_time(int(pid)) is not None


# --- State -----------------------------------------------------------------------------------------------------------


def file_version(path: Path) -> tuple[int, int] | None:
    """Return a value that differs whenever the file is rewritten; None if there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def prepare_database() -> None:
    """Apply the migrations and create the schedules. Raises SupervisorError."""
    from provisioning.tasks import ensure_schedules

    try:
        if unknown := list_unknown_migrations():
            raise SupervisorError(explain_unknown(unknown))
        call_command("migrate", interactive=False, verbosity=0)
    except DatabaseError as error:
        raise SupervisorError(explain_database_error(error)) from None
    ensure_schedules()
    forget_dead_processes()


def is_first_start() -> bool:
    """Whether this database and this state directory are new. True once: a marker in the state directory is left."""
    marker = settings.STATE_DIR / "run" / "started"
    if marker.exists():
        return False
    marker.touch()
    return not Project.objects.exists()


def ensure_administrator() -> list[str]:
    """Create the first superuser; return lines to print. A generated password is in them, and nowhere else.

    Raises SupervisorError if ADMIN_USERNAME can't be used.
    """
    users = get_user_model()._default_manager
    username, given = settings.ADMIN_USERNAME, os.environ.get("ADMIN_PASSWORD", "").strip()
    active = list(users.filter(is_superuser=True, is_active=True).order_by("pk").values_list("username", flat=True))
    if active:
        name = username if username in active else active[0]
        return [f"Administrator: {name}. To reset a lost password, run `manage.py changepassword {name}`."]
    if users.filter(is_superuser=True).exists():
        return []
    if users.filter(username=username).exists():
        return [
            f"There is no superuser, and the user '{username}' exists without being one. Create a superuser with "
            "`manage.py createsuperuser`."
        ]
    password = given or secrets.token_urlsafe(12)
    user = get_user_model()(username=username, is_staff=True, is_superuser=True)
    user.set_password(password)
    try:
        user.full_clean()
    except ValidationError as error:
        raise SupervisorError(f"ADMIN_USERNAME can't be used: {explain_invalid(error)}") from None
    user.save()
    if given:
        return [f"Administrator: {username}, with the password in ADMIN_PASSWORD."]
    return [f"Administrator: {username}, password: {password} (shown only this once)"]


# --- Health ----------------------------------------------------------------------------------------------------------


class HealthProbe:
    """Asks /healthz over HTTP."""

    def __init__(self, host: str, port: int) -> None:
        self._address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - not bound  # nosec B104
        name = self._address[0]
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
        self._report: dict[str, Any] = {}

    def is_good(self) -> bool:
        client = http.client.HTTPConnection(*self._address, timeout=5)
        try:
            client.request("GET", "/healthz", headers={"Host": _allowed_host(self._address[1])})
            answer = client.getresponse()
            body = answer.read()
            if answer.status == http.HTTPStatus.OK:
                return True
            self._report = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError):
            self._report = {}
        finally:
            client.close()
        return False

    def explain(self) -> str:
        """Return why the last answer was not good."""
        parts = self._report.get("parts", {})
        missing = [str(part.get("message")) for part in parts.values() if not part.get("ok")]
        return " ".join(missing) or "The web server does not answer. Its log says why."


def _allowed_host(port: int) -> str:
    """Return a Host header that ALLOWED_HOSTS allows."""
    allowed = [host for host in settings.ALLOWED_HOSTS if host != "*"]
    host = "localhost" if not allowed or "localhost" in allowed else allowed[0].lstrip(".")
    return f"{host}:{port}"
