"""The namespaces that projects may be in: KUBE_NAMESPACE and those of ALLOWED_NAMESPACES."""

from django.conf import settings


def allowed_namespaces() -> list[str]:
    """Return the namespaces in which the panel provisions, sorted."""
    return sorted({settings.KUBE_NAMESPACE, *settings.ALLOWED_NAMESPACES})


def explain_forbidden(namespace: str) -> str:
    """Return why no project may be provisioned in the namespace, "" if one may. An empty one is KUBE_NAMESPACE."""
    allowed = allowed_namespaces()
    if not namespace or namespace in allowed:
        return ""
    return (
        f"The namespace {namespace} is not allowed for projects. Allowed: {', '.join(allowed)}. ALLOWED_NAMESPACES "
        "adds further ones."
    )
