"""How the schema of the panel's database compares with this code."""

from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from projects.confidential.redaction import one_line


def list_pending_migrations(alias: str = "default") -> list[str]:
    """Return the migrations that this code has and the database lacks. Raises DatabaseError and BadMigrationError."""
    executor = MigrationExecutor(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def list_unknown_migrations(alias: str = "default") -> list[str]:
    """Return the migrations of installed apps that the database has and this code doesn't: a newer version has run.

    Raises DatabaseError and BadMigrationError.
    """
    loader = MigrationExecutor(connections[alias]).loader
    # A squashed migration stands for those that it replaces, also where their files are gone.
    replaced = {key for migration in loader.replacements.values() for key in migration.replaces}
    unknown = set(loader.applied_migrations) - set(loader.disk_migrations) - replaced
    return sorted(f"{app}.{name}" for app, name in unknown if app in loader.migrated_apps)


def explain_unknown(unknown: list[str]) -> str:
    """Return what a database that is newer than this code means, and what to do."""
    names = ", ".join(one_line(name, 100) for name in unknown[:3])
    return (
        f"The database is newer than this version of the panel: {len(unknown)} of its migrations are unknown here "
        f"({names}{' …' if len(unknown) > 3 else ''}). Install the newer version again, or restore a backup of "
        "the time before the upgrade."
    )
