"""The HTTP client of an API server that tests and benchmarks use, and answers that read well in assertions."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

import urllib3

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

REQUEST_TIMEOUT_S = 30.0
Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
Object = dict[str, Any]
Params = Mapping[str, str | int | bool]


@dataclass(frozen=True)
class Cause:
    """One entry of a Status object's details.causes."""

    reason: str
    field: str
    message: str


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Object:
        decoded = json.loads(self.text)
        assert isinstance(decoded, dict), f"not a JSON object: {self.text[:200]}"
        return decoded

    @property
    def reason(self) -> str | None:
        return self.body.get("reason")

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def details(self) -> Object:
        return dict(self.body.get("details") or {})

    @property
    def causes(self) -> list[Cause]:
        return [
            Cause(str(cause.get("reason", "")), str(cause.get("field", "")), str(cause.get("message", "")))
            for cause in self.details.get("causes", [])
        ]

    @property
    def warnings(self) -> list[str]:
        """The texts of `Warning: 299 - "…"` headers."""
        texts = re.findall(r'299 - "((?:[^"\\]|\\.)*)"', self.headers.get("Warning", ""))
        return [text.replace('\\"', '"').replace("\\\\", "\\") for text in texts]

    @property
    def names(self) -> list[str]:
        """Names of a list's items, in the order given."""
        return [item["metadata"]["name"] for item in self.body["items"]]


@dataclass(frozen=True)
class Access:
    """How to reach an API server: its address and one identity."""

    url: str
    token: str | None = None
    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    verify: bool = True

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return None for plain HTTP."""
        if not self.url.startswith("https"):
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.client_certificate:
            context.load_cert_chain(self.client_certificate, self.client_key)
        return context


class RefusedError(Exception):
    """The API server refused a request that had to succeed. `answer` holds its status, reason and message."""

    def __init__(self, verb: str, path: str, answer: Answer) -> None:
        super().__init__(f"{verb} {path}: {answer.status} {answer.text[:600]}")
        self.answer = answer


@dataclass
class Rest:
    """The requests of one identity. Requests are not retried or redirected, and environment variables have no effect.

    `headers` are sent with every request.
    """

    access: Access
    headers: Mapping[str, str] = field(default_factory=dict)
    _pool: urllib3.PoolManager = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._pool = urllib3.PoolManager(retries=False, maxsize=16, ssl_context=self.access.ssl_context())

    def close(self) -> None:
        self._pool.clear()

    def call(
        self,
        verb: Verb,
        path: str,
        body: object = None,
        *,
        params: Params | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. A `body` of text or bytes is sent unchanged, any other as JSON."""
        with self._request(verb, path, body, params, content_type, accept, headers) as response:
            return _answer(response)

    def get(self, path: str, **params: str | int | bool) -> Answer:
        return self.call("GET", path, params=params)

    def post(self, path: str, body: object, **params: str | int | bool) -> Answer:
        return self.call("POST", path, body, params=params)

    def put(self, path: str, body: object, **params: str | int | bool) -> Answer:
        return self.call("PUT", path, body, params=params)

    def patch(self, path: str, body: object, content_type: str, **params: str | int | bool) -> Answer:
        return self.call("PATCH", path, body, content_type=content_type, params=params)

    def merge(self, path: str, body: object, **params: str | int | bool) -> Answer:
        return self.patch(path, body, MERGE_PATCH, **params)

    def apply(self, path: str, body: object, **params: str | int | bool) -> Answer:
        return self.patch(path, body, APPLY_PATCH, **params)

    def delete(self, path: str, body: object = None, **params: str | int | bool) -> Answer:
        return self.call("DELETE", path, body, params=params)

    def send(
        self,
        verb: Verb,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        params: Params | None = None,
    ) -> Object:
        """Send a request that has to succeed; return the body of the answer. Raises RefusedError."""
        answer = self.call(verb, path, body, content_type=content_type, params=params)
        if not 200 <= answer.status < 300:
            raise RefusedError(verb, path, answer)
        return answer.body

    def create(self, path: str, body: object, **params: str | int | bool) -> Object:
        """POST that has to create; return the object as stored. Raises RefusedError."""
        answer = self.post(path, body, **params)
        if answer.status != 201:
            raise RefusedError("POST", path, answer)
        return answer.body

    def read(self, path: str, **params: str | int | bool) -> Object:
        """GET that has to succeed. Raises RefusedError."""
        answer = self.get(path, **params)
        if answer.status != 200:
            raise RefusedError("GET", path, answer)
        return answer.body

    @contextmanager
    def watch(self, path: str, *, timeout_s: int = 10, **params: str | int | bool) -> Iterator[Iterator[Object]]:
        """Open a watch and give its events. The server ends it after `timeout_s` seconds. Raises RefusedError."""
        with self.watch_lines(path, timeout_s=timeout_s, **params) as lines:
            yield (json.loads(line) for line in lines)

    @contextmanager
    def watch_lines(self, path: str, *, timeout_s: int = 10, **params: str | int | bool) -> Iterator[Iterator[bytes]]:
        """Like `watch`, but with unparsed events."""
        query: Params = {"watch": "true", "timeoutSeconds": timeout_s, **params}
        read_timeout_s = timeout_s + REQUEST_TIMEOUT_S
        with self._request("GET", path, None, query, JSON, JSON, None, read_timeout_s) as response:
            if response.status != 200:
                raise RefusedError(
                    "GET",
                    path,
                    _answer(response),
                )
            yield _lines(response)

    def watched(self, path: str, count: int, *, timeout_s: int = 10, **params: str | int | bool) -> list[Object]:
        """Return the first `count` events of a new watch, or fewer if it ends earlier."""
        with self.watch(path, timeout_s=timeout_s, **params) as events:
            return [event for _, event in zip(range(count), events, strict=False)]

    def events(self, path: str, *, timeout_s: int = 1, **params: str | int | bool) -> list[Object]:
        """Return all events of a watch of `timeout_s` seconds."""
        with self.watch(path, timeout_s=timeout_s, **params) as events:
            return list(events)

    @contextmanager
    def _request(
        self,
        verb: Verb,
        path: str,
        body: object,
        params: Params | None,
        content_type: str,
        accept: str,
        headers: Mapping[str, str] | None,
        read_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        sent = {"Accept": accept, **self.headers, **(headers or {})}
        if self.access.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.access.token}")
        payload = None
        if body is not None:
            sent["Content-Type"] = content_type
            payload = body if isinstance(body, str | bytes) else json.dumps(body)
        response = self._pool.request(
            verb,
            self.access.url + path + _query(params),
            body=payload,
            headers=sent,
            timeout=urllib3.Timeout(connect=REQUEST_TIMEOUT_S, read=read_timeout_s),
            redirect=False,
            preload_content=False,
        )
        try:
            yield response
        finally:
            response.close()


def _answer(response: urllib3.BaseHTTPResponse) -> Answer:
    return Answer(response.status, response.headers, response.data.decode("utf-8", "surrogatepass"))


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Split a stream into lines, across its chunks."""
    rest = b""
    for chunk in response.stream(amt=None):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _query(params: Params | None) -> str:
    if not params:
        return ""
    return "?" + urlencode(
        {key: str(value).lower() if isinstance(value, bool) else value for key, value in params.items()}
    )


def refusal(answer: Answer) -> tuple[int, str | None, str]:
    """Return a Status's HTTP status, reason and message, to be compared in one assertion."""
    assert answer.body["kind"] == "Status", answer.text[:300]
    assert answer.body["apiVersion"] == "v1"
    assert answer.body["status"] == "Failure"
    assert answer.body["code"] == answer.status
    assert answer.body["metadata"] == {}
    return answer.status, answer.reason, answer.message


def event_types(events: Sequence[Object]) -> list[tuple[str, str]]:
    """Return (type, object name) of watch events."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]
