"""Kubeconfig files, read as kubectl reads them: which server, and as whom.

The client library ignores what it does not know, impersonation among it. Here every field of the context's cluster and
user is honored or refused with a message. Messages never quote a value of a user.
"""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from projects.confidential.redaction import one_line

_LONGEST_NAME = 100
# Tokens are opaque to clients, but a header can't carry other characters (RFC 6750 allows fewer).
_TOKEN = re.compile(r"[\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CLUSTER_FIELDS: Mapping[str, type] = {
    "server": str,
    "tls-server-name": str,
    "insecure-skip-tls-verify": bool,
    "certificate-authority": str,
    "certificate-authority-data": str,
    "proxy-url": str,
    "disable-compression": bool,  # the panel never requests compressed answers
    "extensions": list,
}
_USER_FIELDS: Mapping[str, type] = {
    "client-certificate": str,
    "client-certificate-data": str,
    "client-key": str,
    "client-key-data": str,
    "token": str,
    "tokenFile": str,
    "username": str,
    "password": str,
    "as": str,
    "as-uid": str,
    "as-groups": list,
    "as-user-extra": dict,
    "auth-provider": dict,
    "exec": dict,
    "extensions": list,
}
_EXEC_FIELDS: Mapping[str, type] = {
    "command": str,
    "args": list,
    "env": list,
    "apiVersion": str,
    "installHint": str,
    "provideClusterInfo": bool,
    "interactiveMode": str,
}
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
# The extension of a cluster that holds the configuration of its login plugin.
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_KINDS = {str: "text", bool: "true or false", list: "a list", dict: "a mapping"}


class KubeconfigError(Exception):
    """A kubeconfig can't be used. The message continues "The kubeconfig … can't be used: "."""


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """A certificate or key: the file that holds it, or its content (PEM)."""

    path: Path | None = None
    content: bytes = b""

    def read(self) -> bytes:
        """Return the content. Raises OSError."""
        return self.path.read_bytes() if self.path else self.content


@dataclass(frozen=True, slots=True)
class Impersonation:
    """The identity that requests act as, instead of the one that logs in; `user` "" for none."""

    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of each request. A name may occur several times."""
        if not self.user:
            return []
        found = [("Impersonate-User", self.user)]
        found += [("Impersonate-Uid", self.uid)] if self.uid else []
        found += [("Impersonate-Group", group) for group in self.groups]
        found += [(f"Impersonate-Extra-{quote(key, safe='!#$&*+^`|')}", value) for key, value in self.extra]
        # Encode as UTF-8, where the HTTP library assumes Latin-1.
        return [(name, value.encode().decode("latin-1")) for name, value in found]


@dataclass(frozen=True, slots=True, repr=False)
class Plugin:
    """A program that prints credentials. `cluster`: what it is told about the cluster, if anything."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    api_version: str
    directory: Path
    install_hint: str = ""
    cluster: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Kubeconfig:
    """The settings of the chosen context. At most one of `token_file`, `token`, `login` and `plugin` is set, except
    that a `token_file` may replace a `token`."""

    server: str
    is_verified: bool = True
    tls_server_name: str = ""
    proxy: str = ""
    authority: Material | None = None
    certificate: Material | None = None
    key: Material | None = None
    token: str = ""
    token_file: Path | None = None
    login: tuple[str, str] | None = None
    plugin: Plugin | None = None
    impersonation: Impersonation = field(default_factory=Impersonation)


def check_token(token: str, owner: str) -> str:
    """Return a token that a header can carry. Raises KubeconfigError."""
    if not _TOKEN.fullmatch(token):
        raise KubeconfigError(
            f"the token {owner} holds a line break, a blank or another character that no token has; "
            "write it on one line, without quotation marks inside it"
        )
    return token


def read_kubeconfig(paths: str, context: str = "") -> Kubeconfig:
    """Return the settings of a context, by default the current one. `paths` are separated as in $PATH.

    As with kubectl, the first file that defines a name wins. Raises KubeconfigError, and OSError with its filename.
    """
    files = [_read(Path(path).expanduser()) for path in paths.split(os.pathsep) if path]
    files = [(path, content) for path, content in files if content]
    if not files:
        raise KubeconfigError("there is no such file, or it is empty")
    context = context or next((str(content["current-context"]) for _, content in files if _current(content)), "")
    if not context:
        raise KubeconfigError("it names no current-context; set one with `kubectl config use-context`, or KUBE_CONTEXT")
    _, chosen = _find(files, "context", context)
    names = _fields(chosen, {"cluster": str, "user": str, "namespace": str, "extensions": list}, "context", context)
    if "cluster" not in names or "user" not in names:
        raise KubeconfigError(f"its context {_name(context)} has to name a cluster and a user")
    cluster_directory, cluster = _find(files, "cluster", names["cluster"])
    user_directory, user = _find(files, "user", names["user"])
    cluster = _fields(cluster, _CLUSTER_FIELDS, "cluster", names["cluster"])
    user = _fields(user, _USER_FIELDS, "user", names["user"])
    return _combine(
        _Stanza("cluster", names["cluster"], cluster, cluster_directory),
        _Stanza("user", names["user"], user, user_directory),
    )


def _current(content: Mapping[str, Any]) -> bool:
    return bool(content.get("current-context"))


def _name(name: object) -> str:
    return f"'{one_line(str(name), _LONGEST_NAME)}'"


def _read(path: Path) -> tuple[Path, Mapping[str, Any]]:
    """Return the folder and the content of a file; no content if it doesn't exist."""
    if not path.exists():
        return path, {}
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        # The parser's message quotes the file, and maybe a token.
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise KubeconfigError(f"{path} is not YAML{where}") from None
    if content is not None and not isinstance(content, dict):
        raise KubeconfigError(f"{path} is no kubeconfig")
    return path.absolute().parent, content or {}


def _find(files: list[tuple[Path, Mapping[str, Any]]], kind: str, name: str) -> tuple[Path, Mapping[str, Any]]:
    """Return the folder and the content of the first entry of that name. Raises KubeconfigError."""
    for directory, content in files:
        entries = content.get(f"{kind}s") or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise KubeconfigError(f"its {kind}s are not a list of {kind}s")
        found = [entry.get(kind) for entry in entries if entry.get("name") == name]
        if len(found) > 1:
            raise KubeconfigError(f"it has {len(found)} {kind}s named {_name(name)}; remove all but one")
        if found:
            if found[0] is not None and not isinstance(found[0], dict):
                raise KubeconfigError(f"its {kind} {_name(name)} is not a mapping")
            return directory, found[0] or {}
    raise KubeconfigError(f"it has no {kind} named {_name(name)}")


def _fields(stanza: Mapping[str, Any], known: Mapping[str, type], kind: str, name: str) -> dict[str, Any]:
    """Return the fields that are set. Raises KubeconfigError for an unknown field or one of another type."""
    found = {}
    for key, value in stanza.items():
        where = f"{_name(key)} of its {kind} {_name(name)}"
        if key not in known:
            raise KubeconfigError(f"the panel does not know {where}, and does not ignore it; correct or remove it")
        if value in (None, "", [], {}):
            continue
        if not isinstance(value, known[key]):
            raise KubeconfigError(f"{where} has to be {_KINDS[known[key]]}")
        if isinstance(value, str) and key != "token" and not key.endswith("-data") and _CONTROL.search(value):
            raise KubeconfigError(f"{where} holds a line break or another control character; write it on one line")
        found[key] = value
    return found


@dataclass(frozen=True, slots=True, repr=False)
class _Stanza:
    """The cluster or user of the context, and the folder for its relative paths."""

    kind: str
    name: str
    fields: Mapping[str, Any]
    directory: Path

    def text(self, key: str) -> str:
        return str(self.fields.get(key, ""))

    def refuse(self, why: str) -> KubeconfigError:
        return KubeconfigError(f"its {self.kind} {_name(self.name)} {why}")

    def material(self, key: str) -> Material | None:
        """Return what `key` or `key-data` gives; the data wins, as with kubectl. Raises KubeconfigError."""
        if data := self.text(f"{key}-data"):
            try:
                return Material(content=base64.b64decode("".join(data.split()), validate=True))
            except (binascii.Error, ValueError):
                raise self.refuse(f"has a {key}-data that is not base64") from None
        path = self.text(key)
        return Material(self.directory / path) if path else None


def _combine(cluster: _Stanza, user: _Stanza) -> Kubeconfig:
    server = _check_server(cluster)
    if user.fields.get("auth-provider"):
        raise user.refuse(
            "logs in with an auth-provider, which the panel does not support; use a login plugin (exec) or a token"
        )
    certificate, key = user.material("client-certificate"), user.material("client-key")
    if (certificate is None) != (key is None):
        raise user.refuse("needs both a client-certificate and a client-key, and has only one of them")
    if certificate and urlsplit(server).scheme == "http":
        raise user.refuse("has a client-certificate, which can't be used over http://; set the server to https://")
    login = _login(user)
    ways = {
        "a token": bool(user.text("token") or user.text("tokenFile")),
        "a username": login is not None,
        "a login plugin (exec)": "exec" in user.fields,
    }
    if sum(ways.values()) > 1:
        several = " and ".join(way for way, is_used in ways.items() if is_used)
        raise user.refuse(f"logs in with {several}; keep one of them")
    token_file = user.text("tokenFile")
    return Kubeconfig(
        server=server,
        is_verified=not cluster.fields.get("insecure-skip-tls-verify", False),
        tls_server_name=cluster.text("tls-server-name"),
        proxy=cluster.text("proxy-url"),
        authority=cluster.material("certificate-authority"),
        certificate=certificate,
        key=key,
        token=check_token(user.text("token"), f"of its user {_name(user.name)}") if user.text("token") else "",
        token_file=user.directory / token_file if token_file else None,
        login=login,
        plugin=_plugin(user, cluster) if "exec" in user.fields else None,
        impersonation=_impersonation(user),
    )


def _check_server(cluster: _Stanza) -> str:
    server = cluster.text("server").rstrip("/")
    try:
        parts = urlsplit(server)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or " " in server:
        raise cluster.refuse("needs a server such as https://HOST:PORT")
    if parts.username is not None:
        raise cluster.refuse("has a user in its server's address; write it as username and password of the user")
    if cluster.fields.get("insecure-skip-tls-verify") and (
        cluster.text("certificate-authority") or cluster.text("certificate-authority-data")
    ):
        raise cluster.refuse("has a certificate-authority and insecure-skip-tls-verify; keep one of them")
    return server


def _login(user: _Stanza) -> tuple[str, str] | None:
    name, password = user.text("username"), user.text("password")
    if password and not name:
        raise user.refuse("has a password and no username")
    if ":" in name:
        raise user.refuse("has a username with a colon, which no log-in can carry")
    return (name, password) if name else None


def _impersonation(user: _Stanza) -> Impersonation:
    groups, extra = user.fields.get("as-groups", []), user.fields.get("as-user-extra", {})
    if not all(_is_plain(group) for group in groups):
        raise user.refuse("has as-groups that are not all names")
    pairs = []
    for key, values in extra.items():
        if not _is_plain(key) or not isinstance(values, list) or not all(_is_plain(value) for value in values):
            raise user.refuse("has an as-user-extra that is not lists of texts by name")
        pairs += [(key.lower(), value) for value in values]
    if not user.text("as") and (groups or extra or user.text("as-uid")):
        raise user.refuse("has as-groups, as-uid or as-user-extra without `as`; name whom to act as")
    return Impersonation(user.text("as"), user.text("as-uid"), tuple(groups), tuple(pairs))


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and bool(value) and not _CONTROL.search(value)


def _plugin(user: _Stanza, cluster: _Stanza) -> Plugin:
    given = _fields(user.fields["exec"], _EXEC_FIELDS, "login plugin of user", user.name)
    command, arguments = given.get("command", ""), given.get("args", [])
    if not command:
        raise user.refuse("has a login plugin without a command")
    if given.get("apiVersion") not in _EXEC_VERSIONS:
        raise user.refuse(f"has a login plugin whose apiVersion is not one of {', '.join(_EXEC_VERSIONS)}")
    match given.get("interactiveMode", "IfAvailable"):
        case "Never" | "IfAvailable":
            pass
        case "Always":
            raise user.refuse("has a login plugin that needs a terminal (interactiveMode: Always); the panel has none")
        case _:
            raise user.refuse("has a login plugin whose interactiveMode is not Never, IfAvailable or Always")
    if not all(isinstance(argument, str) and "\0" not in argument for argument in arguments):
        raise user.refuse("has a login plugin whose args are not all texts")
    return Plugin(
        command=str(user.directory / command) if os.sep in command else command,
        arguments=tuple(arguments),
        environment=_environment(user, given.get("env", [])),
        api_version=given["apiVersion"],
        directory=user.directory,
        install_hint=given.get("installHint", ""),
        cluster=_describe(cluster) if given.get("provideClusterInfo") else None,
    )


def _environment(user: _Stanza, entries: list[Any]) -> dict[str, str]:
    found = {}
    for entry in entries:
        name, value = (entry.get("name"), entry.get("value")) if isinstance(entry, dict) else (None, None)
        if not (isinstance(name, str) and re.fullmatch(r"[^=\0]+", name) and isinstance(value, str)):
            raise user.refuse("has a login plugin whose env is not a list of names and values")
        if "\0" in value:
            raise user.refuse(f"has a login plugin whose variable {_name(name)} holds a null character")
        found[name] = value
    return found


def _describe(cluster: _Stanza) -> dict[str, Any]:
    """Return the `spec.cluster` of an ExecCredential. Raises OSError."""
    authority = cluster.material("certificate-authority")
    described: dict[str, Any] = {
        key: cluster.fields[key]
        for key in ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
        if key in cluster.fields
    }
    if authority:
        described["certificate-authority-data"] = base64.b64encode(authority.read()).decode()
    for extension in cluster.fields.get("extensions", []):
        if isinstance(extension, dict) and extension.get("name") == _EXEC_EXTENSION:
            described["config"] = extension.get("extension")
    return described
