"""Runs the panel's processes under one roof: started in order, started again when they die, ended together.

Each part leads a session of its own, so that a Ctrl-C in the terminal reaches the supervisor alone, and so that a part
and all that it started can be ended as one group. Where the kernel can (Linux), parts end with their supervisor even
if that is killed; what outlives it all the same is found at the next start by the records in `run/`.
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

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
# A part that ran for so long has started well: the next failure is a new one.
_STEADY_AFTER_S = 60.0
_KEPT_LOGS = 3
_RUN_VARIABLE = "CONTROLPANEL_RUN"
_PR_SET_PDEATHSIG = 1
_ON_LINUX = platform.system() == "Linux"
_libc = ctypes.CDLL(None, use_errno=True) if _ON_LINUX else None


class SupervisorError(Exception):
    """The panel can't start or go on; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the panel. `name` names its log and its record, `title` stands in sentences."""

    name: str
    title: str
    command: Sequence[str]
    stop_timeout_s: float = 4.0


@dataclass(slots=True)
class _Child:
    part: Part
    process: "subprocess.Popen[bytes] | None" = None
    started_at_s: float = 0.0
    failures: int = 0
    start_again_at_s: float | None = None


@dataclass
class Supervisor:
    """Starts, watches and ends parts. Not thread-safe: use it from the main thread only, whose death ends the parts.

    `state_dir` gets `logs/NAME.log` and `run/NAME.json`; `say` takes lines for people.
    """

    state_dir: Path
    environment: Mapping[str, str]
    directory: Path
    say: Callable[[str], None]
    _children: dict[str, _Child] = field(default_factory=dict)
    _token: str = field(default_factory=lambda: secrets.token_hex(16))

    def prepare(self) -> None:
        """Make the directories, end what an earlier supervisor left behind, put the old logs aside.

        Raises SupervisorError when the state directory can't be written to.
        """
        try:
            for directory in (self._run_dir, self._log_dir):
                directory.mkdir(parents=True, exist_ok=True)
            for record in sorted(self._run_dir.glob("*.json")):
                if end_leftovers(record):
                    self.say(f"Ended what an earlier start of the panel had left running ({record.stem}).")
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

    def start(self, part: Part) -> None:
        """Start a part and keep it running from now on. Raises SupervisorError if its program can't be run."""
        self._spawn(self._children.setdefault(part.name, _Child(part)))

    def failures_of(self, name: str) -> int:
        """Return how often in a row a part has died since it last ran well."""
        return self._children[name].failures

    def uptime_s(self, name: str) -> float:
        """Return for how many seconds a part has been running; 0 while it is not."""
        child = self._children.get(name)
        running = child is not None and child.process is not None and child.process.poll() is None
        return time.monotonic() - child.started_at_s if child and running else 0.0

    def tend(self) -> list[str]:
        """Notice parts that died, and start those whose back-off is over. Never blocks; returns who has died."""
        now_s = time.monotonic()
        died = []
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._note_death(child, now_s)
                died.append(child.part.name)
            elif child.start_again_at_s is not None and now_s >= child.start_again_at_s:
                self._spawn(child)
        return died

    def restart(self, name: str, why: str) -> None:
        """Kill a part with all that it started, and start it again at once; `why` is said."""
        child = self._children[name]
        if child.process is None:
            return
        _kill_group(child.process.pid, signal.SIGKILL)
        child.process.wait()
        self.say(f"{why} {child.part.title} is started again.")
        self._spawn(child)

    def stop(self, *order: Sequence[str], is_urgent: Callable[[], bool] = lambda: False) -> None:
        """End the parts: one set of names after the other, each politely first. `is_urgent` cuts the waiting short."""
        for names in order:
            children = [self._children[name] for name in names if name in self._children]
            running = [(child.part, child.process) for child in children if child.process is not None]
            for child in children:
                child.start_again_at_s = None
            for _, process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            for part, process in running:
                until_s = time.monotonic() + part.stop_timeout_s
                while process.poll() is None and time.monotonic() < until_s and not is_urgent():
                    time.sleep(0.02)
                # Also after a clean end: no grandchild stays behind.
                _kill_group(process.pid, signal.SIGKILL)
                process.wait()
                (self._run_dir / f"{part.name}.json").unlink(missing_ok=True)
            for child in children:
                child.process = None

    def _spawn(self, child: _Child) -> None:
        part, parent = child.part, os.getpid()

        def end_with_parent() -> None:
            if _libc is not None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
                if os.getppid() != parent:  # died before prctl could say so
                    os._exit(1)

        try:
            with self.log_of(part.name).open("ab") as log:
                child.process = subprocess.Popen(
                    list(part.command),
                    cwd=self.directory,
                    env={**self.environment, _RUN_VARIABLE: self._token},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
        except OSError as error:
            raise SupervisorError(f"{part.title} can't be started: {part.command[0]}: {error.strerror}.") from None
        child.started_at_s, child.start_again_at_s = time.monotonic(), None
        record = {"pid": child.process.pid, "started": start_of(child.process.pid), "token": self._token}
        draft = self._run_dir / f".{part.name}.json"
        draft.write_text(json.dumps(record))
        draft.rename(self._run_dir / f"{part.name}.json")

    def _note_death(self, child: _Child, now_s: float) -> None:
        process = child.process
        if process is None:
            return
        # A queue's workers go on without their head, and would then be twice as many.
        _kill_group(process.pid, signal.SIGKILL)
        child.process = None
        (self._run_dir / f"{child.part.name}.json").unlink(missing_ok=True)
        child.failures = 1 if now_s - child.started_at_s > _STEADY_AFTER_S else child.failures + 1
        wait_s = min(_FIRST_BACKOFF_S * 2 ** (child.failures - 1), _LONGEST_BACKOFF_S)
        child.start_again_at_s = now_s + wait_s
        self.say(
            f"{child.part.title} ended unexpectedly ({_explain_exit(process.returncode)}); it is started again in "
            f"{wait_s:g} s. Its log: {self.log_of(child.part.name)}"
        )

    def last_words_of(self, name: str) -> str:
        """Return the last line of a part's log, where a program that gives up says why; "" if there is none."""
        try:
            lines = self.log_of(name).read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1].strip() if lines else ""


@contextlib.contextmanager
def lock(path: Path, holder: str) -> Iterator[None]:
    """Hold the lock file for as long as the block runs; the kernel frees it however the process ends.

    Raises SupervisorError, with what the present holder wrote, if another process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
                f"The panel runs already on {path.parent.parent} ({file.read().strip() or 'unknown process'}). "
                "Stop it first, or give this one another STATE_DIR and PORT."
            ) from None
        file.truncate(0)
        file.write(holder)
        file.flush()
        yield


def end_leftovers(record: Path, patience_s: float = 5.0) -> bool:
    """End the processes that a record tells of, if they are still those; return whether there were any.

    They were asked to end when their supervisor died, so they get `patience_s` to finish.
    """
    try:
        known = json.loads(record.read_text())
        pid, started, token = int(known["pid"]), known["started"], str(known["token"])
    except (OSError, ValueError, TypeError, KeyError):
        return False

    def is_left() -> bool:
        return (started is not None and start_of(pid) == started) or _has_marked_member(pid, token)

    if pid <= 1 or not is_left():
        return False
    until_s = time.monotonic() + patience_s
    while is_left() and time.monotonic() < until_s:
        time.sleep(0.05)
    if is_left():
        _kill_group(pid, signal.SIGKILL)
    return True


def start_of(pid: int) -> str | None:
    """Return what tells a process from a later one with the same pid: when it started; None if there is none."""
    try:
        if _ON_LINUX:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if after_name[0] == "Z" else f"{after_name[19]}@{_boot_id()}"
        said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return said.stdout.strip() or None
    except (OSError, IndexError):
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _has_marked_member(group: int, token: str) -> bool:
    """Whether a process of the group carries the run's token in its environment, as only our own children do."""
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
    """Make room for a new log; the last few stay as NAME.log.1, .2, …"""
    if not log.stat().st_size:
        return
    for number in range(_KEPT_LOGS - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))
