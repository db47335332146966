"""Checks the packages: pinned exactly and by hash, installed as pinned, compatible, and without known vulnerabilities.

The first three checks need no network. pip-audit asks PyPI for vulnerabilities, or the server at OSV_URL, in OSV's
format. If it can't be reached, the last line says so.
"""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lock import split_pins

PINS = ("requirements.txt", "requirements-dev.txt")
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==([A-Za-z0-9.!+]+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)\n")
# An index that drops packets must not block the checks.
_AUDIT_TIMEOUT_S = 90


def read_pins() -> tuple[dict[str, str], list[str]]:
    """Return {name: version}, and a message for each entry that isn't an exact version with hashes."""
    pins: dict[str, str] = {}
    wrong: list[str] = []
    for file in PINS:
        for entry in split_pins(Path(file).read_text()).values():
            found = _PIN.fullmatch(entry)
            if not found:
                first = entry.splitlines()[0].rstrip(" \\")
                wrong.append(
                    f"{file}: '{first}' is not pinned to one version: write NAME==VERSION, or run `make lock`."
                )
                continue
            name, wanted, hashes = found.groups()
            if not hashes:
                wrong.append(f"{file}: {name} has no hashes: run `make lock ARGS=--keep`.")
            if name in pins:
                wrong.append(f"{file}: {name} is listed twice. Remove one.")
            pins[name] = wanted
    return pins, wrong


def find_differences(pins: dict[str, str]) -> list[str]:
    """Return a message for each package whose installed version isn't the pinned one."""
    differences = []
    for name, wanted in pins.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "not installed"
        if installed != wanted:
            differences.append(f"{name} is pinned to {wanted}, but {installed} here. Run `make setup-dev`.")
    return differences


def find_vulnerabilities() -> list[dict[str, Any]] | None:
    """Return pip-audit's result for each package; None if no source of vulnerabilities can be reached."""
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--timeout=5"]
    command += ["--disable-pip", "--no-deps", *(part for file in PINS for part in ("--requirement", file))]
    if source := os.environ.get("OSV_URL"):
        command += ["--vulnerability-service=osv", f"--osv-url={source}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_AUDIT_TIMEOUT_S, check=False).stdout
        packages: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return packages if any("vulns" in package for package in packages) else None


def main() -> int:
    pins, troubles = read_pins()
    troubles += find_differences(pins)
    compatible = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if compatible.returncode:
        troubles += compatible.stdout.splitlines()
    packages = find_vulnerabilities()
    for package in packages or []:
        for vulnerability in package.get("vulns", []):
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            troubles.append(f"{package['name']} {package['version']} has {vulnerability['id']}; fixed in {fixed}.")
    for trouble in troubles:
        sys.stdout.write(f"{trouble}\n")
    if troubles:
        return 1
    if packages is None:
        known = "known vulnerabilities were not checked, because no source of them can be reached"
    else:
        known = f"{sum('vulns' in package for package in packages)} have no known vulnerability"
    sys.stdout.write(f"{len(pins)} packages are pinned, installed as pinned and compatible; {known}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
