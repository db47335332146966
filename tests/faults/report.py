"""The evidence of violations, kept in a file: what was violated, the rows, the events, the objects and the log.

Secrets are masked, as in the panel's log. A run is repeatable only as far as threads and processes are, so what it
left has to be kept when it is found.
"""

import json
import pprint
from collections.abc import Iterable
from pathlib import Path

from django.utils import timezone

from projects.confidential.redaction import redact_all
from projects.models import DatabaseCluster, Event, Project, Sandbox
from tests.faults.evidence import Json

_SECRET_FIELDS = frozenset({"password", "pending_password"})
_RULE = "=" * 100
_MOST_LOG_LINES = 400


def new_report(directory: Path) -> Path:
    """Return the path of a file that doesn't exist yet."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"violations-{timezone.now():%Y%m%dT%H%M%S%f}.txt"


def keep(report: Path, violations: Iterable[str], objects: Iterable[Json], log: str) -> None:
    """Append violations with all that is known at this moment: the panel's rows, `objects` of the cluster, `log`."""
    parts = [
        _RULE,
        "\n".join(violations),
        *_sections(objects),
        "Log\n" + "\n".join(log.splitlines()[-_MOST_LOG_LINES:]),
    ]
    with report.open("a") as file:
        file.write(redact_all("\n\n".join(parts)) + "\n\n")


def _sections(objects: Iterable[Json]) -> Iterable[str]:
    for model in (Project, DatabaseCluster, Sandbox):
        names = [field.attname for field in model._meta.concrete_fields if field.name not in _SECRET_FIELDS]
        rows = [pprint.pformat(row, sort_dicts=False, width=160) for row in model.objects.order_by("pk").values(*names)]
        yield "\n".join([f"Rows of {model.__name__}", *rows])
    events = Event.objects.order_by("pk").values_list("at", "project__name", "actor", "reason", "message")
    yield "\n".join(["Events", *(f"{at:%H:%M:%S.%f} {' | '.join(said)}" for at, *said in events)])
    yield "\n".join(["Objects", *(json.dumps(_without_values(item), default=str) for item in objects)])


def _without_values(item: Json) -> Json:
    """Return an object without the values of a Secret, and without managedFields."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    values = {"data": sorted(item["data"])} if item.get("kind") == "Secret" and item.get("data") else {}
    return {**item, "metadata": metadata, **values}
