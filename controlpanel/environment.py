"""Typed values from environment variables. Values are stripped and taken literally.

Invalid values raise ImproperlyConfigured with the variable's name. A variable that is set never falls back to its
default.
"""

import hashlib
import ipaddress
import os
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import environ
from django.core.exceptions import ImproperlyConfigured, ValidationError

from projects.confidential.redaction import one_line, remember
from projects.domain.kubernetes_values import DOMAIN, IMAGE, QUANTITY, READINESS_PATH
from projects.domain.ports import parse_ports
from provisioning.objects.endpoints import EndpointHosts

YES, NO = ("true", "on", "ok", "y", "yes", "1"), ("false", "off", "n", "no", "0")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# A reference such as $(NAME) that Kubernetes or Compose left in place because the variable doesn't exist.
REFERENCE = re.compile(r"\$(\(\w+\)|\{\w+\})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Hosts as Django compares them: without a port; a leading dot includes all subdomains.
_HOST = re.compile(r"\.?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.IGNORECASE)


def _refuse(name: str, text: str, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is '{one_line(text, 60)}'. Set it to {wanted}.")


def given(env: environ.Env, name: str, *, is_multiline: bool = False) -> str | None:
    """Return the stripped value of the variable; None if it is not set.

    Raises ImproperlyConfigured, without quoting the value, for text that no setting can have.
    """
    value: str | None = env.ENVIRON.get(name)
    if value is None:
        return None
    value = value.strip()
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ImproperlyConfigured(f"{name} is not valid UTF-8.") from None
    if _CONTROL.search(value.replace("\n", "").replace("\t", "") if is_multiline else value):
        raise ImproperlyConfigured(f"{name} contains a line break or another control character. Write it on one line.")
    if REFERENCE.fullmatch(value):
        raise ImproperlyConfigured(
            f"{name} is an unresolved reference to another variable. Set that variable, or write the value itself."
        )
    return value


def text(env: environ.Env, name: str, *, default: str) -> str:
    """Return the variable. Raises ImproperlyConfigured if it is empty, unless the default is empty too."""
    value = given(env, name)
    if value is None:
        return default
    if not value and default:
        raise _empty(name)
    return value


def _empty(name: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is empty. Set a value, or leave it unset for the default.")


def secret(env: environ.Env, name: str) -> str | None:
    """Return a secret, None if it is not set, and mask it in logs. Raises ImproperlyConfigured for an empty one."""
    value = given(env, name)
    if value == "":
        raise _empty(name)
    if value is not None:
        remember(value, keep=True)
    return value


def _matching(env: environ.Env, name: str, *, default: str, pattern: str | re.Pattern[str], wanted: str) -> str:
    """Return a value that matches the whole pattern. Empty values are treated as in `text`."""
    value = text(env, name, default=default)
    if value and not re.fullmatch(pattern, value):
        raise _refuse(name, value, wanted)
    return value


def whole_number(env: environ.Env, name: str, *, default: int, least: int = 1, most: int = 1_000_000) -> int:
    """Return the variable as an int between `least` and `most`. Raises ImproperlyConfigured."""
    value = text(env, name, default=str(default))
    if not value.isascii() or not value.isdecimal() or len(value) > 9 or not least <= int(value) <= most:
        raise _refuse(name, value, f"a whole number from {least} to {most}")
    return int(value)


def choice(env: environ.Env, name: str, *, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed values. Raises ImproperlyConfigured for any other."""
    value = text(env, name, default=default)
    if value not in allowed:
        raise ImproperlyConfigured(
            f"{name} is '{one_line(value, 60)}'. Set it to one of: {', '.join(filter(None, allowed))}."
        )
    return value


def seconds(env: environ.Env, name: str, *, default: float, most: float = 1_000_000) -> float:
    """Return the variable as a number of seconds above 0, `most` at most. Raises ImproperlyConfigured."""
    value = text(env, name, default=str(default))
    try:
        number = float(value) if re.fullmatch(r"[0-9.eE+-]+", value) else 0.0
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        limit = "" if most == 1_000_000 else f" and at most {most:g}"
        raise _refuse(name, value, f"a number of seconds above 0{limit}")
    return number


def yes_or_no(env: environ.Env, name: str, *, default: bool) -> bool:
    """Return the variable as a bool. Raises ImproperlyConfigured: HTTPS=ture must not mean false."""
    value = text(env, name, default=str(default))
    if value.lower() not in (*YES, *NO):
        raise _refuse(name, value, "true or false")
    return value.lower() in YES


def log_level(env: environ.Env, name: str) -> str:
    return choice(env, name, default="INFO", allowed=_LEVELS)


def time_zone(env: environ.Env, name: str) -> str:
    """Return the variable as a time zone's name. Raises ImproperlyConfigured."""
    value = text(env, name, default="UTC")
    if value not in available_timezones():
        raise _refuse(name, value, "a time zone, such as UTC or Europe/Berlin")
    return value


def directory(env: environ.Env, name: str, *, default: Path) -> Path:
    """Return the variable as an absolute path. Raises ImproperlyConfigured for `~`, which only shells expand."""
    value = text(env, name, default=str(default))
    if value.startswith("~"):
        raise _refuse(name, value, "a path without ~, which only shells expand")
    return Path(value).absolute()


def file_path(env: environ.Env, name: str) -> str:
    """Return the variable as the path of an existing file; "" if it is not set. Raises ImproperlyConfigured."""
    value = text(env, name, default="")
    # Unlike Path.is_file, isfile is False for a name that is too long.
    if value and not os.path.isfile(value):  # noqa: PTH113
        raise _refuse(name, value, "the path of an existing file")
    return value


def namespace(env: environ.Env, name: str) -> str:
    """Return the variable as a namespace's name. Raises ImproperlyConfigured."""
    wanted = "the name of a namespace: up to 63 lower-case letters, digits and hyphens"
    return _matching(env, name, default="default", pattern=_NAMESPACE, wanted=wanted)


def namespaces(env: environ.Env, name: str) -> list[str]:
    """Return the variable as names of namespaces; [] if it is not set. Raises ImproperlyConfigured."""
    found = comma_list(env, name, default=[])
    for entry in found:
        if not re.fullmatch(_NAMESPACE, entry):
            raise _refuse(name, entry, "names of namespaces: up to 63 lower-case letters, digits and hyphens")
    return found


def quantity(env: environ.Env, name: str, *, default: str) -> str:
    """Return the variable as a Kubernetes quantity. Raises ImproperlyConfigured."""
    wanted = "a Kubernetes quantity, such as 500m, 0.5, 512Mi or 10Gi"
    return _matching(env, name, default=default, pattern=QUANTITY, wanted=wanted)


def object_name(env: environ.Env, name: str, *, default: str = "") -> str:
    """Return the variable as the name of a Kubernetes object or a domain. Raises ImproperlyConfigured."""
    value = _matching(env, name, default=default, pattern=DOMAIN, wanted="lower-case letters, digits, hyphens and dots")
    if len(value) > 253:
        raise _refuse(name, value, "at most 253 characters")
    return value


def version(env: environ.Env, name: str, *, default: str) -> str:
    """Return the variable as a version such as 16.4.0. Raises ImproperlyConfigured."""
    pattern = r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}(-[0-9A-Za-z.-]{1,20})?"
    return _matching(env, name, default=default, pattern=pattern, wanted="a version such as 16.4.0")


def image(env: environ.Env, name: str, *, default: str) -> str:
    """Return the variable as a container image. Raises ImproperlyConfigured."""
    wanted = "an image such as registry.example.com/team/app:1.2"
    return _matching(env, name, default=default, pattern=IMAGE, wanted=wanted)


def ports(env: environ.Env, name: str, *, default: str) -> str:
    """Return the variable as `name:number,…`. Raises ImproperlyConfigured."""
    value = text(env, name, default=default)
    try:
        parse_ports(value)
    except ValidationError as error:
        raise ImproperlyConfigured(f"{name} is invalid. {error.messages[0]}") from None
    return value


def http_path(env: environ.Env, name: str, *, default: str) -> str:
    """Return the variable as a URL path; an empty value means no path. Raises ImproperlyConfigured."""
    value = given(env, name)
    if value and not re.fullmatch(READINESS_PATH, value):
        raise _refuse(name, value, "a path that starts with a slash and has no spaces, such as /healthz")
    return default if value is None else value


def command(env: environ.Env, name: str) -> str:
    """Return the variable as a command line, "" if it is not set. Raises ImproperlyConfigured."""
    value = given(env, name, is_multiline=True) or ""
    try:
        shlex.split(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} has an unclosed quotation mark.") from None
    return value


def http_url(env: environ.Env, name: str) -> str:
    """Return the variable as a URL, "" if it is not set. Raises ImproperlyConfigured."""
    value = text(env, name, default="")
    if value and not _is_http_url(value):
        raise _refuse(name, value, "a URL such as https://login.example.com/realm")
    return value


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        has_port = parts.port != 0
    except ValueError:
        return False
    is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and has_port and parts.username is None
    return is_whole and not re.search(r"\s", value)


def bearer_token(env: environ.Env, name: str) -> str:
    """Return the variable as a token for an HTTP header; "" if it is not set. Raises ImproperlyConfigured."""
    value = text(env, name, default="")
    if value and not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ImproperlyConfigured(
            f"{name} contains a space or another character that tokens can't have. Use printable ASCII."
        )
    remember(value, keep=True)
    return value


def installation_name(env: environ.Env, name: str, *, key: str) -> str:
    """Return the variable, or a name derived from the secret key. Raises ImproperlyConfigured."""
    default = hashlib.blake2b(key.encode(), digest_size=6, person=b"installation").hexdigest()
    wanted = "a name of up to 40 letters, digits and hyphens"
    return _matching(env, name, default=default, pattern=r"[A-Za-z0-9-]{1,40}", wanted=wanted)


def refuse_sub_path(env: environ.Env, name: str) -> None:
    """Raise ImproperlyConfigured if the variable names a path that the panel should be served under."""
    if (given(env, name) or "/") != "/":
        raise ImproperlyConfigured(
            f"{name} is set, but the panel can't be served under a path. Use a host name, and leave {name} unset."
        )


def comma_list(env: environ.Env, name: str, *, default: list[str]) -> list[str]:
    """Return the comma-separated values, stripped. Raises ImproperlyConfigured for an empty list, unless the default is
    empty too."""
    value = given(env, name)
    if value is None:
        return default
    found = [entry.strip() for entry in value.split(",") if entry.strip()]
    if not found and default:
        raise _empty(name)
    return found


def mapping(env: environ.Env, name: str) -> dict[str, str]:
    """Return the variable, `key=value,…`, as a dict. Raises ImproperlyConfigured."""
    found = [entry.partition("=") for entry in comma_list(env, name, default=[])]
    if not all(key.strip() and value.strip() for key, _, value in found):
        raise _refuse(name, given(env, name) or "", "key=value pairs such as staff=Viewer,ops=Operator")
    return {key.strip(): value.strip() for key, _, value in found}


def host_names(env: environ.Env, name: str, *, default: list[str]) -> list[str]:
    """Return the variable as hosts for Django's check of the Host header. Raises ImproperlyConfigured."""
    found = comma_list(env, name, default=default)
    for host in found:
        if host != "*" and not _is_host(host):
            raise _refuse(name, host, "host names without scheme and port: panel.example.com, .example.com, [::1]")
    return found


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            return bool(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None


def origins(env: environ.Env, name: str) -> list[str]:
    """Return the variable as origins, with an optional wildcard subdomain. Raises ImproperlyConfigured."""
    found = comma_list(env, name, default=[])
    for origin in found:
        scheme, _, rest = origin.partition("://")
        host = rest.removeprefix("*.")
        if scheme not in ("http", "https") or re.search(r"[/?#*]", host) or not _is_http_url(f"{scheme}://{host}"):
            raise _refuse(name, origin, "origins such as https://panel.example.com, without a path")
    return found


def encryption_keys(env: environ.Env, name: str) -> list[str]:
    """Return the variable as unchecked keys; [] if it is not set. Raises ImproperlyConfigured."""
    value = secret(env, name)
    keys = comma_list(env, name, default=[])
    if value is not None and not keys:
        raise _empty(name)
    for key in keys:
        remember(key, keep=True)
    return keys


SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Methods of libpq 16 and newer that don't send the password itself.
_AUTHENTICATION_METHODS = ("scram-sha-256", "md5", "gss", "sspi")


def authentication_methods(env: environ.Env, name: str, *, default: list[str]) -> str:
    """Return the variable as a value of libpq's `require_auth`, such as `scram-sha-256,md5`.

    Raises ImproperlyConfigured, also for `password` and `none`: `password` sends the password to any server, and `none`
    accepts servers that don't know it.
    """
    chosen = comma_list(env, name, default=default)
    if not set(chosen) <= set(_AUTHENTICATION_METHODS):
        raise _refuse(name, ",".join(chosen), f"one or more of {', '.join(_AUTHENTICATION_METHODS)}")
    return ",".join(chosen)


def endpoint_hosts(env: environ.Env, name: str, *, default: list[str]) -> EndpointHosts:
    """Return the variable as hosts that the endpoint annotation may name. Raises ImproperlyConfigured."""
    value = given(env, name)
    # An empty value allows no host.
    entries = default if value is None else [entry.strip() for entry in value.split(",") if entry.strip()]
    try:
        return EndpointHosts.parse(entries)
    except ValueError as error:
        wanted = "host names, *.example.com, addresses, or networks such as 10.0.0.0/8"
        raise _refuse(name, str(error), wanted) from None
