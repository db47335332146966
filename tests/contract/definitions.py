"""CustomResourceDefinitions for tests, in groups that no other definition of the cluster uses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from tests.contract.conftest import Place, eventually
from tests.support.rest import Object, Rest

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Resource:
    """An installed custom resource."""

    group: str
    versions: tuple[str, ...]
    """Those served, in the order of the definition."""
    plural: str
    kind: str

    def path(self, place: Place, *rest: str, version: str | None = None) -> str:
        return place.path(f"{self.group}/{version or self.versions[0]}", self.plural, *rest)

    def body(self, name: str, spec: object, version: str | None = None, **extra: object) -> Object:
        api_version = f"{self.group}/{version or self.versions[0]}"
        return {"apiVersion": api_version, "kind": self.kind, "metadata": {"name": name}, "spec": spec, **extra}


@contextmanager
def installed(api: Rest, definition: Object) -> Iterator[Resource]:
    """Install a definition, wait until every version is served and listed, and remove it with its objects at the end.

    A real API server serves a resource some time before its discovery documents have it: two controllers.
    """
    spec = definition["spec"]
    served = tuple(version["name"] for version in spec["versions"] if version["served"])
    resource = Resource(spec["group"], served, spec["names"]["plural"], spec["names"]["kind"])
    api.create(DEFINITIONS, definition)
    try:
        for version in served:
            eventually(partial(_is_served, api, resource, version), bool)
        yield resource
    finally:
        api.delete(f"{DEFINITIONS}/{definition['metadata']['name']}")


def _is_served(api: Rest, resource: Resource, version: str) -> bool:
    """Whether objects can be listed, and the discovery of group and version says so."""
    path = f"/apis/{resource.group}/{version}"
    listed, versions = api.get(path), api.get(f"/apis/{resource.group}")
    return (
        listed.status == versions.status == api.get(f"{path}/{resource.plural}").status == 200
        and resource.plural in {item["name"] for item in listed.body["resources"]}
        and version in {item["version"] for item in versions.body["versions"]}
    )


def regrouped(definition: Object, group: str) -> Object:
    """Return the definition for another group, without its webhook and its status."""
    copied = copy.deepcopy(definition)
    copied["spec"]["group"] = group
    copied["metadata"] = {"name": f"{copied['spec']['names']['plural']}.{group}"}
    copied["spec"].pop("conversion", None)
    copied["spec"].pop("preserveUnknownFields", None)
    copied.pop("status", None)
    return copied


def read_definitions(directory: Path) -> dict[str, Object]:
    """The definitions of a directory of YAML files, by plural name."""
    found = [yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(directory.glob("*.yaml"))]
    return {definition["spec"]["names"]["plural"]: definition for definition in found}
