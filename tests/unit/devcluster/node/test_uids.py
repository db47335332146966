"""Users of tenants: stable, never shared, and kept apart between state directories."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devcluster.node import tenant_process
from devcluster.node.tenants import Tenants
from devcluster.node.uids import NoUidsError, Uids, open_uids
from tests.support.event_loop import run_in_loop

needs_uids = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give tenants separate users")
SCRIPT = Path(tenant_process.__file__)


@pytest.fixture
def few(tmp_path):
    return Uids(tmp_path / "uids.json", base=1000, size=5)


def test_owner_keeps_its_user_and_nobody_else_gets_it(few):
    first = few.of("pod/a")
    assert few.of("pod/a") == first
    assert few.of("pod/b") != first
    assert few.guard not in (first, few.of("pod/b"))


def test_released_user_is_the_last_to_be_given_again(few):
    first = few.of("pod/a")
    few.release("pod/a")
    assert [few.of(f"pod/{name}") for name in "bcd"] == [first + 1, first + 2, first + 3]
    assert few.of("pod/e") == first
    with pytest.raises(OSError, match="All 4 users"):
        few.of("pod/f")


def test_starts_at_the_same_time_get_different_users(tmp_path):
    uids = Uids(tmp_path / "uids.json", base=1000, size=500)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: uids.of(f"pod/{number % 200}"), range(400)))
    assert found[:200] == found[200:]
    assert len(set(found)) == 200
    assert json.loads(uids.note.read_text())["owners"] == {f"pod/{number}": found[number] for number in range(200)}


@needs_uids
def test_users_survive_a_restart(tmp_path):
    before = open_uids(tmp_path)
    first = before.of("pod/a")
    before.of("pod/b")
    before.release("pod/b")
    after = open_uids(tmp_path)
    assert (after.base, after.of("pod/a")) == (before.base, first)
    assert after.of("pod/c") == first + 2


@needs_uids
def test_copy_of_a_state_directory_gets_other_users(tmp_path):
    (tmp_path / "one").mkdir()
    first = open_uids(tmp_path / "one")
    first.of("pod/a")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    second = open_uids(tmp_path / "two")
    assert second.base != first.base
    assert second.owners() == {}
    assert open_uids(tmp_path / "one").base == first.base


@needs_uids
@pytest.mark.parametrize(
    "change",
    [
        {"base": 0},
        {"base": 1_900_000_001},
        {"size": 3},
        {"next": -4},
        {"owners": {"pod/a": 0}},
        {"owners": {"pod/a": 1, "pod/b": 1}},
        {"owners": []},
    ],
)
def test_damaged_note_gives_nobody_a_foreign_user(tmp_path, change):
    uids = open_uids(tmp_path)
    uids.of("pod/a")
    saved = json.loads(uids.note.read_text())
    uids.note.write_text(json.dumps({**saved, **change}))
    found = open_uids(tmp_path)
    assert found.owners() == {}
    assert found.of("pod/z") in found.block
    assert found.base >= 20_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root has users to give")
def test_without_root_there_are_no_users(tmp_path):
    with pytest.raises(NoUidsError, match="doesn't run as root"):
        open_uids(tmp_path)


@needs_uids
def test_program_starts_without_any_right_of_root(tmp_path):
    report = "import os, resource, sys; print(os.getresuid(), os.getresgid(), os.getgroups(), os.umask(0), "
    report += "resource.getrlimit(resource.RLIMIT_CORE)); sys.stdout.flush(); "
    report += "print(sorted(os.listdir('/proc/self/fd')))"
    program = [shutil.which("python3", path="/usr/bin:/usr/local/bin") or "", "-I", "-c", report]
    if not program[0]:
        pytest.skip("no Python that other users can run")
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), False)
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(SCRIPT), "exec", "--uid", "1900000001", "--", *program],
            capture_output=True,
            text=True,
            cwd="/",
            check=True,
        )
    first, fds = done.stdout.splitlines()
    ids = "(1900000001, 1900000001, 1900000001)"
    assert first == f"{ids} {ids} [] {0o077} (0, 0)"
    assert fds == "['0', '1', '2', '3']"  # 3 is the listing


@needs_uids
def test_no_process_forks_away_from_its_end():
    uid = 1_900_000_007
    chain = "f() { (setsid sh -c 'sleep 0.01; exec sleep 300' &) ; sleep 0.005; f; }; f"
    running = [
        subprocess.Popen(["/bin/sh", "-c", chain], user=uid, group=uid, extra_groups=[], cwd="/") for _ in range(3)
    ]
    users = range(uid, uid + 1)
    while len(tenant_process.running_in(users)) < 30:
        pass
    command = [sys.executable, "-I", "-S", str(SCRIPT), "end", "--uids", f"{uid}-{uid}", "--guard", "1900000008"]
    assert subprocess.run(command, check=False).returncode == 0
    for process in running:
        process.wait(5)
    assert tenant_process.running_in(users) == {}


@needs_uids
def test_one_command_ends_the_processes_of_several_users():
    owners = [1_900_000_011, 1_900_000_013, 1_900_000_016]
    running = [subprocess.Popen(["/bin/sleep", "100"], user=uid, group=uid, extra_groups=[]) for uid in owners]
    command = [sys.executable, "-I", "-S", str(SCRIPT), "end", "--uids", "1900000011,1900000015-1900000016"]
    assert subprocess.run([*command, "--guard", "1900000019"], check=False).returncode == 0
    running[0].wait(5)
    running[2].wait(5)
    assert running[1].poll() is None
    running[1].kill()
    running[1].wait(5)


@needs_uids
def test_tenants_that_end_at_the_same_time_share_a_command(tmp_path, monkeypatch):
    tenants = Tenants(tmp_path)
    tenants.open()
    several = [tenants.of(f"pod/{number}") for number in range(40)]
    commands: list[list[str]] = []
    first_runs, may_end = threading.Event(), threading.Event()

    def run(command: list[str]) -> bool:
        commands.append(command)
        first_runs.set()
        return may_end.wait(10)

    monkeypatch.setattr(Tenants, "_run_end", staticmethod(run))

    async def end_all() -> list[bool]:
        first = asyncio.create_task(tenants.end(several[0]))
        await asyncio.to_thread(first_runs.wait, 10)
        others = [asyncio.create_task(tenants.end(tenant)) for tenant in several[1:]]
        await asyncio.sleep(0)
        may_end.set()
        return await asyncio.gather(first, *others)

    assert all(run_in_loop(end_all))
    ended = [command[command.index("--uids") + 1].split(",") for command in commands]
    assert ended == [[str(several[0].uid)], [str(tenant.uid) for tenant in several[1:]]]


@needs_uids
def test_tenant_whose_process_is_left_is_told_apart(tmp_path, monkeypatch):
    tenants = Tenants(tmp_path)
    tenants.open()
    ended, stuck = tenants.of("pod/ended"), tenants.of("pod/stuck")
    monkeypatch.setattr(Tenants, "_run_end", staticmethod(lambda command: False))
    assert stuck.uid is not None
    left = subprocess.Popen(["/bin/sleep", "100"], user=stuck.uid, group=stuck.uid, extra_groups=[])

    async def end_both() -> list[bool]:
        return list(await asyncio.gather(tenants.end(ended), tenants.end(stuck)))

    try:
        assert run_in_loop(end_both) == [True, False]
    finally:
        left.kill()
        left.wait(5)


@pytest.mark.parametrize("arguments", [["--uids", "0-0", "--guard", "5"], ["--uids", "5-6", "--guard", "0"]])
def test_root_is_never_ended_as_a_tenant(arguments):
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), "end", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "root is no tenant" in done.stderr) == (2, True)
