"""Colors and sidebar of the admin, as settings of django-unfold."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Control panel",
    "SITE_HEADER": "Control panel",
    "SITE_SUBHEADER": "Databases and sandboxes",
    "SITE_SYMBOL": "database",
    "SITE_URL": reverse_lazy("projects:list"),
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [lambda _: static("projects/panel.css")],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("projects/favicon.svg")}],
    "SCRIPTS": [lambda _: static("projects/panel.js")],
    "DASHBOARD_CALLBACK": "projects.admin.dashboard.add_dashboard",
    "LOGIN": {"form": "controlpanel.accounts.forms.LogInForm"},
    # Indigo: distinct from the badges' green, red, orange and blue.
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(67.3% .182 276.935)",
            "500": "oklch(58.5% .233 277.117)",
            "600": "oklch(51.1% .262 276.966)",
            "700": "oklch(45.7% .24 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "title": "Projects",
                "items": [
                    {
                        "title": "Projects",
                        "icon": "folder",
                        "link": reverse_lazy("admin:projects_project_changelist"),
                        "active": "projects.admin.dashboard.is_among_projects",
                        "permission": "projects.access.sidebar.may_enter",
                    },
                    {
                        "title": "Databases",
                        "icon": "database",
                        "link": reverse_lazy("admin:projects_databasecluster_changelist"),
                        "permission": "projects.access.sidebar.may_enter",
                    },
                    {
                        "title": "Unmanaged clusters",
                        "icon": "travel_explore",
                        "link": reverse_lazy("admin:projects_foundcluster_changelist"),
                        "permission": "projects.access.sidebar.may_view_every_project",
                    },
                    {
                        "title": "Orphaned objects",
                        "icon": "link_off",
                        "link": reverse_lazy("admin:projects_orphan_changelist"),
                        "permission": "projects.access.sidebar.may_view_every_project",
                    },
                    {
                        "title": "Sandboxes",
                        "icon": "deployed_code",
                        "link": reverse_lazy("admin:projects_sandbox_changelist"),
                        "permission": "projects.access.sidebar.may_enter",
                    },
                    {
                        "title": "Sandbox templates",
                        "icon": "deployed_code_history",
                        "link": reverse_lazy("admin:projects_sandboxtemplate_changelist"),
                        "permission": "projects.access.sidebar.may_view_templates",
                    },
                    {
                        "title": "Events",
                        "icon": "history",
                        "link": reverse_lazy("admin:projects_event_changelist"),
                        "permission": "projects.access.sidebar.may_enter",
                    },
                ],
            },
            {
                "title": "Access",
                "collapsible": True,
                "items": [
                    {
                        "title": "Users",
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": "projects.access.sidebar.may_view_users",
                    },
                    {
                        "title": "Groups",
                        "icon": "group",
                        "link": reverse_lazy("admin:auth_group_changelist"),
                        "permission": "projects.access.sidebar.may_view_groups",
                    },
                    {
                        "title": "Second factors",
                        "icon": "phonelink_lock",
                        "link": reverse_lazy("admin:mfa_authenticator_changelist"),
                        "permission": "projects.access.sidebar.may_view_second_factors",
                    },
                    {
                        "title": "Audit log",
                        "icon": "policy",
                        "link": reverse_lazy("admin:auditlog_logentry_changelist"),
                        "permission": "projects.access.sidebar.may_view_audit",
                    },
                ],
            },
            {
                "title": "Queue",
                "collapsible": True,
                "items": [
                    {
                        "title": "Queued tasks",
                        "icon": "pending_actions",
                        "link": reverse_lazy("admin:django_q_ormq_changelist"),
                        "permission": "projects.access.sidebar.may_view_queue",
                    },
                    {
                        "title": "Failed tasks",
                        "icon": "error",
                        "link": reverse_lazy("admin:django_q_failure_changelist"),
                        "permission": "projects.access.sidebar.may_view_queue",
                    },
                    {
                        "title": "Scheduled tasks",
                        "icon": "schedule",
                        "link": reverse_lazy("admin:django_q_schedule_changelist"),
                        "permission": "projects.access.sidebar.may_view_queue",
                    },
                ],
            },
        ],
    },
}
