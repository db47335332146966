"""What a sandbox runs, by name."""

import shlex

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from projects.domain.kubernetes_values import DOMAIN, IMAGE, QUANTITY, READINESS_PATH
from projects.domain.ports import parse_ports

validate_quantity = RegexValidator(
    QUANTITY,
    "Write an amount as Kubernetes does: 500m, 0.5, 512Mi, 10Gi.",
)
validate_domain = RegexValidator(
    DOMAIN,
    "A domain has lower-case letters, digits, hyphens and dots, such as sandboxes.example.org.",
)


def validate_ports(text: str) -> None:
    parse_ports(text)


class SandboxTemplate(models.Model):
    """What the sandboxes of some projects run, by name. A change restarts them; storage stays as they were made."""

    name = models.CharField(max_length=60, unique=True)
    description = models.TextField(blank=True, max_length=2000)
    image = models.CharField(max_length=300, help_text="registry/name:tag; pin it by digest where it matters.")
    command = models.CharField(max_length=500, blank=True, help_text="Instead of the image's own; words as in a shell.")
    ports = models.CharField(
        max_length=300,
        default="app:3000",
        validators=[validate_ports],
        help_text="name:number, …; the main one first.",
    )
    readiness_path = models.CharField(
        max_length=200,
        blank=True,
        validators=[RegexValidator(READINESS_PATH, "A path starts with a slash and has no spaces: /healthz")],
        help_text="Path on the first port that answers 200 when it is ready; without one, the port has to open.",
    )
    cpu = models.CharField("CPU", max_length=20, default="500m", validators=[validate_quantity])
    memory = models.CharField(max_length=20, default="512Mi", validators=[validate_quantity])
    storage = models.CharField(max_length=20, default="10Gi", validators=[validate_quantity])
    storage_class = models.CharField(max_length=253, blank=True, validators=[validate_domain])
    domain = models.CharField(
        max_length=150,
        blank=True,
        validators=[validate_domain],
        help_text="With it, each port gets an Ingress at {sandbox}-{port}.{domain}.",
    )
    ingress_class = models.CharField(max_length=253, blank=True, validators=[validate_domain])
    tls_secret = models.CharField(
        "TLS Secret", max_length=253, blank=True, validators=[validate_domain], help_text="For all ports: a wildcard."
    )
    cluster_issuer = models.CharField(
        max_length=253,
        blank=True,
        validators=[validate_domain],
        help_text="cert-manager makes each port a certificate of its own.",
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        wrong: dict[str, str] = {}
        if self.image and not IMAGE.fullmatch(self.image):
            wrong["image"] = "This is no image: write registry/name:tag, such as registry.example.org/team/app:1.2."
        try:
            shlex.split(self.command)
        except ValueError:
            wrong["command"] = "A quotation mark is open. Close it."
        if self.tls_secret and self.cluster_issuer:
            wrong["cluster_issuer"] = (
                "cert-manager would write the certificate of one port over the TLS Secret that "
                "all of them share. Give one of the two: the TLS Secret, or the issuer."
            )
        if wrong:
            raise ValidationError(wrong)
