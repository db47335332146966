"""Pin every package of requirements.in and requirements-dev.in, with the hashes of all files that the index has of it.

Run by `make lock` in a virtual environment that has pip-tools. With --keep, versions stay as they are pinned, as far as
the .in files allow. requirements-dev.txt has what requirements.txt lacks.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

RUN, DEVELOP = Path("requirements.txt"), Path("requirements-dev.txt")
# Where packages come from is a matter of the machine, not of the pins.
_OPTIONS = (
    "--generate-hashes",
    # Extras stay: with hashes, pip does not take the pin of a package for one of the package with an extra.
    "--no-strip-extras",
    # pip itself is whatever the virtual environment came with.
    "--unsafe-package=pip",
    "--no-header",
    "--no-annotate",
    "--no-emit-find-links",
    "--no-emit-index-url",
    "--no-emit-trusted-host",
    "--quiet",
)


def split_pins(text: str) -> dict[str, str]:
    """Return {name: its lines} of a requirements file: a pin continues while lines end in a backslash."""
    pins, lines = {}, []
    for line in text.splitlines():
        if not line or line.startswith(("#", "-")):
            continue
        lines.append(line)
        if not line.endswith("\\"):
            pins[re.split(r"[\[=<>!~ ]", lines[0], maxsplit=1)[0].lower().replace("_", "-")] = "\n".join(lines) + "\n"
            lines = []
    return pins


def compile_pins(source: str, target: Path, *, keep: bool) -> None:
    command = [sys.executable, "-m", "piptools", "compile", *_OPTIONS, *([] if keep else ["--upgrade"])]
    subprocess.run([*command, "--output-file", str(target), source], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the versions that are pinned")
    keep = parser.parse_args().keep
    compile_pins("requirements.in", RUN, keep=keep)
    running = split_pins(RUN.read_text())
    # The compiler keeps what it finds in the file that it writes, and knows no other of our files.
    DEVELOP.write_text("".join([*split_pins(DEVELOP.read_text()).values(), *running.values()]))
    compile_pins("requirements-dev.in", DEVELOP, keep=keep)
    more = {name: lines for name, lines in split_pins(DEVELOP.read_text()).items() if name not in running}
    DEVELOP.write_text("-r requirements.txt\n" + "".join(more.values()))
    sys.stdout.write(f"Pinned {len(running)} packages to run on and {len(more)} more to develop with.\n")


if __name__ == "__main__":
    main()
