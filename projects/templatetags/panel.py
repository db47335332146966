"""Template tags and filters of the pages and the admin: badges, relative times, durations, names."""

import re
from datetime import datetime
from itertools import zip_longest
from typing import Any

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django import template
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from projects.audit.log import describe_entry
from projects.domain.verification import explain_unverified, relative_text
from projects.pages import panel_health
from projects.pages.presentation import PHASE_COLORS

register = template.Library()


@register.simple_tag
def ago(at: datetime | None, empty: str = "–") -> SafeString:
    """Return a <time> element with the time to now; its title is the full date. panel.js keeps it current."""
    if at is None:
        return format_html("{}", empty)
    local = timezone.localtime(at)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        at.isoformat(),
        date_format(local, "DATETIME_FORMAT"),
        relative_text(at, timezone.now()),
    )


register.filter("explain_unverified", explain_unverified)


@register.filter
def duration(seconds: float | None) -> str:
    """Return a duration such as `0.4 s`, `34 s`, `2 min 5 s`, `3 h 10 min`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@register.filter
def phase_color(phase: str) -> str:
    return PHASE_COLORS.get(phase, "default")


# Where words longer than this can break.
_LONG_WORD = 24
_BREAKS = r"(?<=[/.:\]])(?=[^/.:\]\s])"

# Labels of stored reasons whose words alone would mislead.
_REASON_LABELS = {
    "AdoptRequested": "Adoption requested",
    "NotRequested": "Not provisioned",
    "OrphanEnded": "Orphaned object resolved",
    "OrphanRequested": "Orphaned object requested",
    "PasswordGivenUp": "Password rotation abandoned",
    "Registered": "Added",
}
# Proper names within labels.
_NAMES = {"Api server": "API server", "Kube blocks": "KubeBlocks"}


@register.filter
def reason_label(reason: str) -> str:
    """Return a CamelCase reason in words: `ClusterNotRunning` → `Cluster not running`."""
    if reason in _REASON_LABELS:
        return _REASON_LABELS[reason]
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in reason).strip()
    words = words[:1].upper() + words[1:]
    for plain, name in _NAMES.items():
        words = words.replace(plain, name)
    return words


@register.simple_tag
def panel_warnings() -> list[str]:
    return panel_health.panel_warnings()


@register.filter
def warnings_version(warnings: list[str]) -> str:
    return panel_health.warnings_version(warnings)


@register.filter
def whole_duration(seconds: float) -> str:
    """Return a duration without fractions: `120 s`, `10 min`."""
    return f"{seconds:.0f} s" if seconds <= 300 or seconds % 60 else f"{seconds / 60:.0f} min"


@register.filter
def inline_code(text: str) -> SafeString:
    """Return the escaped text with `code` between backticks as <code>, and with line breaks as in `breakable`."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return breakable(text)
    pairs = zip_longest(parts[::2], parts[1::2])
    return format_html_join("", "{}{}", ((breakable(part), _code(code)) for part, code in pairs))


@register.filter
def breakable(text: Any) -> SafeString:
    """Return the escaped text in which long paths and image references can break after `/`, `.`, `:` and `]`: browsers
    would break them inside a word."""
    words = (re.sub(_BREAKS, "\0", word) if len(word) > _LONG_WORD else word for word in re.split(r"(\s+)", str(text)))
    return format_html_join(SafeString("<wbr>"), "{}", ((part,) for part in "".join(words).split("\0")))


def _code(text: str | None) -> SafeString:
    return format_html("<code>{}</code>", text) if text else SafeString("")


# Names in breadcrumbs that differ from the app's or model's own: they follow the sidebar.
_DISPLAY_NAMES = {
    "authentication and authorization": "Access",
    "log entries": "Audit log",
    "mfa": "Access",
    "authenticators": "Second factors",
    "django q": "Queue",
}


@register.filter
def display_name(what: Any) -> str:
    """Return the name of an app, a model or a row in breadcrumbs and titles."""
    if isinstance(what, LogEntry):
        return f"{reason_label(describe_entry(what)['what'])}: {what.object_repr}"
    return _DISPLAY_NAMES.get(str(what).lower(), str(what))


@register.simple_tag
def audit_log_url(row: Model) -> str:
    """Return the URL of the row's entries in the audit log; "" for models that the log doesn't cover."""
    if not auditlog.contains(type(row)):
        return ""
    kind = ContentType.objects.get_for_model(row).pk
    return f"{reverse('admin:auditlog_logentry_changelist')}?content_type={kind}&object_pk={row.pk}"
