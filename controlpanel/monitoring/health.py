"""`/healthz` reports the health of every component; `/livez` only that this web server responds.

Both are public and contain no secrets. Messages that may name hosts are limited to staff.
"""

import logging

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from projects.domain import permissions
from projects.domain.panel_database import explain_unusable
from provisioning import heartbeats
from provisioning.models import ProcessLease

logger = logging.getLogger(__name__)
_OK = "ok"


@never_cache
@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """Always answer 200, for the liveness probe: restarting the web server doesn't fix other components."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if every component is healthy, else 503.

    The body is `{"ok": bool, "parts": {name: {"ok": bool, "message": str}}}` with the parts web, database, queue,
    watcher, and cluster: the API server as the watcher sees it.
    """
    parts = {"web": _component(True, _OK), "database": _check_database()}
    if parts["database"]["ok"]:
        try:
            alive = heartbeats.read()
            parts["queue"] = _component(alive.queue.alive, alive.queue.message)
            is_detailed = permissions.is_staff(request.user)
            is_watched = alive.watcher.alive
            message = alive.watcher.message if is_detailed or not is_watched else "Watcher running."
            parts["watcher"] = _component(is_watched, message)
            parts["cluster"] = _check_cluster(is_watched=is_watched, is_detailed=is_detailed)
        except DatabaseError as error:
            parts["database"] = _component(False, explain_unusable(error) or "The panel's database can't be read.")
    ok = all(part["ok"] for part in parts.values())
    return JsonResponse({"ok": ok, "parts": parts}, status=200 if ok else 503)


def _check_database() -> dict[str, object]:
    try:
        heartbeats.prove_database_writable()
    except DatabaseError as error:
        # The error may name hosts and users, so it goes to the log only.
        logger.warning("The panel's database can't be written: %s", error)
        return _component(False, explain_unusable(error) or "The database rejects writes. Details are in its log.")
    return _component(True, _OK)


def _check_cluster(*, is_watched: bool, is_detailed: bool) -> dict[str, object]:
    """Return the API server's health as the watcher last reported it."""
    if not is_watched:
        return _component(False, "Unknown while no watcher is running.")
    lease = ProcessLease.objects.filter(name=heartbeats.WATCHER).first()
    details = lease.details if lease else {}
    if details.get("in_step") is True:
        return _component(True, _OK)
    error = str(details.get("error") or "")
    if not error:
        return _component(False, "The watcher is still loading the cluster's objects.")
    general = "The watcher can't reach the cluster. Run `manage.py doctor` for the cause."
    return _component(False, error if is_detailed else general)


def _component(ok: bool, message: str) -> dict[str, object]:
    return {"ok": ok, "message": message}
