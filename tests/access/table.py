"""The access table: every URL, admin action and management command of the panel, and the roles that can use it.

New ones need a line here: tests/access/test_table.py fails without it, and requests each as every role. docs/access.md
describes the same rules.
"""

from dataclasses import dataclass, field
from typing import Literal

# --- Roles -----------------------------------------------------------------------------------------------------

ANONYMOUS = "anonymous"
# A user without staff status.
OUTSIDER = "outsider"
STAFF = "staff without a group"
# Staff without a group, and owner of the project in the URLs.
OWNER = "owner"
VIEWER, OPERATOR, CREDENTIALS, ADMINISTRATOR = "Viewer", "Operator", "Credentials", "Administrator"
SUPERUSER = "superuser"
ROLES = (ANONYMOUS, OUTSIDER, STAFF, OWNER, VIEWER, OPERATOR, CREDENTIALS, ADMINISTRATOR, SUPERUSER)

Roles = tuple[str, ...]
NOBODY: Roles = ()
ANYBODY: Roles = ROLES
ALL_STAFF: Roles = ROLES[2:]
# Roles that see every project, and those that see the project in the URLs.
SEES_ALL: Roles = (VIEWER, OPERATOR, CREDENTIALS, ADMINISTRATOR, SUPERUSER)
SEES_IT: Roles = (OWNER, *SEES_ALL)
OPERATES: Roles = (OPERATOR, ADMINISTRATOR, SUPERUSER)
ACTS_ON_IT: Roles = (OWNER, *OPERATES)
REVEALS: Roles = (CREDENTIALS, ADMINISTRATOR, SUPERUSER)
ADMINISTERS: Roles = (ADMINISTRATOR, SUPERUSER)

# --- URLs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request to a URL. The roles `may` get the status `answer`, others `refused`, and staff who can't see the row in
    the URL `unseen`. Anonymous users are redirected to the login page.

    `target` names the row (tests/access/world.py) whose key is in the URL.
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
    """Return the requests of a model's admin URLs by the suffix of their name. An empty form returns the form with its
    errors."""
    return {
        "changelist": (get(lists),),
        "add": (get(adds), post(adds, 200)),
        "history": (get(reads, unseen=unseen, target=target),),
        "delete": (get(deletes, target=target), post(deletes, target=target, post="yes")),
        "change": (get(reads, unseen=unseen, target=target), post(changes, 200, target=target)),
        "": (get(ALL_STAFF, 302, target=target),),
    }


# A read-only record of a project, for users who can see the project. The admin redirects others to its index page.
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
    # Public: they contain no project names.
    "healthz": (Request(ANYBODY, 503),),
    "livez": (get(ANYBODY),),
    # Also with a token: tests/unit/controlpanel/monitoring/test_metrics.py.
    "metrics": (get(SEES_ALL),),
    "home": (get(ANYBODY, 302),),
    # --- HTMX pages
    "projects:list": (get(ALL_STAFF),),
    "projects:add": (get(OPERATES), post(OPERATES, name="new")),
    "projects:detail": (get(SEES_IT, unseen=404),),
    "projects:status": (get(SEES_IT, unseen=404),),
    "projects:warnings": (get(ALL_STAFF),),
    "projects:credentials": (get(SEES_IT, unseen=404), post(REVEALS, 200, unseen=404, reason="to test")),
    "projects:provision": (post(ACTS_ON_IT, unseen=404),),
    "projects:retry": (post(ACTS_ON_IT, unseen=404),),
    "projects:cancel": (post(ACTS_ON_IT, unseen=404),),
    "projects:rotate_password": (get(ACTS_ON_IT, unseen=404), post(ACTS_ON_IT, unseen=404)),
    "projects:verify": (post(ACTS_ON_IT, unseen=404),),
    "projects:restore_secret": (get(ACTS_ON_IT, unseen=404), post(ACTS_ON_IT, unseen=404)),
    "projects:use_secret": (get(ACTS_ON_IT, unseen=404), post(ACTS_ON_IT, unseen=404)),
    # Running projects can't be forgotten: the page explains the refusal.
    "projects:forget": (get(ACTS_ON_IT, unseen=404), post(ACTS_ON_IT, 200, unseen=404)),
    "projects:delete": (
        get(ACTS_ON_IT, unseen=404),
        post(ACTS_ON_IT, unseen=404),
        # Deleting an adopted database needs delete_project for all projects.
        post(OPERATES, unseen=404, delete_adopted="yes"),
    ),
    # --- Django's admin
    "admin:index": (get(ALL_STAFF),),
    "admin:login": (Request((ANONYMOUS, OUTSIDER), refused=302, unseen=302), post(ANYBODY, 200)),
    "admin:logout": (Request(ALL_STAFF, method="post", refused=302, unseen=302),),
    "admin:password_change": (get(ALL_STAFF), post(ALL_STAFF, 200)),
    "admin:password_change_done": (get(ALL_STAFF),),
    "admin:jsi18n": (get(ALL_STAFF),),
    "admin:search": (get(ALL_STAFF),),
    # Refused without the name of a field.
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

# URLs for anonymous users. All others redirect to the login page.
OPEN = frozenset({"healthz", "livez", "metrics", "home", "admin:login", "admin:logout"})

# --- Actions of the admin --------------------------------------------------------------------------------------

ACTIONS: dict[tuple[str, str], Roles] = {
    ("projects.project", "provision_selected"): ACTS_ON_IT,
    ("projects.project", "retry_selected"): ACTS_ON_IT,
    ("projects.project", "cancel_selected"): ACTS_ON_IT,
    ("projects.project", "verify_selected"): ACTS_ON_IT,
    ("projects.project", "rotate_passwords"): ACTS_ON_IT,
    ("projects.project", "restore_secrets"): ACTS_ON_IT,
    ("projects.project", "delete_selected_projects"): ACTS_ON_IT,
    ("auth.user", "delete_selected"): ADMINISTERS,
    ("auth.group", "delete_selected"): ADMINISTERS,
}
# The row to select, if it is not the project in the URLs.
ACTION_TARGETS = {"cancel_selected": "waiting", "restore_secrets": "replaced"}

# --- Commands --------------------------------------------------------------------------------------------------

# Anyone with a shell and the panel's settings can run every command: they have the database and the keys anyway. The
# value is where the user is recorded: "event" in the project's events, "log" in the audit log. Commands that only look,
# run a component or clean up record nothing.
COMMANDS: dict[str, str] = {
    "accept_cluster": "log",
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
    # An event if this panel knows the project, else an audit log entry.
    "orphans": "event",
    "plan": "looks",
    "provision": "event",
    "prune_events": "log",
    "restore_secret": "event",
    "retry": "event",
    "rotate_keys": "log",
    "rotate_password": "event",
    "status": "looks",
    "up": "runs",
    "use_secret": "event",
    "verify": "event",
    "watch": "runs",
    "account_unsetmultipleprimaryemails": "cleans",
    "audit": "looks",
    # For the owner of the installation only: users of the panel can't delete audit log entries.
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
