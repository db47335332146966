"""Reads responses of an API server with limits. They are untrusted input; a proxy may have sent them."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

from projects.confidential.redaction import one_line, redact
from provisioning.objects.readers import MOST_LISTED, Object, mapping, metadata_of, objects, text
from provisioning.objects.refusals import is_status

# etcd stores objects of up to 1.5 MiB; a page of 500 Clusters takes a few MiB.
LONGEST_ANSWER = 64 * 1024 * 1024
LONGEST_EVENT = 8 * 1024 * 1024
# Error responses are short.
LONGEST_REFUSAL = 64 * 1024
# For an error response that isn't a Status, such as a proxy's page.
_LONGEST_QUOTE = 200
_PART = 256 * 1024
_LONGEST_RETRY_AFTER_S = 300.0


class NonsenseError(Exception):
    """A response that no API server sends. The message continues "The API server … "."""


def read_body(response: urllib3.BaseHTTPResponse, *, within_s: float) -> bytes:
    """Return the whole body and release the connection. Of an error response, only its beginning is read.

    Raises NonsenseError for a body that doesn't end, and urllib3 errors for one that breaks off.
    """
    until_s = time.monotonic() + within_s
    body = bytearray()
    try:
        while part := response.read1(_PART):
            body += part
            if response.status >= 300 and len(body) >= LONGEST_REFUSAL:
                break
            _check_bounds(len(body), until_s, within_s)
    finally:
        # A connection with unread data can't be reused.
        response.close()
        response.release_conn()
    return bytes(body)


def _check_bounds(length: int, until_s: float, within_s: float) -> None:
    if length > LONGEST_ANSWER:
        raise NonsenseError(f"sent an answer of more than {LONGEST_ANSWER // 1024 // 1024} MiB")
    if time.monotonic() > until_s:
        raise NonsenseError(f"did not finish its answer within {within_s:g} s")


def read_lines(response: urllib3.BaseHTTPResponse, *, within_s: float) -> Iterator[bytes]:
    """Yield the lines of a stream until it ends, or until the first line after `within_s`.

    Raises NonsenseError for a line that doesn't end, and urllib3 errors for a stream that breaks off.
    """
    until_s = time.monotonic() + within_s
    line = bytearray()
    while part := response.read1(_PART):
        first, *others = part.split(b"\n")
        line += first
        for other in others:
            yield bytes(line)
            line = bytearray(other)
        if len(line) > LONGEST_EVENT:
            raise NonsenseError(f"sent a watch event of more than {LONGEST_EVENT // 1024 // 1024} MiB")
        if time.monotonic() > until_s:
            return


def parse(body: bytes, what: str = "an answer") -> Mapping[str, Any]:
    """Return the JSON object in `body`. Raises NonsenseError for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise NonsenseError(f"sent {what} that is not JSON") from None
    if not isinstance(value, Mapping):
        raise NonsenseError(f"sent {what} that is not an object")
    return value


def check_named(answer: Object, name: str) -> Object:
    """Return the object if it has the requested name. Raises NonsenseError for another one: unknown is not absent."""
    if metadata_of(answer).get("name") != name:
        raise NonsenseError(f"sent something else than {name}, which it was asked for")
    return answer


def items_of(page: Object) -> list[Object]:
    """Return the objects of a list. Raises NonsenseError for anything else: unknown is not absent."""
    items = page.get("items")
    if items is None and text(page.get("kind")).endswith("List"):
        return []
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise NonsenseError("sent a list without its objects")
    return items


def read_refusal(body: bytes) -> Object | None:
    """Return the Status of an error response; None for any other body, such as a proxy's page."""
    try:
        answer = parse(body)
    except NonsenseError:
        return None
    return answer if is_status(answer) else None


def read_quote(body: bytes) -> str:
    """Return the beginning of a body as one line."""
    return one_line(body.decode("utf-8", "replace"), _LONGEST_QUOTE)


def read_causes(status: Object) -> str:
    """Return the causes of a Status as one line, for a Status without a message."""
    causes = objects(mapping(status.get("details")).get("causes"))[:MOST_LISTED]
    parts = [": ".join(filter(None, (text(one.get("field")), text(one.get("message"))))) for one in causes]
    return redact("; ".join(filter(None, parts)))


def read_retry_after(header: str) -> float | None:
    """Return Retry-After in seconds, at most five minutes; None for anything else, such as a date."""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return min(seconds, _LONGEST_RETRY_AFTER_S) if math.isfinite(seconds) and seconds >= 0 else None
