"""The embedded cluster without root: all sandboxes and databases run as the panel's own user.

Whoever has the password of a database is its superuser and can run programs as that user, who can read the panel's
keys. So only projects run there whose owner can do everything anyway, unless DEVCLUSTER_SHARED_UID allows all.
"""

import os
from collections.abc import Mapping

from django.conf import settings
from django.db import DatabaseError, connection

from projects.models import Project
from provisioning.objects.names import PROJECT_ID_LABEL, as_uid


def is_shared() -> bool:
    """Whether the embedded cluster that this user starts can't give sandboxes and databases separate users."""
    return settings.EMBEDDED_CLUSTER and os.geteuid() != 0


def explain_shared_user() -> str:
    """Return what a shared user means, and what runs."""
    what = (
        "Sandboxes and databases run as the panel's own user, because it isn't root, and can read its keys and data. "
    )
    if settings.DEVCLUSTER_SHARED_UID == "allow":
        return f"{what}DEVCLUSTER_SHARED_UID=allow runs the projects of all users."
    return (
        f"{what}Therefore only projects of superusers, and projects without an owner, run. To run all projects, start "
        "the panel as root, or set DEVCLUSTER_SHARED_UID=allow if you trust their users with the panel's keys."
    )


def explain_refusal(labels: Mapping[str, str]) -> str:
    """Return why the Pod or Cluster with these labels must not run where users are shared; "" if it may.

    An object of no project was created by a user with permissions in the cluster, and runs.
    """
    uid = as_uid(labels.get(PROJECT_ID_LABEL))
    try:
        project = Project.objects.select_related("owner").filter(uid=uid).first() if uid else None
    except DatabaseError:
        return "The embedded cluster can't read the owner of the project, because the panel's database can't be used."
    if project is None or project.owner is None or project.owner.is_superuser:
        return ""
    return (
        f"The embedded cluster doesn't run as root, so this project of {project.owner.get_username()} would run as the "
        "panel's own user, who can read the panel's keys. Start the panel as root, make a superuser the project's "
        "owner, or set DEVCLUSTER_SHARED_UID=allow."
    )


def answer_embedded_cluster(labels: Mapping[str, str]) -> str:
    """Return `explain_refusal` to a thread of the embedded cluster, which may never ask again. Blocks."""
    try:
        return explain_refusal(labels)
    finally:
        connection.close()
