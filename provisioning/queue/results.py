"""What django-q stores of a task and writes to its log, masked in the worker that ran it: only that one knows which
secrets were at hand."""

from typing import Any

from django_q.signals import post_execute_in_worker

from projects.confidential.redaction import redact_all


def _mask_result(task: dict[str, Any], **_: Any) -> None:
    """Mask secrets in a task's result: of one that failed, its error and traceback."""
    if isinstance(task.get("result"), str):
        task["result"] = redact_all(task["result"])


def mask_results() -> None:
    """Mask the result of each task from now on, before the worker stores it."""
    post_execute_in_worker.connect(_mask_result, dispatch_uid="mask_result")
