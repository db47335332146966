"""Child processes of the embedded cluster, which end with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devcluster.node.private_files import open_log

LOG_LIMIT_BYTES = 1_000_000
NOBODY = 65534


@dataclass(frozen=True)
class RunAs:
    """User and group of a child. None: those of this process."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def unprivileged(cls) -> RunAs:
        """Return the user nobody if this process runs as root, which PostgreSQL refuses; else the current user.

        It is for programs that work on data before a tenant has it, such as initdb, which needs an entry in
        /etc/passwd.
        """
        return cls(NOBODY, NOBODY) if os.geteuid() == 0 else cls()

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in a minimal environment and wait for it. OSError if it can't be started. Blocks."""
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )


class Child:
    """A child process. `exited` gets the exit code when it has ended; negative for a signal."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def is_running(self) -> bool:
        return not self.exited.done()

    def send(self, number: int) -> None:
        """Send a signal if the child still runs."""
        if self.is_running:
            self._popen.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM, *, grace_s: float) -> int:
        """Send a signal, kill the child after `grace_s`, and return its exit code."""
        self.send(number)
        try:
            async with asyncio.timeout(grace_s):
                return await asyncio.shield(self.exited)
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await asyncio.shield(self.exited)


class Children:
    """Starts child processes and ensures that they end with this process; see reaper.py."""

    def __init__(self) -> None:
        self._running: dict[int, Child] = {}
        self._reaper: subprocess.Popen[bytes] | None = None
        self._polls: set[asyncio.Task[None]] = set()

    async def open(self, last_command: Sequence[str] = ()) -> None:
        """Start the reaper, which runs `last_command` after everything has ended."""
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("reaper.py")), *last_command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.defpath},
            start_new_session=True,
        )

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        stdin: IO[bytes] | None = None,
        stop_signal: int = signal.SIGTERM,
    ) -> Child:
        """Start a child in a new session, with its output appended to `log` (emptied first if it has more than 1 MB).

        OSError if it can't be started.
        """
        output = open_log(log, LOG_LIMIT_BYTES)
        try:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
            )
        finally:
            os.close(output)
        self._tell_reaper(f"+{popen.pid} {int(stop_signal)}\n")
        child = Child(popen)
        self._running[popen.pid] = child
        self._await_exit(child, popen)
        return child

    def _await_exit(self, child: Child, popen: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(popen.pid)
        except (AttributeError, OSError):  # not Linux, or an old kernel
            self._polls.add(poll := loop.create_task(self._poll_exit(child, popen)))
            poll.add_done_callback(self._polls.discard)
            return

        def collect() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            # The child leads its process group, whose id can't be given again before wait().
            with contextlib.suppress(OSError):
                os.killpg(popen.pid, signal.SIGKILL)
            self._collected(child, popen.wait())

        loop.add_reader(descriptor, collect)

    async def _poll_exit(self, child: Child, popen: subprocess.Popen[bytes]) -> None:
        while popen.poll() is None:
            await asyncio.sleep(0.1)
        self._collected(child, popen.wait())

    def _collected(self, child: Child, code: int) -> None:
        self._running.pop(child.pid, None)
        self._tell_reaper(f"-{child.pid}\n")
        if not child.exited.done():
            child.exited.set_result(code)

    def _tell_reaper(self, line: str) -> None:
        if self._reaper is not None and self._reaper.stdin is not None:
            with contextlib.suppress(OSError):
                self._reaper.stdin.write(line.encode())
                self._reaper.stdin.flush()

    async def close(self) -> None:
        """End the remaining children, then the reaper."""
        await asyncio.gather(*(child.stop(grace_s=2.0) for child in list(self._running.values())))
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            await asyncio.to_thread(self._reaper.wait)
            self._reaper = None


def command_line_of(pid: int) -> str:
    """Return the command line of a process from /proc or ps; "" if there is no such process."""
    proc = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        try:
            return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


async def end_stray(pid: int, *, belongs_to: str, number: int = signal.SIGTERM, grace_s: float = 3.0) -> bool:
    """End a process of a previous run if its command line contains `belongs_to`. Return whether there was one.

    The command line proves ownership, because process ids are reused.
    """
    if pid <= 1 or belongs_to not in command_line_of(pid):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        for _ in range(int(grace_s / 0.05)):
            await asyncio.sleep(0.05)
            if belongs_to not in command_line_of(pid):
                return True
        os.kill(pid, signal.SIGKILL)
    return True
