"""The objects that `kubectl apply -k` sends: only the features of kustomize that deploy/ uses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
KNOWN = {"apiVersion", "kind", "resources", "components", "images"}


def read_documents(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def assemble(directory: Path) -> list[Manifest]:
    """Return the manifests of a kustomization. Raises AssertionError for a feature that is not supported here."""
    (kustomization,) = read_documents(directory / "kustomization.yaml")
    assert kustomization.keys() <= KNOWN, f"{directory}: {kustomization.keys() - KNOWN} is not known to this test"
    manifests: list[Manifest] = []
    for name in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
        path = (directory / name).resolve()
        manifests += assemble(path) if path.is_dir() else read_documents(path)
    images = {image["name"]: image for image in kustomization.get("images", [])}
    for container in containers_of(manifests):
        if container["image"] in images:
            image = images[container["image"]]
            container["image"] = f"{image['newName']}:{image['newTag']}"
    return manifests


def pod_specs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield the name of each workload with its pod's spec."""
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job", "StatefulSet"):
            yield f"{manifest['kind']} {manifest['metadata']['name']}", manifest["spec"]["template"]["spec"]


def containers_of(manifests: list[Manifest]) -> Iterator[Manifest]:
    for _, spec in pod_specs(manifests):
        yield from spec.get("initContainers", [])
        yield from spec["containers"]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == name]
    return found
