"""Login plugins of a kubeconfig (`exec`): programs that print credentials. A run that misses its deadline is killed
with its children."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from projects.confidential.redaction import one_line, remember
from provisioning.kube.kubeconfig import KubeconfigError, Plugin, check_token

# As the client library does: a token that expires during a request is useless.
_RENEW_BEFORE = timedelta(minutes=5)
_LONGEST_OUTPUT = 1024 * 1024
_LOOK_EVERY_S = 0.1
# A killed process ends as soon as it is scheduled.
_KILLED_WITHIN_S = 2.0
_SECRET_NAME = re.compile(r"secret|token|passw|passphrase|credential|api.?key|private.?key", re.IGNORECASE)
_SECRET_OPTION = re.compile(rf"--?[\w-]*(?:{_SECRET_NAME.pattern})[\w-]*=(.+)", re.IGNORECASE | re.DOTALL)


class LoginPluginError(KubeconfigError):
    """A login plugin returned no credentials. The message continues "The kubeconfig … can't be used: "."""


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """The output of a plugin: a token, a client certificate with its key (PEM), or both. `expires_at` None: unknown."""

    token: str = ""
    certificate: str = ""
    key: str = ""
    expires_at: datetime | None = None


class PluginLogin:
    """The credentials of a plugin, requested again when they expire. Thread-safe: one run at a time."""

    def __init__(self, plugin: Plugin, *, timeout_s: float) -> None:
        self._plugin, self._timeout_s = plugin, timeout_s
        self._lock = threading.Lock()
        self._credential: Credential | None = None
        self._failed_at_s, self._failure = 0.0, ""

    def current(self) -> Credential:
        """Return valid credentials. Raises LoginPluginError and OSError."""
        asked_at_s = time.monotonic()
        with self._lock:
            if self._failure and self._failed_at_s >= asked_at_s:
                # It failed while this thread was waiting; a second run would fail just as late.
                raise LoginPluginError(self._failure)
            if self._credential is None or _runs_out(self._credential):
                try:
                    self._credential = run_plugin(self._plugin, timeout_s=self._timeout_s)
                except LoginPluginError as error:
                    self._failed_at_s, self._failure = time.monotonic(), str(error)
                    raise
            return self._credential


def _runs_out(credential: Credential) -> bool:
    return credential.expires_at is not None and credential.expires_at - _RENEW_BEFORE <= datetime.now(UTC)


def run_plugin(plugin: Plugin, *, timeout_s: float) -> Credential:
    """Run the plugin once. Raises LoginPluginError; nothing that the plugin printed is quoted."""
    _remember_secrets(plugin)
    command = one_line(plugin.command, 200)
    by_hand = f"run {command} by hand to see why"
    spec = {"interactive": False} | ({} if plugin.cluster is None else {"cluster": plugin.cluster})
    request = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    try:
        process = subprocess.Popen(
            [plugin.command, *plugin.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=plugin.directory,
            env={**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": json.dumps(request)},
            start_new_session=True,
        )
    except FileNotFoundError:
        hint = f": {one_line(plugin.install_hint, 200).rstrip('.')}" if plugin.install_hint else ""
        raise LoginPluginError(f"its login plugin {command} is not installed{hint}") from None
    except OSError as error:
        raise LoginPluginError(f"its login plugin {command} can't be started: {error.strerror}") from None
    with process:
        try:
            output = _collect(process, time.monotonic() + timeout_s)
        finally:
            if process.poll() is None:
                _kill(process)
    if output is None:
        raise LoginPluginError(
            f"its login plugin {command} gave no credentials within {timeout_s:g} s and was stopped; {by_hand}"
        )
    if len(output) > _LONGEST_OUTPUT:
        raise LoginPluginError(
            f"its login plugin {command} gave no credentials but output without an end, and was stopped; {by_hand}"
        )
    if process.returncode:
        raise LoginPluginError(
            f"its login plugin {command} gave no credentials but exit code {process.returncode}; {by_hand}"
        )
    return _read(output, plugin, command)


def _collect(process: subprocess.Popen[bytes], until_s: float) -> bytes | None:
    """Return what the process prints until it ends, or until that is too much; None if it does not end in time."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for  # nosec B101
    stream = process.stdout.fileno()
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    output = bytearray()
    while len(output) <= _LONGEST_OUTPUT:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return None
        if not poll.poll(1000 * min(left_s, _LOOK_EVERY_S)):
            # A child process that it left may keep the pipe open.
            if process.poll() is not None and (process.returncode or _is_json(output)):
                break
            continue
        part = os.read(stream, 64 * 1024)
        if part:
            output += part
            continue
        try:
            process.wait(left_s)
        except subprocess.TimeoutExpired:
            return None
        break
    return bytes(output)


def _is_json(output: bytearray) -> bool:
    try:
        json.loads(output)
    except (ValueError, RecursionError):
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process with its group, and its children that have left the group."""
    descendants: list[psutil.Process] = []
    # A stopped process can't start another child before the kill.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGSTOP)
    with contextlib.suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in descendants:
        with contextlib.suppress(psutil.Error):
            descendant.kill()
    process.wait()
    psutil.wait_procs(descendants, timeout=_KILLED_WITHIN_S)


def _read(output: bytes, plugin: Plugin, command: str) -> Credential:
    wanted = LoginPluginError(
        f"its login plugin {command} gave no credentials: it printed no ExecCredential of {plugin.api_version} with a "
        f"token or a client certificate and its key; run {command} by hand to see why"
    )
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        raise wanted from None
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise wanted
    status: Mapping[str, Any] = answer["status"] if isinstance(answer.get("status"), dict) else {}
    names = ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
    values = [status.get(name) or "" for name in names]
    if answer.get("apiVersion") != plugin.api_version or not all(isinstance(value, str) for value in values):
        raise wanted
    token, certificate, key, expires = values
    if bool(certificate) != bool(key) or not (token or certificate):
        raise wanted
    remember(token)
    if token:
        try:
            check_token(token, f"of its login plugin {command}")
        except KubeconfigError as error:
            raise LoginPluginError(str(error)) from None
    return Credential(token, certificate, key, _moment(expires, wanted) if expires else None)


def _moment(written: str, wanted: LoginPluginError) -> datetime:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise wanted from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _remember_secrets(plugin: Plugin) -> None:
    """Mask values of the plugin's variables and arguments that look like secrets."""
    for name, value in plugin.environment.items():
        if _SECRET_NAME.search(name):
            remember(value, keep=True)
    for argument in plugin.arguments:
        if found := _SECRET_OPTION.fullmatch(argument):
            remember(found[1], keep=True)
