"""`/healthz`: whether every part of the panel is up, for supervisors, monitoring and people. `/livez`: whether this web
server answers, for the probes of Kubernetes. No login and no secret; what may name hosts is for staff."""

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
_GOOD = "ok"


@never_cache
@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as requests are answered at all: what else is missing, no restart of the web server mends."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if the database, the queue and the watcher with its API server are up, else 503; either with every
    part's sentence: `{"ok": bool, "parts": {name: {"ok": bool, "message": str}}}`. Only staff are told what exactly the
    watcher says of its trouble: it may name the API server."""
    parts = {"web": _said(True, _GOOD), "database": _check_database()}
    if parts["database"]["ok"]:
        try:
            alive = heartbeats.read()
            parts["queue"] = _said(alive.queue.alive, alive.queue.message)
            tells_why = permissions.is_staff(request.user)
            is_watched = alive.watcher.alive
            words = alive.watcher.message if tells_why or not is_watched else "A watcher leads."
            parts["watcher"] = _said(is_watched, words)
            parts["cluster"] = _check_cluster(is_watched=is_watched, tells_why=tells_why)
        except DatabaseError as error:
            parts["database"] = _said(False, explain_unusable(error) or "The panel's database can't be read.")
    good = all(part["ok"] for part in parts.values())
    return JsonResponse({"ok": good, "parts": parts}, status=200 if good else 503)


def _check_database() -> dict[str, object]:
    try:
        heartbeats.prove_database_writable()
    except DatabaseError as error:
        # The driver's words may name hosts and users: they are for the log, not for everybody.
        logger.warning("The panel's database can't be written: %s", error)
        return _said(False, explain_unusable(error) or "The panel's database does not take a row; its log says why.")
    return _said(True, _GOOD)


def _check_cluster(*, is_watched: bool, tells_why: bool) -> dict[str, object]:
    """Say what the watcher last found out about the API server: a probe of our own would be one more thing to fail."""
    if not is_watched:
        return _said(False, "Whether the API server can be reached is not known while no watcher runs.")
    lease = ProcessLease.objects.filter(name=heartbeats.WATCHER).first()
    details = lease.details if lease else {}
    if details.get("in_step") is True:
        return _said(True, _GOOD)
    trouble = str(details.get("trouble") or "")
    if not trouble:
        return _said(False, "The watcher is still reading what there is in the cluster.")
    return _said(False, trouble if tells_why else "The watcher can't follow the cluster: `manage.py doctor` says why.")


def _said(good: bool, message: str) -> dict[str, object]:
    return {"ok": good, "message": message}
