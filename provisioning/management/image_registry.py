"""Asks a registry for an image, as far as this machine can: the nodes that pull it may have another network, mirrors
and credentials."""

import urllib3

from provisioning.management.findings import Finding, failed, ok, warning

_TIMEOUT_S = 3.0
_DOCKER_HUB = "registry-1.docker.io"
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


def manifest_url(image: str) -> str:
    """Return the address of an image's manifest: `node:22` is `library/node` of Docker Hub, as for the runtime."""
    path, _, digest = image.partition("@")
    first, slash, rest = path.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, repository = (first, rest) if is_registry else (_DOCKER_HUB, path)
    if registry in ("docker.io", "index.docker.io"):
        registry = _DOCKER_HUB
    name, colon, tag = repository.rpartition(":")
    repository, tag = (name, tag) if colon else (repository, "latest")
    if registry == _DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return f"https://{registry}/v2/{repository}/manifests/{digest or tag}"


def examine_image(image: str, whose: str) -> Finding:
    """Say whether the registry has the image. What can't be told from here is a warning, never ok."""
    url = manifest_url(image)
    registry = urllib3.util.parse_url(url).netloc
    try:
        with urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S) as pool:
            status = pool.request("HEAD", url, headers={"Accept": _MANIFESTS}, redirect=False).status
    except urllib3.exceptions.HTTPError as error:
        reason = type(error).__name__
        return warning(
            "image",
            f"Unknown: the registry {registry} of the image {image} can't be reached from here ({reason}). The nodes "
            "may reach it.",
        )
    match status:
        case 200:
            return ok("image", f"The registry {registry} has the image {image} of {whose}.")
        case 404:
            return failed(
                "image", f"The registry {registry} has no image {image}. Set SANDBOX_IMAGE or the template's image."
            )
        case 401 | 403:
            return warning(
                "image",
                f"Unknown: the registry {registry} answers, and asks for credentials before it says whether it has the "
                f"image {image}.",
            )
        case _:
            return warning("image", f"Unknown: the registry {registry} answered {status} for the image {image}.")
