"""Builds a real Kubernetes control plane for developers: etcd, kube-apiserver and kube-controller-manager.

Everything comes from Go modules (`k8s.io/kubernetes` and `go.etcd.io/etcd/server/v3`), verified by Go's checksum
database, into `${XDG_CACHE_HOME:-~/.cache}/controlpanel/kube-assets/VERSION`. A complete directory is not built
again. Run it as `python -m tests.contract.kube_assets`. `--print-directory` only prints the directory of the binaries
(exit code 1 if one is missing).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

KUBERNETES_VERSION = "v1.36.3"
STAGING_VERSION = KUBERNETES_VERSION.replace("v1.", "v0.", 1)
REQUIRED_GO = (1, 26)
REQUIRED_DISK_BYTES = 7 * 1024**3
"""Module cache, build cache and the binaries of one build took 3.9 GiB; the rest is a reserve."""

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager")
PACKAGES = {
    "etcd": ".",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}

ETCD_MAIN = """\
// Package main is etcd: its server module has no main package of its own.
package main

import (
\t"os"

\t"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"""

NETWORK_SIGNS = ("dial tcp", "no such host", "i/o timeout", "TLS handshake", "connection refused", "proxyconnect")


class AssetsUnavailableError(Exception):
    """The control plane can't be built on this machine. The message says why in one sentence."""


def assets_directory() -> Path:
    """Return the directory of the binaries of the pinned version. It may not exist yet."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache_home) / "controlpanel" / "kube-assets" / KUBERNETES_VERSION


def is_complete(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in BINARIES)


def build_assets(directory: Path) -> None:
    """Fill `directory` with the three binaries; an existing binary is not built again.

    Raises AssetsUnavailableError where Go, the network or disk space is missing. Another build of the same directory
    that runs at the same time is waited for.
    """
    if is_complete(directory):
        return
    go = _find_go()
    directory.mkdir(parents=True, exist_ok=True)
    with _sole_builder(directory):
        if is_complete(directory):
            return
        _require_disk(directory)
        workshop = directory / "build"
        workshop.mkdir(exist_ok=True)
        _write_module(go, workshop)
        for name in BINARIES:
            if not os.access(directory / name, os.X_OK):
                _build_binary(go, workshop, name)
                (workshop / name).replace(directory / name)
        shutil.rmtree(workshop)


def _find_go() -> str:
    go = shutil.which("go")
    if go is None:
        raise AssetsUnavailableError(
            "Go is not installed, so no Kubernetes control plane can be built here: "
            f"install Go {REQUIRED_GO[0]}.{REQUIRED_GO[1]} or newer, or point KUBEBUILDER_ASSETS at ready binaries."
        )
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"go(\d+)\.(\d+)", answer)
    if match is None or (int(match[1]), int(match[2])) < REQUIRED_GO:
        raise AssetsUnavailableError(
            f"Kubernetes {KUBERNETES_VERSION} needs Go {REQUIRED_GO[0]}.{REQUIRED_GO[1]} or newer, "
            f"and {go} is {answer.strip() or 'of an unknown version'}: update Go."
        )
    return go


def _require_disk(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < REQUIRED_DISK_BYTES:
        raise AssetsUnavailableError(
            f"Building Kubernetes takes up to {REQUIRED_DISK_BYTES // 1024**3} GiB of disk and {directory} has "
            f"{free / 1024**3:.1f} GiB left: free some, or set XDG_CACHE_HOME to a larger disk."
        )


@contextmanager
def _sole_builder(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_module(go: str, workshop: Path) -> None:
    """Lay out a module that depends on Kubernetes, with replace lines for staging: Go ignores a dependency's own."""
    described = _run_go(go, ["mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES_VERSION}"], workshop)
    kubernetes_module = Path(json.loads(described)["GoMod"]).read_text()
    staging = re.findall(r"^\s*(\S+) => \./staging/src/", kubernetes_module, re.MULTILINE)
    replacements = "".join(f"\t{module} => {module} {STAGING_VERSION}\n" for module in staging)
    (workshop / "go.mod").write_text(
        "module controlpanel.invalid/kube-assets\n\n"
        f"go {REQUIRED_GO[0]}.{REQUIRED_GO[1]}.0\n\n"
        f"godebug default=go{REQUIRED_GO[0]}.{REQUIRED_GO[1]}\n\n"
        f"require k8s.io/kubernetes {KUBERNETES_VERSION}\n\n"
        f"replace (\n{replacements})\n"
    )
    (workshop / "go.sum").unlink(missing_ok=True)
    (workshop / "etcd.go").write_text(ETCD_MAIN)


def _build_binary(go: str, workshop: Path, name: str) -> None:
    started = time.monotonic()
    _say(f"Building {name} of Kubernetes {KUBERNETES_VERSION} …")
    _run_go(go, ["build", "-p", "2", "-ldflags", _linker_flags(), "-o", name, PACKAGES[name]], workshop)
    _say(f"Built {name} in {time.monotonic() - started:.0f} s.")


def _linker_flags() -> str:
    """Set the version that /version reports, as the release build does; strip symbols, which halves the binaries."""
    _, minor, _ = KUBERNETES_VERSION.split(".")
    stamps = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": "1",
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        ["-s -w", *(f"-X {package}.{key}={value}" for package in packages for key, value in stamps.items())]
    )


def _run_go(go: str, arguments: Sequence[str], workshop: Path) -> str:
    """Run Go at low priority, without cgo (so no C compiler is needed), and return what it printed."""
    niceness = ["nice", "-n", "15"] if shutil.which("nice") else []
    done = subprocess.run(
        [*niceness, go, *arguments],
        cwd=workshop,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false -trimpath", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return done.stdout
    said = done.stderr + (json.loads(done.stdout).get("Error", "") if "-json" in arguments and done.stdout else "")
    last_line = (said.strip().splitlines() or ["no message"])[-1]
    if "no space left on device" in said:
        raise AssetsUnavailableError(
            f"The disk filled up while Kubernetes was built: free some and run it again ({last_line})."
        )
    if any(sign in said for sign in NETWORK_SIGNS):
        raise AssetsUnavailableError(
            f"The Go module proxy can't be reached, so Kubernetes can't be built here: "
            f"check the network and GOPROXY ({last_line})."
        )
    raise AssetsUnavailableError(
        f"Go failed at `go {' '.join(arguments[:2])}` for Kubernetes {KUBERNETES_VERSION}: {last_line}"
    )


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build etcd, kube-apiserver and kube-controller-manager, once.")
    parser.add_argument(
        "--print-directory", action="store_true", help="only print where the binaries are; build nothing"
    )
    options = parser.parse_args()
    directory = assets_directory()
    if options.print_directory:
        sys.stdout.write(f"{directory}\n")
        return 0 if is_complete(directory) else 1
    try:
        build_assets(directory)
    except AssetsUnavailableError as error:
        _say(str(error))
        return 1
    _say(f"A Kubernetes {KUBERNETES_VERSION} control plane is at {directory}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
