"""Masks what django-q stores and logs of a task, in the worker that ran it, which knows the secrets that it used."""

from typing import Any

from django_q.signals import post_execute_in_worker

from projects.confidential.redaction import redact_all


def _mask_result(task: dict[str, Any], **_: Any) -> None:
    """Mask secrets in a task's result, which is the error and the traceback of a task that failed."""
    if isinstance(task.get("result"), str):
        task["result"] = redact_all(task["result"])


def mask_results() -> None:
    """Mask the result of each task from now on, before the worker stores it."""
    post_execute_in_worker.connect(_mask_result, dispatch_uid="mask_result")
