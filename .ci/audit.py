"""Audit the packages that the panel is made of: pinned exactly, installed as pinned, fitting together, no known holes.

The first three need no network. The holes are asked of PyPI by pip-audit, or of the server at OSV_URL, in OSV's format:
where it can't be reached, one line says so.
"""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PINS = ("requirements.txt", "requirements-dev.txt")
_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+")
# An index that drops packets must not hold up the checks.
_PATIENCE_S = 90


def read_pins() -> tuple[dict[str, str], list[str]]:
    """Return {name: version}, and a sentence for each line that is no exact version."""
    pins: dict[str, str] = {}
    wrong: list[str] = []
    for file in PINS:
        for line in Path(file).read_text().splitlines():
            if not line or line.startswith(("#", "-r ")):
                continue
            if not _PIN.fullmatch(line):
                wrong.append(f"{file}: '{line}' is not pinned to one version: write NAME==VERSION, or run `make lock`.")
                continue
            name, _, wanted = line.partition("==")
            if name in pins:
                wrong.append(f"{file}: {name} stands twice. Remove one.")
            pins[name] = wanted
    return pins, wrong


def find_differences(pins: dict[str, str]) -> list[str]:
    """Return a sentence for each package that is installed in another version than the one pinned."""
    differences = []
    for name, wanted in pins.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "not installed"
        if installed != wanted:
            differences.append(f"{name} is pinned to {wanted}, but here it is {installed}: run `make setup-dev`.")
    return differences


def ask_for_holes() -> list[dict[str, Any]] | None:
    """Return what pip-audit says of each package; None where no source of vulnerabilities can be reached."""
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--timeout=5"]
    command += ["--disable-pip", "--no-deps", *(part for file in PINS for part in ("--requirement", file))]
    if source := os.environ.get("OSV_URL"):
        command += ["--vulnerability-service=osv", f"--osv-url={source}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False).stdout
        packages: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return packages if any("vulns" in package for package in packages) else None


def main() -> int:
    pins, troubles = read_pins()
    troubles += find_differences(pins)
    fitting = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fitting.returncode:
        troubles += fitting.stdout.splitlines()
    packages = ask_for_holes()
    for package in packages or []:
        for hole in package.get("vulns", []):
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            troubles.append(f"{package['name']} {package['version']} has {hole['id']}; fixed in {fixed}.")
    for trouble in troubles:
        sys.stdout.write(f"{trouble}\n")
    if troubles:
        return 1
    if packages is None:
        known = "no source of known vulnerabilities can be reached from here, so these were not looked for"
    else:
        known = f"{sum('vulns' in package for package in packages)} have no known vulnerability"
    sys.stdout.write(f"{len(pins)} packages are pinned, installed as pinned and fit together; {known}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
