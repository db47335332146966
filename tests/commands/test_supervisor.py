"""The supervisor with small programs: restarts, shutdown, and processes of an earlier supervisor."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provisioning.management.supervisor import ManagedProcess, Supervisor, SupervisorError, end_leftovers, lock
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Reads /proc.")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def shell(script: str, stop_timeout_s: float = 2.0) -> ManagedProcess:
    return ManagedProcess("part", "part", ("bash", "-c", script), stop_timeout_s)


def pid_in(path: Path) -> int:
    wait_for(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def test_killed_process_is_restarted_and_its_children_are_ended(
    supervisor: Supervisor, tmp_path: Path, said: list[str]
) -> None:
    supervisor.start(shell("sleep 300 & echo $! > child; echo $$ > leader; wait"))
    child, leader = pid_in(tmp_path / "child"), pid_in(tmp_path / "leader")
    (tmp_path / "leader").unlink()
    os.kill(leader, signal.SIGKILL)
    wait_for(lambda: (supervisor.tend(), said)[1])
    wait_for(lambda: not is_alive(child))
    assert said == [
        f"The part ended unexpectedly (killed by SIGKILL). Restarting in 0.5 s. Log: {supervisor.log_of('part')}"
    ]
    assert supervisor.uptime_s("part") == 0.0
    wait_for(lambda: (supervisor.tend(), (tmp_path / "leader").exists())[1])
    assert pid_in(tmp_path / "leader") != leader
    assert supervisor.uptime_s("part") > 0.0


def test_pause_before_a_restart_grows(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(shell("echo no luck; exit 7"))
    wait_for(lambda: (supervisor.tend(), supervisor.failures_of("part") == 3)[1])
    assert [line.partition("Restarting in ")[2].split(".  ")[0].split(" s.")[0] for line in said] == ["0.5", "1", "2"]
    assert all("exit code 7" in line for line in said)
    assert supervisor.last_log_line("part") == "no luck"


def test_stop_sends_sigterm_and_leaves_no_process(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(shell("trap 'echo bye > goodbye; exit 0' TERM; sleep 300 & echo $! > child; wait"))
    child = pid_in(tmp_path / "child")
    supervisor.stop(("part",))
    assert (tmp_path / "goodbye").read_text() == "bye\n"
    wait_for(lambda: not is_alive(child))
    assert not list((tmp_path / "state" / "run").glob("*.json"))


def test_process_that_ignores_sigterm_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(shell("trap '' TERM; echo $$ > leader; while :; do sleep 0.1; done", stop_timeout_s=0.5))
    leader = pid_in(tmp_path / "leader")
    started_s = time.monotonic()
    supervisor.stop(("part",))
    assert 0.5 <= time.monotonic() - started_s < 3.0
    assert not is_alive(leader)


def test_hanging_process_is_restarted_at_once(supervisor: Supervisor, tmp_path: Path, said: list[str]) -> None:
    supervisor.start(shell("trap '' TERM; echo $$ > leader; while :; do sleep 0.1; done"))
    leader = pid_in(tmp_path / "leader")
    supervisor.restart("part", "The part hangs.")
    assert not is_alive(leader)
    assert said == ["The part hangs. Restarting the part."]
    assert supervisor.uptime_s("part") > 0.0


def test_processes_end_with_a_killed_supervisor(tmp_path: Path, repository: Path) -> None:
    script = (
        "import os, pathlib, time\n"
        "from provisioning.management.supervisor import ManagedProcess, Supervisor\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "supervisor = Supervisor(here / 'state', dict(os.environ), here, print)\n"
        "supervisor.prepare()\n"
        "supervisor.start(ManagedProcess('part', 'part', ('bash', '-c', 'echo $$ > leader; exec sleep 300')))\n"
        "time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=repository) as process:
        leader = pid_in(tmp_path / "leader")
        process.kill()
    wait_for(lambda: not is_alive(leader))


def test_processes_of_an_earlier_supervisor_are_ended(tmp_path: Path, said: list[str]) -> None:
    """A queue's workers outlive their killed head; a pid may be another program's by now."""
    first = Supervisor(tmp_path / "state", dict(os.environ), tmp_path, said.append)
    first.prepare()
    first.start(shell("(trap '' TERM; sleep 300) & echo $! > child; echo $$ > leader; wait"))
    child, leader = pid_in(tmp_path / "child"), pid_in(tmp_path / "leader")
    record = tmp_path / "state" / "run" / "part.json"
    foreign = tmp_path / "foreign.json"
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as bystander:
        try:
            foreign.write_text(json.dumps({**json.loads(record.read_text()), "pid": bystander.pid}))
            assert end_leftovers(foreign, timeout_s=0.1) is False
            assert bystander.poll() is None
            os.kill(leader, signal.SIGKILL)
            assert is_alive(child)
            assert end_leftovers(record, timeout_s=0.2) is True
            wait_for(lambda: not is_alive(child))
        finally:
            bystander.kill()
    first.stop(("part",), is_urgent=lambda: True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1, "started": null, "token": ""}'])
def test_invalid_record_ends_no_process(tmp_path: Path, content: str) -> None:
    record = tmp_path / "part.json"
    record.write_text(content)
    assert end_leftovers(record, timeout_s=0.1) is False


def test_state_directory_has_one_supervisor(tmp_path: Path) -> None:
    path = tmp_path / "run" / "up.lock"
    with (
        lock(path, "process 1, port 8000"),
        pytest.raises(SupervisorError, match=r"is already running on .* \(process 1, port 8000\)"),
        lock(path, "process 2"),
    ):
        pytest.fail("Two hold one lock.")
    with lock(path, "process 3"):
        assert path.read_text() == "process 3"


def test_state_directory_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(SupervisorError, match="Point STATE_DIR at a directory"):
        Supervisor(tmp_path / "state", {}, tmp_path, print).prepare()
    with (
        pytest.raises(SupervisorError, match="Point STATE_DIR at a directory"),
        lock(tmp_path / "state" / "run" / "up.lock", ""),
    ):
        pytest.fail("Locked in a directory that is a file.")


def test_missing_program_is_explained(supervisor: Supervisor) -> None:
    with pytest.raises(SupervisorError, match="The part can't be started: /nowhere/program: No such file"):
        supervisor.start(ManagedProcess("part", "part", ("/nowhere/program",)))


def test_logs_of_the_last_starts_are_kept(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for number in range(6):
        supervisor = Supervisor(tmp_path, dict(os.environ), tmp_path, print)
        supervisor.prepare()
        (logs / "web.log").write_text(f"start {number}")
    assert {path.name: path.read_text() for path in logs.iterdir()} == {
        "web.log": "start 5",
        "web.log.1": "start 4",
        "web.log.2": "start 3",
        "web.log.3": "start 2",
    }
