"""Validators of a project's fields."""

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from projects.domain import naming


def validate_name(name: str) -> None:
    """Raise ValidationError, with what to do, for a name that can't be used."""
    try:
        naming.clean_name(name)
    except naming.InvalidNameError as error:
        raise ValidationError(str(error), code="invalid_name") from None


validate_namespace = RegexValidator(
    r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z",
    "Enter up to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit.",
)
