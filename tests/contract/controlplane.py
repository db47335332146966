"""A real Kubernetes control plane on loopback: etcd, kube-apiserver and, if available, kube-controller-manager.

`ControlPlane` starts them from a directory of binaries (KUBEBUILDER_ASSETS of envtest) with new certificates,
tokens and service account keys in a temporary directory, which `stop()` removes. There are no nodes: Pods
stay Pending unless a stand-in for the kubelet runs.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import urllib3

from tests.contract.certificates import Certificates, write_certificates

START_DEADLINE_S = 90.0
STOP_GRACE_S = 10.0
PR_SET_PDEATHSIG = 1


class ControlPlaneError(Exception):
    """The control plane did not start. The message names the log to read."""


class ControlPlane:
    """A running control plane, from `start()` (or entering the context) until `stop()`.

    After the start: `url`, `ca_file`, `admin_token` (group system:masters) and `kubeconfig` for other programs.
    """

    def __init__(self, assets: Path, controllers: Sequence[str] = ("*",)) -> None:
        """`controllers` are the names of the controllers to run, as kube-controller-manager spells them."""
        self.assets = assets
        self._controllers = controllers
        self.admin_token = secrets.token_urlsafe(24)
        self.has_controllers = _is_executable(assets / "kube-controller-manager")
        self._children: list[subprocess.Popen[bytes]] = []
        self._root: Path | None = None

    def __enter__(self) -> ControlPlane:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def directory(self) -> Path:
        if self._root is None:
            raise ControlPlaneError("The control plane is not started.")
        return self._root

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def start(self) -> None:
        """Start all processes and wait until /readyz answers ok. Raises ControlPlaneError, and stops them first."""
        for binary in ("etcd", "kube-apiserver"):
            if not _is_executable(self.assets / binary):
                raise ControlPlaneError(
                    f"There is no {binary} in {self.assets}: "
                    "run `make kube-assets`, or point KUBEBUILDER_ASSETS elsewhere."
                )
        self._root = Path(tempfile.mkdtemp(prefix="controlplane-"))
        try:
            self._start_children()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the processes, dependents first, and remove the directory. May be called twice."""
        for child in reversed(self._children):
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children.clear()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None

    def _start_children(self) -> None:
        certificates = write_certificates(self.directory)
        etcd_port, peer_port, self.port, controllers_port = _free_ports(4)
        self.url = f"https://127.0.0.1:{self.port}"
        self._write_credentials()
        self._spawn("etcd", _etcd_arguments(self.directory, etcd_port, peer_port))
        self._spawn("kube-apiserver", _apiserver_arguments(self.directory, certificates, self.port, etcd_port))
        self._wait_until_ready()
        if self.has_controllers:
            arguments = _controllers_arguments(self.directory, certificates, controllers_port, self._controllers)
            self._spawn("kube-controller-manager", arguments)
            self._wait_for("/api/v1/namespaces/default/serviceaccounts/default", "the controllers' first work")

    def _write_credentials(self) -> None:
        (self.directory / "tokens.csv").write_text(f'{self.admin_token},admin,admin-uid,"system:masters"\n')
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: contract\n"
            "clusters: [{name: contract, "
            f"cluster: {{server: '{self.url}', certificate-authority: {self.ca_file}}}}}]\n"
            f"users: [{{name: admin, user: {{token: {self.admin_token}}}}}]\n"
            "contexts: [{name: contract, context: {cluster: contract, user: admin}}]\n"
        )

    def _spawn(self, binary: str, arguments: Sequence[str]) -> None:
        with self._log_of(binary).open("wb") as log:
            child = subprocess.Popen(
                [str(self.assets / binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                preexec_fn=_death_signal_setter(),
            )
        self._children.append(child)

    def _log_of(self, binary: str) -> Path:
        return self.directory / f"{binary}.log"

    def _wait_until_ready(self) -> None:
        self._wait_for("/readyz", "kube-apiserver")

    def _wait_for(self, path: str, what: str) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        with urllib3.PoolManager(ca_certs=str(self.ca_file), retries=False, timeout=5.0) as pool:
            while True:
                self._require_children_alive()
                try:
                    if pool.request("GET", self.url + path, headers=headers).status == 200:
                        return
                except urllib3.exceptions.HTTPError:
                    pass  # not listening yet
                if time.monotonic() > deadline:
                    raise ControlPlaneError(
                        f"After {START_DEADLINE_S:.0f} s there is still no sign of {what}.{self._last_words()}"
                    )
                time.sleep(0.1)

    def _require_children_alive(self) -> None:
        for child in self._children:
            if child.poll() is not None:
                name = Path(str(child.args[0]) if isinstance(child.args, list) else str(child.args)).name
                raise ControlPlaneError(
                    f"{name} ended with code {child.returncode} while it started.{self._last_words()}"
                )

    def _last_words(self) -> str:
        """Return the last error line of each log. The directory is removed before anyone reads the message."""
        words = []
        for log in sorted(self.directory.glob("*.log")):
            lines = log.read_text(errors="replace").strip().splitlines()
            if lines:
                words.append(f"\n  {log.stem}: {lines[-1][:300]}")
        return "".join(words)


def _etcd_arguments(directory: Path, port: int, peer_port: int) -> list[str]:
    address = f"http://127.0.0.1:{port}"
    peer_address = f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={address}",
        f"--advertise-client-urls={address}",
        f"--listen-peer-urls={peer_address}",
        f"--initial-advertise-peer-urls={peer_address}",
        f"--initial-cluster=default={peer_address}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver_arguments(directory: Path, certificates: Certificates, port: int, etcd_port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        # Nothing serves the kubernetes Endpoints here, and a loopback address is not allowed in them.
        "--endpoint-reconciler-type=none",
        "--advertise-address=192.0.2.1",
        f"--tls-cert-file={certificates.server_certificate}",
        f"--tls-private-key-file={certificates.server_key}",
        f"--cert-dir={directory}",
        f"--client-ca-file={certificates.ca_certificate}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={certificates.service_account_key}",
        f"--service-account-signing-key-file={certificates.service_account_key}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--watch-cache=true",
    ]


def _controllers_arguments(
    directory: Path, certificates: Certificates, port: int, controllers: Sequence[str]
) -> list[str]:
    return [
        f"--controllers={','.join(controllers)}",
        f"--kubeconfig={directory / 'kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory}",
        f"--service-account-private-key-file={certificates.service_account_key}",
        f"--root-ca-file={certificates.ca_certificate}",
        "--leader-elect=false",
        "--concurrent-gc-syncs=4",
    ]


def _free_ports(count: int) -> list[int]:
    """Return different ports that are free now."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [int(holder.getsockname()[1]) for holder in holders]
    finally:
        for holder in holders:
            holder.close()


def _is_executable(path: Path) -> bool:
    return os.access(path, os.X_OK)


def _death_signal_setter() -> Callable[[], None] | None:
    """On Linux, end the child when this process is killed. Elsewhere, only `stop()` ends it."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return None
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
