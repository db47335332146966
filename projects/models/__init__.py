"""Rows: fields, constraints and querysets, with no I/O beyond them. Imports `domain` and `confidential` only.

Import a model from here: `from projects.models import Project`.
"""

from projects.models.event import Event, EventsAreKeptError
from projects.models.found_cluster import FoundCluster, Inventory, read_inventory
from projects.models.last_applied import LastAppliedManifest
from projects.models.observation import Observation
from projects.models.orphan import Orphan, OrphanAction
from projects.models.project import Project, ProjectQuerySet, ProjectVariable
from projects.models.resources import DatabaseCluster, Resource, Sandbox
from projects.models.sandbox_template import SandboxTemplate
from projects.models.validators import validate_name, validate_namespace

__all__ = [
    "DatabaseCluster",
    "Event",
    "EventsAreKeptError",
    "FoundCluster",
    "Inventory",
    "LastAppliedManifest",
    "Observation",
    "Orphan",
    "OrphanAction",
    "Project",
    "ProjectQuerySet",
    "ProjectVariable",
    "Resource",
    "Sandbox",
    "SandboxTemplate",
    "read_inventory",
    "validate_name",
    "validate_namespace",
]
