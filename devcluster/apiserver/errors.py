"""Errors of the Kubernetes API.

Each error becomes a `Status` object with the reason, message and details of the real server (v1.36).
"""

from __future__ import annotations

import json
from typing import Any

JsonObject = dict[str, Any]
Cause = dict[str, str]


class ApiError(Exception):
    """A refused or failed request. `code` is the HTTP status; the other fields are those of a v1 `Status`."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: JsonObject | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.list_metadata: JsonObject = {}
        """`metadata` of the Status, for example a new continue token with a 410."""

    def to_status(self) -> JsonObject:
        """Return the JSON body of the response."""
        status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.list_metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def qualified(resource: str, group: str) -> str:
    """Return `statefulsets.apps` for `statefulsets` and `apps`. Core resources have no suffix."""
    return f"{resource}.{group}" if group else resource


def build_details(group: str, kind: str, name: str = "", **more: Any) -> JsonObject:
    """Return the `details` of a Status. Empty fields are left out, as on the real server."""
    details: JsonObject = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    details.update(more)
    return details


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    target = f'{qualified(resource, group)} "{name}"' if name else qualified(resource, group)
    return ApiError(403, "Forbidden", f"{target} is forbidden: {why}", details=build_details(group, resource, name))


def page_not_found() -> ApiError:
    """404 for a path that no resource serves. For some paths the real server returns plain text instead."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def not_found(group: str, resource: str, name: str) -> ApiError:
    return ApiError(
        404,
        "NotFound",
        f'{qualified(resource, group)} "{name}" not found',
        details=build_details(group, resource, name),
    )


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details={}
    )


MEDIA_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
"""Media types in the messages of the real server. This server reads protobuf, but does not write it."""


def not_acceptable() -> ApiError:
    message = f"406: Not Acceptable\n\nAvailable representations: {MEDIA_TYPES}"
    return ApiError(406, "NotAcceptable", message, details={})


def failure(code: int, message: str) -> ApiError:
    """Return a Status without reason, which the real server sends for a Go error that is no API error."""
    return ApiError(code, "", message)


def already_exists(group: str, resource: str, name: str) -> ApiError:
    return ApiError(
        409,
        "AlreadyExists",
        f'{qualified(resource, group)} "{name}" already exists',
        details=build_details(group, resource, name),
    )


def conflict(group: str, resource: str, name: str, why: str) -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(resource, group)} "{name}": {why}',
        details=build_details(group, resource, name),
    )


STALE_WRITE = "the object has been modified; please apply your changes to the latest version and try again"


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_large(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unsupported_media_type() -> ApiError:
    return ApiError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {MEDIA_TYPES}",
    )


def unsupported_patch_type(accepted: list[str]) -> ApiError:
    """415. The message names the accepted types for custom resources only."""
    message = (
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
        if accepted
        else "415: Unsupported Media Type"
    )
    return ApiError(415, "UnsupportedMediaType", message, details=None if accepted else {})


def invalid(group: str, kind: str, name: str, causes: list[Cause]) -> ApiError:
    """422 with one cause for each field. The message lists the causes as `field.ErrorList` does."""
    texts: list[str] = []
    for cause in causes:
        field = cause.get("field", "")
        text = f"{field}: {cause['message']}" if field else cause["message"]
        if text not in texts:
            texts.append(text)
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    kind_text = f"{kind}.{group}" if group else kind
    return ApiError(
        422,
        "Invalid",
        f'{kind_text} "{name}" is invalid: {joined}',
        details=build_details(group, kind, name, causes=causes),
    )


def unprocessable_patch() -> ApiError:
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", details={})


def invalid_patch(shown: str, why: str) -> ApiError:
    """422 for a patch whose result does not decode, on the field `patch`."""
    message = f"Invalid value: {quote_value(shown)}: {why}"
    cause = {"reason": "FieldValueInvalid", "message": message, "field": "patch"}
    return ApiError(422, "Invalid", f' "" is invalid: patch: {message}', details={"causes": [cause]})


def internal_error(why: str) -> ApiError:
    return ApiError(
        500,
        "InternalError",
        f"Internal error occurred: {why}",
        details={"causes": [{"message": why}]},
    )


def service_unavailable(why: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", why)


# Causes of 422, with the texts of k8s.io/apimachinery's field package.


def cause_required(field: str, detail: str = "") -> Cause:
    message = "Required value" + (f": {detail}" if detail else "")
    return {"reason": "FieldValueRequired", "message": message, "field": field}


def cause_invalid(field: str, value: Any, detail: str) -> Cause:
    return {"reason": "FieldValueInvalid", "message": f"Invalid value: {quote_value(value)}: {detail}", "field": field}


def cause_forbidden(field: str, detail: str) -> Cause:
    return {"reason": "FieldValueForbidden", "message": f"Forbidden: {detail}", "field": field}


def cause_not_supported(field: str, value: Any, supported: list[str]) -> Cause:
    listed = ", ".join(f'"{one}"' for one in supported)
    return {
        "reason": "FieldValueNotSupported",
        "message": f"Unsupported value: {quote_value(value)}: supported values: {listed}",
        "field": field,
    }


def cause_duplicate(field: str, value: Any) -> Cause:
    return {"reason": "FieldValueDuplicate", "message": f"Duplicate value: {quote_value(value)}", "field": field}


def cause_type_invalid(field: str, value: Any, detail: str) -> Cause:
    return {
        "reason": "FieldValueTypeInvalid",
        "message": f"Invalid value: {quote_value(value)}: {detail}",
        "field": field,
    }


def cause_too_long(field: str, detail: str) -> Cause:
    return {"reason": "FieldValueTooLong", "message": f"Too long: {detail}", "field": field}


def quote_value(value: Any) -> str:
    """Return a value as `field.Error` prints it: strings in double quotes, other values as JSON."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
