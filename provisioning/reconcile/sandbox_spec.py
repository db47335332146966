"""What a project's sandbox runs, by its template or by the panel's settings."""

import shlex

from django.conf import settings

from projects.domain.ports import parse_ports
from projects.models import Project, Sandbox, SandboxTemplate
from provisioning.objects.manifests import SandboxSpec


def default_template() -> SandboxTemplate:
    """Return an unsaved template with the values of the settings."""
    return SandboxTemplate(
        name="settings",
        image=settings.SANDBOX_IMAGE,
        command=settings.SANDBOX_COMMAND,
        ports=settings.SANDBOX_PORTS,
        readiness_path=settings.SANDBOX_READINESS_PATH,
        cpu=settings.SANDBOX_CPU,
        memory=settings.SANDBOX_MEMORY,
        storage=settings.SANDBOX_STORAGE,
        storage_class=settings.SANDBOX_STORAGE_CLASS,
        domain=settings.SANDBOX_DOMAIN,
        ingress_class=settings.SANDBOX_INGRESS_CLASS,
        tls_secret=settings.SANDBOX_TLS_SECRET,
        cluster_issuer=settings.SANDBOX_CLUSTER_ISSUER,
    )


def build_spec(project: Project, sandbox: Sandbox | None = None) -> SandboxSpec:
    """Return the spec of the project's sandbox. An existing sandbox keeps its storage, which can't be changed."""
    template = project.template or default_template()
    return SandboxSpec(
        image=template.image,
        ports=parse_ports(template.ports),
        command=tuple(shlex.split(template.command)),
        readiness_path=template.readiness_path,
        cpu=template.cpu,
        memory=template.memory,
        storage=(sandbox.storage if sandbox else "") or template.storage,
        storage_class=sandbox.storage_class if sandbox and sandbox.storage else template.storage_class,
        domain=template.domain,
        ingress_class=template.ingress_class,
        tls_secret=template.tls_secret,
        cluster_issuer=template.cluster_issuer,
    )
