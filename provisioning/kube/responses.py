"""What an API server sends back, read with bounds: it is input like any other, and a proxy may have sent it."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

from projects.confidential.redaction import one_line
from provisioning.objects.readers import Object, mapping, metadata_of, text

# etcd stores objects of up to 1.5 MiB; a page of 500 Clusters takes a few.
LONGEST_ANSWER = 64 * 1024 * 1024
LONGEST_EVENT = 8 * 1024 * 1024
# A refusal is a sentence.
LONGEST_REFUSAL = 64 * 1024
# Of what is no Status, a page of a proxy's for example.
_LONGEST_QUOTE = 200
_PART = 256 * 1024
_LONGEST_RETRY_AFTER_S = 300.0


class NonsenseError(Exception):
    """An answer that no API server gives; the text goes on after "The API server … "."""


def read_body(response: urllib3.BaseHTTPResponse, *, within_s: float) -> bytes:
    """Return the whole body and give the connection back; of a refusal, no more than its beginning.

    Raises NonsenseError for a body that does not end, urllib3's errors for one that breaks off.
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
        # What is left unread makes the connection useless for another request.
        response.close()
        response.release_conn()
    return bytes(body)


def _check_bounds(length: int, until_s: float, within_s: float) -> None:
    if length > LONGEST_ANSWER:
        raise NonsenseError(f"sent an answer of more than {LONGEST_ANSWER // 1024 // 1024} MiB")
    if time.monotonic() > until_s:
        raise NonsenseError(f"did not finish its answer within {within_s:g} s")


def read_lines(response: urllib3.BaseHTTPResponse, *, within_s: float) -> Iterator[bytes]:
    """Yield the lines of a stream until it ends, or until the first one after `within_s`.

    Raises NonsenseError for a line without an end, urllib3's errors for a stream that breaks off.
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
    """Return an object that was asked for by name. Raises NonsenseError for another: unknown is not absent."""
    if metadata_of(answer).get("name") != name:
        raise NonsenseError(f"sent something else than {name}, which it was asked for")
    return answer


def items_of(page: Object) -> list[Object]:
    """Return the objects of a list. Raises NonsenseError for what is no list of objects: unknown is not absent."""
    items = page.get("items")
    if items is None and text(page.get("kind")).endswith("List"):
        return []
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise NonsenseError("sent a list without its objects")
    return items


def read_refusal(body: bytes) -> Mapping[str, Any]:
    """Return the Status in the body of a refusal; for anything else, a Status whose message is its beginning."""
    try:
        return mapping(parse(body))
    except NonsenseError:
        return {"message": one_line(body.decode("utf-8", "replace"), _LONGEST_QUOTE)}


def read_retry_after(header: str) -> float | None:
    """Return the seconds of a Retry-After, five minutes at most; None for anything else, such as a date."""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return min(seconds, _LONGEST_RETRY_AFTER_S) if math.isfinite(seconds) and seconds >= 0 else None
