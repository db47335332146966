"""Reads values from Kubernetes objects, which may be missing, mistyped, huge or hostile. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from projects.confidential.redaction import one_line

# An object as JSON from the cluster: any field may be missing, mistyped, huge or hostile.
Object = Mapping[str, Any]
# The limit of a 64-bit column, and of Kubernetes' own numbers.
_GREATEST_NUMBER = 2**63 - 1
_LONGEST_UID = 64
_LONGEST_LABEL = 63
_LONGEST_ANNOTATION = 1000
MOST_LISTED = 5


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the JSON objects in the list `value`; [] if it isn't a list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def number(value: Any) -> int:
    """Return `value` if it is a whole number from 0 to 2⁶³-1, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _GREATEST_NUMBER else 0


def text(value: Any, limit: int = 500) -> str:
    """Return `value` as one printable line of at most `limit` characters, masked before it is cut; "" if it isn't a
    string."""
    return one_line(value, limit) if isinstance(value, str) else ""


def metadata_of(item: Object | None) -> Mapping[str, Any]:
    return mapping(mapping(item).get("metadata"))


def uid_of(item: Object | None) -> str:
    return text(metadata_of(item).get("uid"), _LONGEST_UID)


def labels_of(item: Object | None) -> dict[str, str]:
    labels = mapping(metadata_of(item).get("labels"))
    return {str(key): text(value, _LONGEST_LABEL) for key, value in labels.items()}


def annotations_of(item: Object | None) -> dict[str, str]:
    """Return the annotations, each cut to 1,000 characters. Those that the panel reads are shorter."""
    annotations = mapping(metadata_of(item).get("annotations"))
    return {str(key): text(value, _LONGEST_ANNOTATION) for key, value in annotations.items()}


def moment(value: Any) -> datetime | None:
    """Return a time of the API server, in UTC; None for anything else."""
    try:
        at = datetime.fromisoformat(text(value))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def created_at(item: Object | None) -> datetime | None:
    """Return the creation time that the API server set; None if it is missing or unreadable."""
    return moment(metadata_of(item).get("creationTimestamp"))
