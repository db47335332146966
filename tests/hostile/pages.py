"""All addresses of the panel and all forms in its pages. Both are found, not listed, so new ones are tested too."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode

from django.apps import apps
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse

_TYPED = ("text", "textarea", "email", "url", "number", "search", "")


def patterns(resolver: URLResolver | None = None, namespace: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield the name of each address, with its namespace, and the names of its arguments."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern, f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield f"{namespace}{pattern.name}", set(pattern.pattern.converters) | set(pattern.pattern.regex.groupindex)


def addresses(ids: dict[str, object]) -> list[str]:
    """Return all addresses with their arguments filled in. `ids` maps a model's lower-case name to the key of a row."""
    found = []
    for name, arguments in patterns():
        model = name.split("_")[-2] if name.count("_") > 1 else "project"
        key = ids.get(model, ids["project"])
        values = {"app_label": "projects", "content_type_id": 1, "url": "x"}
        try:
            found.append(reverse(name, kwargs={argument: values.get(argument, key) for argument in arguments}))
        except NoReverseMatch:
            continue
    return sorted(set(found))


@dataclass(repr=False)
class Form:
    """A form of a page: its target, and its fields as a browser sends them."""

    method: str
    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)

    def body(self, typed: dict[str, str]) -> bytes:
        """Return the fields, some with other values, as they are sent. Lone surrogates are sent as some clients send
        them.
        """
        values = {**self.fields, **{name: [value] for name, value in typed.items()}}
        return urlencode(values, doseq=True, encoding="utf-8", errors="surrogatepass").encode()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._named = ""
        self._text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self._open = Form(given.get("method", "get").lower(), given.get("hx-post") or given.get("action", ""))
            self.forms.append(self._open)
        form = self._open
        if form is None:
            return
        kind = given.get("type", "text") if tag == "input" else tag
        if tag == "select":
            self._named = name
            form.fields.setdefault(name, [])
        elif tag == "option" and "selected" in given and self._named:
            form.fields[self._named].append(given.get("value", ""))
        elif tag == "textarea":
            self._named, self._text = name, []
            # A secret is never sent back.
            if "panel-secret" not in given.get("class", "").split():
                form.typed.add(name)
        elif name and tag == "input" and (kind not in ("checkbox", "radio") or "checked" in given):
            form.fields.setdefault(name, []).append(given.get("value", ""))
            if kind in _TYPED:
                form.typed.add(name)

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "textarea" and self._open is not None and self._text is not None:
            # Browsers ignore the first line break.
            self._open.fields[self._named] = ["".join(self._text).removeprefix("\n")]
            self._text = None


def forms_of(html: str) -> list[Form]:
    reader = _Reader()
    reader.feed(html)
    return reader.forms


def send(client: Client, method: str, path: str, body: bytes = b""):
    return client.generic(method, path, body, content_type="application/x-www-form-urlencoded")


def rows() -> dict[str, int]:
    """Return the number of rows of each table, which a refused request must not change."""
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}
