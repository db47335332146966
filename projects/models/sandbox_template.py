"""Sandbox templates: named configurations of sandboxes."""

import shlex

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from projects.domain.kubernetes_values import DOMAIN, IMAGE, QUANTITY, READINESS_PATH
from projects.domain.ports import parse_ports

validate_quantity = RegexValidator(
    QUANTITY,
    "Enter a Kubernetes quantity, such as 500m, 0.5, 512Mi or 10Gi.",
)
validate_domain = RegexValidator(
    DOMAIN,
    "Enter a domain in lower case, such as sandboxes.example.org.",
)


def validate_ports(text: str) -> None:
    parse_ports(text)


class SandboxTemplate(models.Model):
    """What the sandboxes of its projects run. A change restarts them; their storage never changes."""

    name = models.CharField(max_length=60, unique=True)
    description = models.TextField(blank=True, max_length=2000)
    image = models.CharField(
        max_length=300,
        help_text="For example registry.example.org/team/app:1.2. Pin a digest for reproducible sandboxes.",
    )
    command = models.CharField(
        max_length=500, blank=True, help_text="Overrides the image's command. Quoted as in a shell."
    )
    ports = models.CharField(
        max_length=300,
        default="app:3000",
        validators=[validate_ports],
        help_text="Comma-separated name:number pairs, the main port first.",
    )
    readiness_path = models.CharField(
        max_length=200,
        blank=True,
        validators=[
            RegexValidator(READINESS_PATH, "Enter a path that starts with a slash and has no spaces, such as /healthz.")
        ],
        help_text="Path on the main port that returns 200 when ready. Without a path, the port has to be open.",
    )
    cpu = models.CharField("CPU", max_length=20, default="500m", validators=[validate_quantity])
    memory = models.CharField(max_length=20, default="512Mi", validators=[validate_quantity])
    storage = models.CharField(max_length=20, default="10Gi", validators=[validate_quantity])
    storage_class = models.CharField(max_length=253, blank=True, validators=[validate_domain])
    domain = models.CharField(
        max_length=150,
        blank=True,
        validators=[validate_domain],
        help_text="Creates an Ingress at {sandbox}-{port}.{domain} for each port.",
    )
    ingress_class = models.CharField(max_length=253, blank=True, validators=[validate_domain])
    tls_secret = models.CharField(
        "TLS Secret",
        max_length=253,
        blank=True,
        validators=[validate_domain],
        help_text="Wildcard certificate for all ports.",
    )
    cluster_issuer = models.CharField(
        max_length=253,
        blank=True,
        validators=[validate_domain],
        help_text="cert-manager issues a certificate for each port.",
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        wrong: dict[str, str] = {}
        if self.image and not IMAGE.fullmatch(self.image):
            wrong["image"] = (
                "Not a valid image reference. Write registry/name:tag, such as registry.example.org/team/app:1.2."
            )
        try:
            shlex.split(self.command)
        except ValueError:
            wrong["command"] = "Unclosed quotation mark."
        if self.tls_secret and self.cluster_issuer:
            wrong["cluster_issuer"] = (
                "cert-manager would overwrite the shared TLS Secret with the certificate of one port. Set either the "
                "TLS Secret or the cluster issuer, not both."
            )
        if wrong:
            raise ValidationError(wrong)
