"""The access table: every address, admin action and management command of the panel, with who may.

Whoever adds one adds its line here; tests/access/test_table.py fails for one without a line, and asks each as every
role. docs/access.md says the same in words.
"""

from dataclasses import dataclass, field
from typing import Literal

# --- Roles -----------------------------------------------------------------------------------------------------

ANONYMOUS = "anonymous"
# Logged in, but not marked as staff.
OUTSIDER = "outsider"
STAFF = "staff without a group"
# Staff without a group too; what the table's addresses point at is this one's.
OWNER = "owner"
VIEWER, OPERATOR, CREDENTIALS, ADMINISTRATOR = "Viewer", "Operator", "Credentials", "Administrator"
SUPERUSER = "superuser"
ROLES = (ANONYMOUS, OUTSIDER, STAFF, OWNER, VIEWER, OPERATOR, CREDENTIALS, ADMINISTRATOR, SUPERUSER)

Roles = tuple[str, ...]
NOBODY: Roles = ()
ANYBODY: Roles = ROLES
ALL_STAFF: Roles = ROLES[2:]
# Those who see every project, and those who see the one that the addresses point at.
SEES_ALL: Roles = (VIEWER, OPERATOR, CREDENTIALS, ADMINISTRATOR, SUPERUSER)
SEES_IT: Roles = (OWNER, *SEES_ALL)
OPERATES: Roles = (OPERATOR, ADMINISTRATOR, SUPERUSER)
ACTS_ON_IT: Roles = (OWNER, *OPERATES)
REVEALS: Roles = (CREDENTIALS, ADMINISTRATOR, SUPERUSER)
ADMINISTERS: Roles = (ADMINISTRATOR, SUPERUSER)

# --- Addresses -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request to an address. `may` get the status `answer`; others `refused`, and staff who don't see the row that
    the address points at `unseen`. Who has to log in first is led to the login page.

    `target` names the row (tests/access/world.py) whose key goes into the address.
    """

    may: Roles
    answer: int = 200
    refused: int = 403
    unseen: int = 403
    method: Literal["get", "post"] = "get"
    data: dict[str, str] = field(default_factory=dict)
    target: str = "project"


def get(may: Roles, answer: int = 200, *, unseen: int = 403, target: str = "project") -> Request:
    return Request(may, answer, unseen=unseen, target=target)


def post(may: Roles, answer: int = 302, *, unseen: int = 403, target: str = "project", **data: str) -> Request:
    return Request(may, answer, unseen=unseen, method="post", data=data, target=target)


def of_model(
    target: str,
    *,
    lists: Roles,
    reads: Roles,
    adds: Roles = NOBODY,
    changes: Roles = NOBODY,
    deletes: Roles = NOBODY,
    unseen: int = 403,
) -> dict[str, tuple[Request, ...]]:
    """Return the addresses that every model of the admin has, by the end of their name. An empty form that may be
    sent is answered with the form and what is missing."""
    return {
        "changelist": (get(lists),),
        "add": (get(adds), post(adds, 200)),
        "history": (get(reads, unseen=unseen, target=target),),
        "delete": (get(deletes, target=target), post(deletes, target=target, post="yes")),
        "change": (get(reads, unseen=unseen, target=target), post(changes, 200, target=target)),
        "": (get(ALL_STAFF, 302, target=target),),
    }


# A record of a project: what nobody writes, and who sees the project reads. The admin leads others to its first page.
def record(target: str) -> dict[str, tuple[Request, ...]]:
    return of_model(target, lists=ALL_STAFF, reads=SEES_IT, unseen=302)


def of_queue(target: str) -> dict[str, tuple[Request, ...]]:
    return of_model(target, lists=ADMINISTERS, reads=ADMINISTERS)


MODELS: dict[str, dict[str, tuple[Request, ...]]] = {
    "projects_project": of_model(
        "project", lists=ALL_STAFF, reads=SEES_IT, adds=OPERATES, changes=ACTS_ON_IT, unseen=302
    ),
    "projects_databasecluster": record("database"),
    "projects_sandbox": record("sandbox"),
    "projects_event": record("event"),
    "projects_sandboxtemplate": of_model(
        "template", lists=SEES_ALL, reads=SEES_ALL, adds=ADMINISTERS, changes=ADMINISTERS, deletes=ADMINISTERS
    ),
    "django_q_ormq": of_queue("task"),
    "django_q_success": of_queue("success"),
    "django_q_failure": of_queue("failure"),
    "django_q_schedule": of_queue("schedule"),
    "auditlog_logentry": of_model("entry", lists=ADMINISTERS, reads=ADMINISTERS),
    "mfa_authenticator": of_model("second_factor", lists=ADMINISTERS, reads=ADMINISTERS, deletes=ADMINISTERS),
    "auth_user": of_model(
        "user", lists=ADMINISTERS, reads=ADMINISTERS, adds=ADMINISTERS, changes=ADMINISTERS, deletes=ADMINISTERS
    ),
    "auth_group": of_model(
        "group", lists=ADMINISTERS, reads=ADMINISTERS, adds=ADMINISTERS, changes=ADMINISTERS, deletes=ADMINISTERS
    ),
}

ADDRESSES: dict[str, tuple[Request, ...]] = {
    # Nothing but "alive" and which part is not; both without a name of a project.
    "healthz": (Request(ANYBODY, 503),),
    "livez": (get(ANYBODY),),
    # Or by a token, whoever has it: tests/unit/controlpanel/monitoring/test_metrics.py.
    "metrics": (get(SEES_ALL),),
    "home": (get(ANYBODY, 302),),
    # --- The own pages
    "projects:list": (get(ALL_STAFF),),
    "projects:add": (get(OPERATES), post(OPERATES, name="new")),
    "projects:detail": (get(SEES_IT, unseen=404),),
    "projects:status": (get(SEES_IT, unseen=404),),
    "projects:credentials": (get(SEES_IT, unseen=404), post(REVEALS, 200, unseen=404, reason="to test")),
    "projects:provision": (post(ACTS_ON_IT, unseen=404),),
    "projects:retry": (post(ACTS_ON_IT, unseen=404),),
    "projects:cancel": (post(ACTS_ON_IT, unseen=404),),
    "projects:rotate_password": (get(ACTS_ON_IT, unseen=404), post(ACTS_ON_IT, unseen=404)),
    # One that runs is not forgotten: the page says so.
    "projects:forget": (get(ACTS_ON_IT, unseen=404), post(ACTS_ON_IT, 200, unseen=404)),
    "projects:delete": (
        get(ACTS_ON_IT, unseen=404),
        post(ACTS_ON_IT, unseen=404),
        # What was adopted is deleted by those who may delete everybody's.
        post(OPERATES, unseen=404, delete_adopted="yes"),
    ),
    # --- The admin's own
    "admin:index": (get(ALL_STAFF),),
    "admin:login": (Request((ANONYMOUS, OUTSIDER), refused=302, unseen=302), post(ANYBODY, 200)),
    "admin:logout": (Request(ALL_STAFF, method="post", refused=302, unseen=302),),
    "admin:password_change": (get(ALL_STAFF), post(ALL_STAFF, 200)),
    "admin:password_change_done": (get(ALL_STAFF),),
    "admin:jsi18n": (get(ALL_STAFF),),
    "admin:search": (get(ALL_STAFF),),
    # Without the name of a field there is nothing to complete.
    "admin:autocomplete": (get(NOBODY),),
    "admin:view_on_site": (get(ALL_STAFF, 302),),
    "admin:app_list": (get(ALL_STAFF),),
    "admin/(?P<url>.*)$": (get(ALL_STAFF, 404),),
    "admin:auth_user_password_change": (get(ADMINISTERS, target="user"), post(ADMINISTERS, 200, target="user")),
    "admin:auditlog_logentry_export": (get(ADMINISTERS),),
    # --- Unmanaged clusters
    "admin:projects_foundcluster_changelist": (get(SEES_ALL),),
    "admin:projects_foundcluster_fragment": (get(SEES_ALL),),
    "admin:projects_foundcluster_rescan": (post(SEES_ALL),),
    "admin:projects_foundcluster_adopt": (get(OPERATES, target="found"), post(OPERATES, 200, target="found")),
}
ADDRESSES |= {
    "admin:projects_orphan_changelist": (get(SEES_ALL),),
    "admin:projects_orphan_fragment": (get(SEES_ALL),),
    "admin:projects_orphan_rescan": (post(SEES_ALL),),
    "admin:projects_orphan_delete": (get(OPERATES, target="orphan"), post(OPERATES, 200, target="orphan")),
    "admin:projects_orphan_release": (get(OPERATES, target="orphan"), post(OPERATES, 200, target="orphan")),
}
for _model, _addresses in MODELS.items():
    for _end, _requests in _addresses.items():
        _app, _, _name = _model.rpartition("_")
        ADDRESSES[f"admin:{_model}_{_end}" if _end else f"admin/{_app}/{_name}/<path:object_id>/"] = _requests

# Addresses that are there for whoever is not logged in; all others lead to the login page.
OPEN = frozenset({"healthz", "livez", "metrics", "home", "admin:login", "admin:logout"})

# --- Actions of the admin --------------------------------------------------------------------------------------

ACTIONS: dict[tuple[str, str], Roles] = {
    ("projects.project", "provision_selected"): ACTS_ON_IT,
    ("projects.project", "retry_selected"): ACTS_ON_IT,
    ("projects.project", "cancel_selected"): ACTS_ON_IT,
    ("projects.project", "rotate_passwords"): ACTS_ON_IT,
    ("projects.project", "delete_selected_projects"): ACTS_ON_IT,
    ("auth.user", "delete_selected"): ADMINISTERS,
    ("auth.group", "delete_selected"): ADMINISTERS,
}
# The row to press it on, where it is not the one that the addresses point at.
ACTION_TARGETS = {"cancel_selected": "waiting"}

# --- Commands --------------------------------------------------------------------------------------------------

# Whoever has a shell with the panel's settings may give all of them: such a person has the database and the keys too.
# What each leaves behind of who gave it: "event" in the project's timeline, "log" in the audit log, or nothing, since
# it only looks, or runs a part of the panel, or cleans up.
COMMANDS: dict[str, str] = {
    "adopt": "event",
    "alive": "looks",
    "cancel": "event",
    "credentials": "event",
    "delete": "event",
    "devcluster": "runs",
    "doctor": "looks",
    "export_state": "looks",
    "forget": "event",
    "import_state": "log",
    # An event where this panel knows the project, else a line of the log.
    "orphans": "event",
    "plan": "looks",
    "provision": "event",
    "prune_events": "log",
    "retry": "event",
    "rotate_keys": "log",
    "rotate_password": "event",
    "status": "looks",
    "up": "runs",
    "watch": "runs",
    "account_unsetmultipleprimaryemails": "cleans",
    "audit": "looks",
    # Both are for whoever sets the panel up; the log is kept from the panel's own people.
    "auditlogflush": "cleans",
    "auditlogmigratejson": "cleans",
    "axes_list_attempts": "looks",
    **dict.fromkeys(("axes_reset", "axes_reset_ip", "axes_reset_ip_username", "axes_reset_username"), "log"),
    **dict.fromkeys(("axes_reset_failure_logs", "axes_reset_logs"), "cleans"),
    "qcluster": "runs",
    "qinfo": "looks",
    "qmemory": "looks",
    "qmonitor": "looks",
    "runserver": "runs",
}
