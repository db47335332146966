"""Management commands as their users see them: exit code, output, errors."""

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.core.management import CommandError, call_command

from tests.support.processes import hermetic_environment


@dataclass(frozen=True)
class Ran:
    """The result of a command: exit code and streams."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(*arguments: str) -> Ran:
    """Run a management command in this process, on the test's database. Errors become the output and exit code of a
    shell.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except CommandError as error:
        err.write(f"{error}\n")
        code = error.returncode
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    return Ran(code, out.getvalue(), err.getvalue())


Program = Callable[..., Ran]


def shell(repository: Path, state_dir: Path, code: str, **environment: str) -> str:
    """Run Python in another process, with the panel's settings; return its output."""
    ran = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        cwd=repository,
        env=hermetic_environment(state_dir, **environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout
