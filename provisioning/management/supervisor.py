"""Supervises the panel's processes: starts them in order, restarts those that end, and stops them together.

Each process leads its own session: Ctrl-C in the terminal reaches the supervisor alone, and a process can be ended
together with everything that it started. On Linux, processes end with their supervisor even if that is killed. Any
that outlive it are found at the next start by the records in `run/`.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from projects.confidential.key_files import private_directory

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
# After this uptime a start was successful, and the next failure counts as the first.
_STEADY_AFTER_S = 60.0
_KEPT_LOGS = 3
_RUN_VARIABLE = "CONTROLPANEL_RUN"
_PR_SET_PDEATHSIG = 1
_ON_LINUX = platform.system() == "Linux"
_libc = ctypes.CDLL(None, use_errno=True) if _ON_LINUX else None


class SupervisorError(Exception):
    """The panel can't start or continue; the text is a message for people."""


@dataclass(frozen=True, slots=True)
class ManagedProcess:
    """One process of the panel. `name` names its log and its record; messages call it by its `title`."""

    name: str
    title: str
    command: Sequence[str]
    stop_timeout_s: float = 4.0


@dataclass(slots=True)
class _Child:
    managed: ManagedProcess
    process: "subprocess.Popen[bytes] | None" = None
    started_at_s: float = 0.0
    failures: int = 0
    start_again_at_s: float | None = None


@dataclass
class Supervisor:
    """Starts, watches and stops processes. Not thread-safe: use it from the main thread only, whose end ends them.

    Writes `logs/NAME.log` and `run/NAME.json` in `state_dir`, and passes lines for people to `say`.
    """

    state_dir: Path
    environment: Mapping[str, str]
    directory: Path
    say: Callable[[str], None]
    _children: dict[str, _Child] = field(default_factory=dict)
    _token: str = field(default_factory=lambda: secrets.token_hex(16))

    def prepare(self) -> None:
        """Create the directories, end the processes that an earlier supervisor left running, and rotate the logs.

        Raises SupervisorError if the state directory can't be written to.
        """
        try:
            for directory in (self._run_dir, self._log_dir):
                private_directory(directory)
            for record in sorted(self._run_dir.glob("*.json")):
                if end_leftovers(record):
                    self.say(f"Ended a process that an earlier start of the panel left running ({record.stem}).")
                record.unlink(missing_ok=True)
            for log in sorted(self._log_dir.glob("*.log")):
                _rotate(log)
        except OSError as error:
            raise SupervisorError(
                f"The state directory {self.state_dir} can't be used: {error.strerror}. "
                "Point STATE_DIR at a directory that this user may write to."
            ) from None

    @property
    def _run_dir(self) -> Path:
        return self.state_dir / "run"

    @property
    def _log_dir(self) -> Path:
        return self.state_dir / "logs"

    def log_of(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def start(self, managed: ManagedProcess) -> None:
        """Start a process and keep it running. Raises SupervisorError if its program can't be run."""
        self._spawn(self._children.setdefault(managed.name, _Child(managed)))

    def failures_of(self, name: str) -> int:
        """Return how often in a row a process has ended since its last successful start."""
        return self._children[name].failures

    def uptime_s(self, name: str) -> float:
        """Return for how many seconds a process has been running; 0 if it is not."""
        child = self._children.get(name)
        running = child is not None and child.process is not None and child.process.poll() is None
        return time.monotonic() - child.started_at_s if child and running else 0.0

    def tend(self) -> list[str]:
        """Notice processes that ended, and restart those whose back-off is over; return the names of those that ended.
        Never blocks."""
        now_s = time.monotonic()
        ended = []
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, now_s)
                ended.append(child.managed.name)
            elif child.start_again_at_s is not None and now_s >= child.start_again_at_s:
                self._spawn(child)
        return ended

    def restart(self, name: str, why: str) -> None:
        """Kill a process with everything that it started, and restart it at once; `why` is a sentence for people."""
        child = self._children[name]
        if child.process is None:
            return
        _kill_group(child.process.pid, signal.SIGKILL)
        child.process.wait()
        self.say(f"{why} Restarting the {child.managed.title}.")
        self._spawn(child)

    def stop(self, *order: Sequence[str], is_urgent: Callable[[], bool] = lambda: False) -> None:
        """Stop the processes, one set of names after the other: SIGTERM first, SIGKILL after the time-out of each.
        `is_urgent` cuts the waiting short."""
        for names in order:
            children = [self._children[name] for name in names if name in self._children]
            running = [(child.managed, child.process) for child in children if child.process is not None]
            for child in children:
                child.start_again_at_s = None
            for _, process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            for managed, process in running:
                until_s = time.monotonic() + managed.stop_timeout_s
                while process.poll() is None and time.monotonic() < until_s and not is_urgent():
                    time.sleep(0.02)
                # Also after a clean exit, for the processes that it started.
                _kill_group(process.pid, signal.SIGKILL)
                process.wait()
                (self._run_dir / f"{managed.name}.json").unlink(missing_ok=True)
            for child in children:
                child.process = None

    def _spawn(self, child: _Child) -> None:
        managed, parent = child.managed, os.getpid()

        def end_with_parent() -> None:
            if _libc is not None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
                if os.getppid() != parent:  # the parent ended before prctl was called
                    os._exit(1)

        try:
            with self.log_of(managed.name).open("ab") as log:
                child.process = subprocess.Popen(
                    list(managed.command),
                    cwd=self.directory,
                    env={**self.environment, _RUN_VARIABLE: self._token},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
        except OSError as error:
            raise SupervisorError(
                f"The {managed.title} can't be started: {managed.command[0]}: {error.strerror}."
            ) from None
        child.started_at_s, child.start_again_at_s = time.monotonic(), None
        record = {"pid": child.process.pid, "started": process_start_time(child.process.pid), "token": self._token}
        draft = self._run_dir / f".{managed.name}.json"
        draft.write_text(json.dumps(record))
        draft.rename(self._run_dir / f"{managed.name}.json")

    def _note_end(self, child: _Child, now_s: float) -> None:
        process = child.process
        if process is None:
            return
        # The workers of a queue outlive its main process, and would run next to those of its successor.
        _kill_group(process.pid, signal.SIGKILL)
        child.process = None
        (self._run_dir / f"{child.managed.name}.json").unlink(missing_ok=True)
        child.failures = 1 if now_s - child.started_at_s > _STEADY_AFTER_S else child.failures + 1
        wait_s = min(_FIRST_BACKOFF_S * 2 ** (child.failures - 1), _LONGEST_BACKOFF_S)
        child.start_again_at_s = now_s + wait_s
        self.say(
            f"The {child.managed.title} ended unexpectedly ({_explain_exit(process.returncode)}). Restarting in "
            f"{wait_s:g} s. Log: {self.log_of(child.managed.name)}"
        )

    def last_log_line(self, name: str) -> str:
        """Return the last line of a process's log, where a program that fails says why; "" for an empty log."""
        try:
            lines = self.log_of(name).read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1].strip() if lines else ""


@contextlib.contextmanager
def lock(path: Path, holder: str) -> Iterator[None]:
    """Hold the lock file while the block runs; the kernel releases it however the process ends.

    Raises SupervisorError, with the text that its holder wrote into it, if another process holds it.
    """
    try:
        private_directory(path.parent)
        file = path.open("a+")
    except OSError as error:
        raise SupervisorError(
            f"The state directory {path.parent.parent} can't be used: {error.strerror}. "
            "Point STATE_DIR at a directory that this user may write to."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise SupervisorError(
                f"The panel is already running on {path.parent.parent} ({file.read().strip() or 'unknown process'}). "
                "Stop it first, or set another STATE_DIR and PORT for this one."
            ) from None
        file.truncate(0)
        file.write(holder)
        file.flush()
        yield


def end_leftovers(record: Path, timeout_s: float = 5.0) -> bool:
    """End the processes that a record names, unless their ids belong to others by now; return whether there were any.

    They got a signal when their supervisor died, so they get `timeout_s` to finish.
    """
    try:
        known = json.loads(record.read_text())
        pid, started, token = int(known["pid"]), known["started"], str(known["token"])
    except (OSError, ValueError, TypeError, KeyError):
        return False

    def is_left() -> bool:
        return (started is not None and process_start_time(pid) == started) or _has_marked_member(pid, token)

    if pid <= 1 or not is_left():
        return False
    until_s = time.monotonic() + timeout_s
    while is_left() and time.monotonic() < until_s:
        time.sleep(0.05)
    if is_left():
        _kill_group(pid, signal.SIGKILL)
    return True


def process_start_time(pid: int) -> str | None:
    """Return the start time of a process, which tells it from a later one with the same id; None if it does not run."""
    try:
        if _ON_LINUX:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if after_name[0] == "Z" else f"{after_name[19]}@{_boot_id()}"
        shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return shown.stdout.strip() or None
    except (OSError, IndexError):
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _has_marked_member(group: int, token: str) -> bool:
    """Whether a process of the group has the run's token in its environment, as only our own children do."""
    if not _ON_LINUX:
        return False
    marker = f"{_RUN_VARIABLE}={token}".encode()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (directory / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[2]) == group and marker in (directory / "environ").read_bytes().split(b"\0"):
                return True
        except (OSError, IndexError, ValueError):
            continue
    return False


def _kill_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _explain_exit(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _rotate(log: Path) -> None:
    """Put the log aside; the last few are kept as NAME.log.1, .2, …"""
    if not log.stat().st_size:
        return
    for number in range(_KEPT_LOGS - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))
