"""Fixtures of the contract: one target per run, one namespace per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.contract.targets import Target, open_target
from tests.support.rest import Access, Answer, Rest
from tests.support.waiting import wait_for

T = TypeVar("T")

EFFECT_DEADLINE_S = 120.0
"""Garbage collection on a real server takes 1–2 s, and much longer while hundreds of namespaces are deleted."""


@dataclass(frozen=True)
class Place:
    """The namespace of one test, and the paths in it."""

    name: str

    def path(self, group_version: str, plural: str, *rest: str) -> str:
        """`place.path("apps/v1", "statefulsets", "web", "status")`; core kinds are of group_version "v1"."""
        root = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
        return "/".join([root, "namespaces", self.name, plural, *rest])

    def core(self, plural: str, *rest: str) -> str:
        return self.path("v1", plural, *rest)

    def apps(self, plural: str, *rest: str) -> str:
        return self.path("apps/v1", plural, *rest)


@dataclass(frozen=True)
class Account:
    """A ServiceAccount without permissions, and a client that uses it."""

    name: str
    user: str
    rest: Rest


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    with open_target() as opened:
        yield opened


@pytest.fixture(scope="session")
def api(target: Target) -> Iterator[Rest]:
    """A client with the permissions of an administrator."""
    rest = Rest(target.access)
    yield rest
    rest.close()


@pytest.fixture
def anonymous(target: Target) -> Iterator[Rest]:
    """A client without credentials."""
    rest = Rest(Access(target.access.url, ca_file=target.access.ca_file, verify=target.access.verify))
    yield rest
    rest.close()


@pytest.fixture
def place(api: Rest) -> Iterator[Place]:
    """A new namespace. Its deletion is requested after the test, without waiting for it."""
    namespace = api.create("/api/v1/namespaces", {"metadata": {"generateName": "contract-"}})
    name = namespace["metadata"]["name"]
    yield Place(name)
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def account(target: Target, api: Rest, place: Place) -> Iterator[Account]:
    """A ServiceAccount in the test's namespace, without permissions."""
    api.create(place.core("serviceaccounts"), {"metadata": {"name": "robot"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = api.create(place.core("serviceaccounts", "robot", "token"), request)["status"]["token"]
    access = Access(target.access.url, token=token, ca_file=target.access.ca_file, verify=target.access.verify)
    rest = Rest(access)
    yield Account("robot", f"system:serviceaccount:{place.name}:robot", rest)
    rest.close()


@pytest.fixture
def needs_controllers(target: Target) -> None:
    """Skip the test on a control plane without kube-controller-manager, which has no garbage collection."""
    if not target.has_controllers:
        pytest.skip(f"{target.name} has no controller manager")


def eventually(observe: Callable[[], T], accept: Callable[[T], bool], *, timeout_s: float = EFFECT_DEADLINE_S) -> T:
    """Wait as long as an effect may take on a real server: see `wait_for`."""
    return wait_for(observe, accept, timeout_s=timeout_s)


def gone(api: Rest, path: str) -> Answer:
    """Wait until the object at `path` is gone."""
    return eventually(lambda: api.get(path), lambda answer: answer.status == 404)
