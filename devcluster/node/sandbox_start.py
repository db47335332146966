"""Starts sandbox_app.py for a tenant: `python -I sandbox_start.py --listen HOST:PORT --home DIRECTORY [--uid N]`.

Standard input is a JSON object with the variables of the Pod. The interpreter starts with an environment that no tenant
has written, drops its rights, and only then reads them: variables such as PYTHONWARNINGS, PYTHONPATH or LD_PRELOAD
decide what a program does while it starts. All modules are imported before, because an interpreter below a directory
such as /root can't read its own files afterwards.
"""

from __future__ import annotations

import argparse
import encodings.idna  # noqa: F401 - imported while it can be read
import json
import os
import sys
import traceback  # noqa: F401 - as above
from pathlib import Path

SOURCE_ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the sandbox application with the rights of a tenant.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--home", required=True)
    parser.add_argument("--uid", type=int)
    chosen = parser.parse_args()
    sys.path.insert(0, str(SOURCE_ROOT))  # -I leaves it out
    from devcluster.node import sandbox_app, tenant_process

    del sys.path[0]
    try:
        tenant_process.drop_rights(chosen.uid)
    except tenant_process.RightsError as error:
        sys.stderr.write(f"{error}\n")
        return 126
    with sys.stdin:
        variables: dict[str, str] = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(chosen.home)
    os.environ.clear()
    for name, value in variables.items():
        try:
            os.environ[name] = value
        except ValueError as error:  # a NUL character, or "=" in the name
            sys.stderr.write(f"The variable {name!r} can't be set: {error}.\n")
            return 128
    return sandbox_app.main(chosen.listen)


if __name__ == "__main__":
    sys.exit(main())
