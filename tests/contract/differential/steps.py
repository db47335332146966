"""Steps of a sequence: requests that can be sent to any server, in a namespace that the sender chooses.

Texts in a body may contain `$uid:PLURAL/NAME`, `$version:PLURAL/NAME` and `$first-version:PLURAL/NAME`: the uid, the
last known and the first known resourceVersion of an object on the server that the request goes to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verb = Literal[
    "create", "apply", "update", "json-patch", "merge-patch", "strategic-patch", "delete", "delete-collection", "get",
    "list", "watch",
]  # fmt: skip
GONE = "$gone"
"""As the value of an edit: remove the field."""


@dataclass(frozen=True)
class Step:
    """One request. The body of an update is a list of edits `[path, value]` of the object as it is on the server."""

    verb: Verb
    plural: str
    name: str = ""
    subresource: str = ""
    body: Any = None
    params: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        where = "/".join(part for part in (self.plural, self.name, self.subresource) if part)
        options = "".join(f" {name}={value}" for name, value in self.params.items())
        body = "" if self.body is None else " " + json.dumps(self.body, ensure_ascii=False)
        return f"{self.verb} {where}{options}{body}"


def to_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return steps without empty fields."""
    empty = asdict(Step("get", ""))
    return [{name: value for name, value in asdict(step).items() if value != empty[name]} for step in steps]


def from_json(items: Sequence[dict[str, Any]]) -> list[Step]:
    return [Step(**item) for item in items]


def edited(body: Any, edits: Sequence[Sequence[Any]]) -> Any:
    """Apply edits in place where their parents exist; `+` as the last part of a path appends to a list."""
    for path, value in edits:
        edit(body, path, value)
    return body


def edit(body: Any, path: str, value: Any) -> None:
    """Set the field at a path (`spec/ports/0/name`), or remove it for GONE. Missing maps on the way are made."""
    *parents, last = path.split("/")
    holder = body
    for part in parents:
        part = part.replace("~1", "/")
        if isinstance(holder, dict):
            if not isinstance(holder.get(part), dict | list):
                if value == GONE:
                    return
                holder[part] = {}
            holder = holder[part]
        elif isinstance(holder, list) and part.isdigit() and int(part) < len(holder):
            holder = holder[int(part)]
        else:
            return
    last = last.replace("~1", "/")
    if isinstance(holder, dict):
        if value == GONE:
            holder.pop(last, None)
        else:
            holder[last] = value
    elif isinstance(holder, list):
        if last == "+" and value != GONE:
            holder.append(value)
        elif last.isdigit() and int(last) < len(holder):
            if value == GONE:
                del holder[int(last)]
            else:
                holder[int(last)] = value
