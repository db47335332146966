"""The panel's database behind PgBouncer in transaction mode, where each transaction may have another connection."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from tests.support.commands import shell
from tests.support.processes import free_port

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
INITDB = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
# Both servers refuse to run as root.
USER = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None or INITDB is None,
    reason="There is no PgBouncer and PostgreSQL: apt install pgbouncer postgresql.",
)

# Entries are read through a cursor that takes 500 at a time, while others use the few connections that there are.
READ = """
import json
import threading
from copy import copy
from django.db import connection
from django.core.management import call_command
call_command('migrate', verbosity=0)
from auditlog.models import LogEntry
from projects.audit.log import export_entries
from projects.services.provisioning import add_project, request_provision
for number in range(5):
    request_provision(add_project(f'p{number}', actor='ann'), actor='ann')
entry = LogEntry.objects.first()
entry.pk = None
LogEntry.objects.bulk_create([copy(entry) for _ in range(1200)])
def count():
    try:
        lines.append(sum(1 for _ in export_entries(LogEntry.objects.all())))
    except Exception as error:
        lines.append(repr(error))
    finally:
        connection.close()
lines = []
threads = [threading.Thread(target=count) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(lines))
"""


@pytest.fixture
def folder():
    """A folder that the servers' user can enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory(prefix="controlpanel-pgbouncer-") as name:
        shutil.chown(name, USER)
        yield Path(name)


@pytest.fixture
def pooled(folder):
    """Yield the URL of a database behind a pool of two connections."""
    assert INITDB is not None
    assert PGBOUNCER is not None
    data, port, pool_port = folder / "data", free_port(), free_port()
    settings = {"user": USER} if os.getuid() == 0 else {}
    subprocess.run(
        [str(INITDB), "-D", str(data), "-U", "panel", "-A", "trust", "-E", "UTF8", "--no-locale"],
        check=True,
        capture_output=True,
        cwd=folder,
        **settings,  # type: ignore[call-overload]
    )
    (folder / "users.txt").write_text('"panel" "panel"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\npanel = host=127.0.0.1 port={port} dbname=panel user=panel\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {pool_port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = 2\nignore_startup_parameters = options,extra_float_digits\n"
        f"auth_file = {folder}/users.txt\n"
    )
    commands = (
        [str(INITDB.with_name("postgres")), "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"],
        [PGBOUNCER, str(folder / "pgbouncer.ini")],
    )
    servers = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings)  # type: ignore[call-overload]
        for command in commands
    ]
    try:
        with _connect(port, "postgres") as connection:
            connection.execute("CREATE DATABASE panel")
        _connect(pool_port, "panel").close()
        yield f"postgresql://panel:panel@127.0.0.1:{pool_port}/panel"
    finally:
        # PostgreSQL ends without waiting for its clients, PgBouncer at once.
        for server in reversed(servers):
            server.send_signal(signal.SIGINT)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


def _connect(port, name):
    until_s = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(f"host=127.0.0.1 port={port} user=panel dbname={name}", autocommit=True)
        except psycopg.OperationalError:
            assert time.monotonic() < until_s
            time.sleep(0.1)


def test_transaction_pooling_works_with_its_setting(repository, tmp_path, pooled):
    """Migrations, requests, and a long export from several threads."""
    said = shell(repository, tmp_path, READ, DATABASE_URL=pooled, DATABASE_POOLING="transaction")
    counts = json.loads(said.strip().splitlines()[-1])
    assert len(counts) == 4
    assert len(set(counts)) == 1
    assert counts[0] > 1200
