"""Random sequences of steps from a seed. The same seed and number give the same sequence."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

from tests.contract.differential.steps import GONE, Step, edit, edited
from tests.contract.differential.vocabulary import KINDS, Field, Kind
from tests.contract.differential.vocabulary.fields import METADATA, WRONG

NAMES = ("a", "b")
MANAGERS = ("m1", "m2", "m3")
SHORTEST, LONGEST = 8, 26
_INVALID_SHARE = 0.12
_VERBS = {
    "create": 6, "apply": 14, "update": 6, "json-patch": 5, "merge-patch": 6, "strategic-patch": 5, "status": 4,
    "scale": 2, "delete": 3, "delete-collection": 0.3, "get": 2, "list": 1,
}  # fmt: skip


def sequence(seed: int, number: int, plurals: Sequence[str]) -> list[Step]:
    """Return sequence `number` of a seed, about one of the kinds and its companions."""
    chance = random.Random(f"{seed}/{number}")
    return Generator(chance, KINDS[chance.choice(list(plurals))]).sequence()


class Generator:
    def __init__(self, chance: random.Random, kind: Kind) -> None:
        self._chance = chance
        self._kinds = [kind, kind, kind, *(KINDS[plural] for plural in kind.companions)]

    def sequence(self) -> list[Step]:
        length = self._chance.randint(SHORTEST, LONGEST)
        first = [self._create(self._kinds[0], "a")] if self._chance.random() < 0.5 else []
        steps = [*first, *(self._step() for _ in range(length))]
        if self._chance.random() < 0.15 and not self._kinds[0].is_protected:
            steps.append(Step("watch", self._kinds[0].plural))
        return steps

    def _step(self) -> Step:
        chance = self._chance
        kind, name = chance.choice(self._kinds), chance.choice(NAMES)
        verbs = {verb: weight for verb, weight in _VERBS.items() if self._is_possible(verb, kind)}
        verb = chance.choices(list(verbs), list(verbs.values()))[0]
        match verb:
            case "create":
                return self._create(kind, name)
            case "apply":
                return self._apply(kind, name)
            case "update":
                edits = [*self._edits(kind, 3), *self._version_edit()]
                return Step("update", kind.plural, name, body=edits, params=self._params())
            case "json-patch":
                return self._json_patch(kind, name, self._fields(kind))
            case "merge-patch" | "strategic-patch":
                return self._merge_patch(kind, name, verb, self._fields(kind))
            case "status":
                return self._status(kind, name)
            case "scale":
                return self._scale(kind, name)
            case "delete":
                return Step("delete", kind.plural, name, body=self._delete_options(kind, name))
            case "delete-collection":
                return Step("delete-collection", kind.plural, params={"labelSelector": chance.choice(["x=1", "x"])})
            case "get":
                return Step("get", kind.plural, name)
            case _:
                return Step("list", kind.plural, params=self._list_params())

    def _is_possible(self, verb: str, kind: Kind) -> bool:
        match verb:
            case "status":
                return bool(kind.status)
            case "scale":
                return kind.has_scale
            case "strategic-patch":
                return not kind.is_custom
            case _:
                return True

    # Values

    def _fields(self, kind: Kind) -> Sequence[Field]:
        metadata = [one for one in METADATA if not (kind.is_protected and "finalizers" in one.path)]
        return metadata if self._chance.random() < 0.3 else kind.fields or metadata

    def _value(self, field: Field) -> Any:
        chance = self._chance
        if field.invalid and chance.random() < _INVALID_SHARE:
            return copy.deepcopy(chance.choice(field.invalid))
        return copy.deepcopy(chance.choice(field.valid)) if field.valid else GONE

    def _edits(self, kind: Kind, most: int, fields: Sequence[Field] | None = None) -> list[list[Any]]:
        chance = self._chance
        edits: list[list[Any]] = []
        for _ in range(chance.randint(0 if most > 1 else 1, most)):
            field = chance.choice(fields or self._fields(kind))
            if chance.random() < 0.2 and not field.path.endswith("+"):
                edits.append([field.path, GONE])
            elif chance.random() < 0.03 and not field.path.endswith("+"):
                edits.append([field.path, copy.deepcopy(chance.choice(WRONG))])
            else:
                edits.append([field.path, self._value(field)])
        return [one for one in edits if not self._is_excluded(kind, *one)]

    @staticmethod
    def _is_excluded(kind: Kind, path: str, value: Any) -> bool:
        """Return whether an edit is among the exclusions."""
        if value is None and path.startswith(("data/", "binaryData/")):
            return True
        is_amount = path.endswith(("storage", "cpu", "memory"))
        if kind.is_custom and isinstance(value, bool | list | dict) and is_amount:
            return True
        return kind.is_custom and (value == 1.5 or (path.startswith("metadata/") and value in (None, [], {})))

    def _body(self, kind: Kind, name: str, most: int) -> dict[str, Any]:
        body = {**kind.typed, "metadata": {"name": name}, **copy.deepcopy(kind.base)}
        return _tidy(kind, edited(body, self._edits(kind, most)))

    def _params(self) -> dict[str, str]:
        chance = self._chance
        params = {}
        if chance.random() < 0.5:
            params["fieldManager"] = chance.choice(MANAGERS)
        if chance.random() < 0.08:
            params["dryRun"] = "All"
        if chance.random() < 0.08:
            params["fieldValidation"] = chance.choice(["Strict", "Ignore", "Warn"])
        return params

    def _version_edit(self) -> list[list[Any]]:
        drawn = self._chance.random()
        if drawn < 0.3:
            return [["metadata/resourceVersion", GONE]]
        if drawn < 0.4:
            return [["metadata/resourceVersion", "1"]]
        return []

    # Steps

    def _create(self, kind: Kind, name: str) -> Step:
        return Step("create", kind.plural, name, body=self._body(kind, name, 4), params=self._params())

    def _apply(self, kind: Kind, name: str) -> Step:
        chance = self._chance
        body = self._body(kind, name, 4)
        if chance.random() < 0.4:
            for _ in range(chance.randint(1, 3)):
                self._drop_any(body)
            body = _tidy(kind, body)
        params = {**self._params(), "fieldManager": chance.choice(MANAGERS)}
        if chance.random() < 0.4:
            params["force"] = "true"
        return Step("apply", kind.plural, name, body=body, params=params)

    def _drop_any(self, body: dict[str, Any]) -> None:
        """Remove a random field, at any depth."""
        paths = [path for path in paths_of(body) if path not in {"apiVersion", "kind", "metadata", "metadata/name"}]
        if paths:
            edit(body, self._chance.choice(paths), GONE)

    def _json_patch(self, kind: Kind, name: str, fields: Sequence[Field], subresource: str = "") -> Step:
        chance = self._chance
        operations: list[dict[str, Any]] = []
        for _ in range(chance.randint(1, 3)):
            field = chance.choice(fields)
            path = "/" + field.path.replace("+", "-")
            operation = chance.choices(["add", "replace", "remove", "test"], [6, 3, 3, 1])[0]
            value = self._value(field)
            if operation == "test" and isinstance(value, list) and None in value:
                operation = "add"
            if self._is_excluded(kind, field.path, value):
                continue
            if operation == "remove" or value == GONE:
                operations.append({"op": "remove", "path": path})
            else:
                operations.append({"op": operation, "path": path, "value": value})
        return Step("json-patch", kind.plural, name, subresource, operations, self._params())

    def _merge_patch(self, kind: Kind, name: str, verb: Any, fields: Sequence[Field], subresource: str = "") -> Step:
        chance = self._chance
        patch: dict[str, Any] = {}
        for path, value in self._edits(kind, 3, fields):
            if any(part.isdigit() or part == "+" for part in path.split("/")):
                continue
            edit(patch, path, None if value == GONE else value)
        if chance.random() < 0.1:
            patch.setdefault("metadata", {})["resourceVersion"] = "1"
        return Step(verb, kind.plural, name, subresource, patch, self._params())

    def _status(self, kind: Kind, name: str) -> Step:
        chance = self._chance
        fields = kind.status if chance.random() < 0.8 else self._fields(kind)
        match chance.choice(["update", "merge-patch", "json-patch", "apply", "get"]):
            case "update":
                edits = [*self._edits(kind, 3, fields), *self._version_edit()]
                return Step("update", kind.plural, name, "status", edits, self._params())
            case "merge-patch":
                return self._merge_patch(kind, name, "merge-patch", fields, "status")
            case "json-patch":
                return self._json_patch(kind, name, fields, "status")
            case "apply":
                body = edited({**kind.typed, "metadata": {"name": name}}, self._edits(kind, 3, fields))
                params = {**self._params(), "fieldManager": chance.choice(MANAGERS)}
                if chance.random() < 0.4:
                    params["force"] = "true"
                return Step("apply", kind.plural, name, "status", body, params)
            case _:
                return Step("get", kind.plural, name, "status")

    def _scale(self, kind: Kind, name: str) -> Step:
        chance = self._chance
        number = chance.choice([0, 0, 1, 2, 2, -1, None, "x"])
        match chance.choice(["get", "update", "merge-patch", "json-patch"]):
            case "get":
                return Step("get", kind.plural, name, "scale")
            case "update":
                edits = [["spec/replicas", number], *self._version_edit()]
                return Step("update", kind.plural, name, "scale", edits, self._params())
            case "merge-patch":
                return Step("merge-patch", kind.plural, name, "scale", {"spec": {"replicas": number}}, self._params())
            case _:
                operations = [{"op": "replace", "path": "/spec/replicas", "value": number}]
                return Step("json-patch", kind.plural, name, "scale", operations, self._params())

    def _delete_options(self, kind: Kind, name: str) -> dict[str, Any] | None:
        chance = self._chance
        options: dict[str, Any] = {}
        if chance.random() < 0.3:
            options["propagationPolicy"] = chance.choice(["Background", "Foreground", "Orphan", "Sideways"])
        if chance.random() < 0.25:
            which = "uid" if kind.is_protected else chance.choice(["uid", "resourceVersion"])
            right = f"$uid:{kind.plural}/{name}" if which == "uid" else f"$version:{kind.plural}/{name}"
            wrong = "11111111-0000-0000-0000-000000000000" if which == "uid" else f"$first-version:{kind.plural}/{name}"
            options["preconditions"] = {which: chance.choice([right, wrong])}
        if chance.random() < 0.1:
            options["gracePeriodSeconds"] = chance.choice([0, 1])
        if chance.random() < 0.08:
            options["dryRun"] = ["All"]
        return options or None

    def _list_params(self) -> dict[str, str]:
        chance = self._chance
        if chance.random() < 0.5:
            return {"labelSelector": chance.choice(["x=1", "x", "!x", "x in (1,2)", "x!=1", "x==", "x in ("])}
        if chance.random() < 0.3:
            return {"fieldSelector": chance.choice(["metadata.name=a", "metadata.name!=a", "spec.none=1"])}
        return {}


def _tidy(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """Return a custom resource without empty fields of its metadata, which are among the exclusions."""
    if kind.is_custom and isinstance(body.get("metadata"), dict):
        body["metadata"] = {name: one for name, one in body["metadata"].items() if one not in (None, [], {})}
    return body


def paths_of(value: Any, path: str = "") -> list[str]:
    """Return the path of every field and item."""
    found: list[str] = []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        inner = f"{path}/{str(key).replace('/', '~1')}".lstrip("/")
        found += [inner, *paths_of(child, inner)]
    return found
