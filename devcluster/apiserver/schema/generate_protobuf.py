"""Generate `protobuf_fields.json`, the field numbers of built-in objects in protobuf.

    python -m devcluster.apiserver.schema.generate_protobuf DIRECTORY …

The directories are those of the Go modules k8s.io/api and k8s.io/apimachinery (Apache-2.0), which `go list -m -f
'{{.Dir}}' MODULE` prints. `generated.proto` has the numbers and types; `types.go` has the JSON names, and says which
fields are pointers or inlined.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

OUTPUT = Path(__file__).with_name("protobuf_fields.json")

_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(
    r"^  (?:(?P<label>optional|repeated) )?(?:map<string, (?P<map>[\w.]+)>|(?P<type>[\w.]+)) (?P<name>\w+) = "
    r"(?P<number>\d+)",
    re.MULTILINE,
)
_PACKAGE = re.compile(r"^package ([\w.]+);", re.MULTILINE)
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_GO_FIELD = re.compile(
    r'^\t(?:\w+[ \t]+)?(?P<type>\S+)[ \t]+`json:"(?P<json>[^"]*)"[^`]*protobuf:"\w+,(?P<number>\d+),', re.MULTILINE
)
_SCALARS = {"string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "double", "float"}


@dataclass(frozen=True)
class GoField:
    json_name: str
    is_pointer: bool
    is_inline: bool


def short_name(reference: str) -> str:
    """Return the name in builtin_types.json: `core.v1.Pod` for `k8s.io.api.core.v1.Pod`."""
    for prefix in ("k8s.io.api.", "k8s.io.apimachinery.pkg.apis."):
        if reference.startswith(prefix):
            return reference.removeprefix(prefix)
    return reference.removeprefix("k8s.io.")


def read_go_fields(directory: Path) -> dict[tuple[str, str], GoField]:
    """Return the tag of each field by struct and field number."""
    found: dict[tuple[str, str], GoField] = {}
    for path in directory.glob("*.go"):
        if path.name.endswith(("_test.go", ".pb.go")):
            continue
        for struct, body in _STRUCT.findall(path.read_text()):
            for field in _GO_FIELD.finditer(body):
                name, *options = field["json"].split(",")
                found[struct, field["number"]] = GoField(name, field["type"].startswith("*"), "inline" in options)
    return found


def read_package(proto: Path) -> dict[str, dict[str, str]]:
    """Return the fields of each message by number, in the format that `protobuf.py` reads."""
    text = proto.read_text()
    package = _PACKAGE.search(text)
    if package is None:
        raise ValueError(f"{proto} names no package")
    go_fields = read_go_fields(proto.parent)
    messages: dict[str, dict[str, str]] = {}
    for message, body in _MESSAGE.findall(text):
        fields: dict[str, str] = {}
        for field in _FIELD.finditer(body):
            go = go_fields.get((message, field["number"]))
            kind = field["map"] or field["type"]
            if kind not in _SCALARS:
                local = "." not in kind
                kind = short_name(f"{package[1]}.{kind}" if local else kind.lstrip("."))
            container = "{}" if field["map"] else "[]" if field["label"] == "repeated" else ""
            name = field["name"] if go is None or go.is_inline else go.json_name or field["name"]
            flag = "" if go is None else "^" if go.is_inline else "*" if go.is_pointer else ""
            if go is None and list(_FIELD.finditer(body))[1:] == [] and field["name"] == "items":
                name, flag = "", ""  # a named list or map of Go, wrapped for protobuf
            fields[field["number"]] = f"{name}{flag}{container}:{kind}"
        messages[short_name(f"{package[1]}.{message}")] = fields
    return messages


def keep_reachable(messages: dict[str, dict[str, str]], types: dict[str, object]) -> dict[str, dict[str, str]]:
    """Return the messages of the served packages, and the messages that these refer to."""
    packages = {name.rpartition(".")[0] for name in types if ".v" in name}
    wanted = [name for name in messages if name.rpartition(".")[0] in packages]
    kept: dict[str, dict[str, str]] = {}
    while wanted:
        name = wanted.pop()
        if name in kept or name not in messages:
            continue
        kept[name] = messages[name]
        wanted += [field.rpartition(":")[2] for field in messages[name].values()]
    return dict(sorted(kept.items()))


def main(directories: list[str]) -> int:
    if not directories:
        sys.stderr.write("usage: python -m devcluster.apiserver.schema.generate_protobuf DIRECTORY …\n")
        return 2
    messages: dict[str, dict[str, str]] = {}
    for directory in directories:
        for proto in sorted(Path(directory).rglob("generated.proto")):
            messages |= read_package(proto)
    types = json.loads(OUTPUT.with_name("builtin_types.json").read_text())["types"]
    OUTPUT.write_text(json.dumps(keep_reachable(messages, types), separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
