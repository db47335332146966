"""Values from the environment, refused in a sentence that names the variable."""

import re
from typing import Any
from zoneinfo import available_timezones

import environ
from django.core.exceptions import ImproperlyConfigured

from projects.confidential.redaction import one_line
from provisioning.objects.endpoints import EndpointHosts

_YES, _NO = ("true", "on", "ok", "y", "yes", "1"), ("false", "off", "n", "no", "0", "")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _refuse(name: str, text: str, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is '{one_line(text, 60)}'; it has to be {wanted}.")


def whole_number(env: environ.Env, name: str, *, default: int, least: int = 1, most: int = 1_000_000) -> int:
    """Return the variable as an int between `least` and `most`. Raises ImproperlyConfigured."""
    text = env.str(name, default=str(default)).strip()
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not least <= int(text) <= most:
        raise _refuse(name, text, f"a whole number from {least} to {most}")
    return int(text)


def choice(env: environ.Env, name: str, *, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words. Raises ImproperlyConfigured, in a sentence, for another one."""
    value: str = env.str(name, default=default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is '{one_line(value, 60)}'. Set it to one of: {', '.join(allowed)}.")
    return value


def seconds(env: environ.Env, name: str, *, default: float) -> float:
    """Return the variable as a positive number of seconds. Raises ImproperlyConfigured."""
    text = env.str(name, default=str(default)).strip()
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1_000_000:
        raise _refuse(name, text, "a number of seconds above 0")
    return value


def yes_or_no(env: environ.Env, name: str, *, default: bool) -> bool:
    """Return the variable as a bool. Raises ImproperlyConfigured: HTTPS=ture must not mean no."""
    text = env.str(name, default=str(default)).strip()
    if text.lower() not in (*_YES, *_NO):
        raise _refuse(name, text, "true or false")
    return text.lower() in _YES


def log_level(env: environ.Env, name: str) -> str:
    return choice(env, name, default="INFO", allowed=_LEVELS)


def time_zone(env: environ.Env, name: str) -> str:
    """Return the variable as a time zone's name. Raises ImproperlyConfigured."""
    text: str = env.str(name, default="UTC")
    if text not in available_timezones():
        raise _refuse(name, text, "the name of a time zone, such as UTC or Europe/Berlin")
    return text


def namespace(env: environ.Env, name: str) -> str:
    """Return the variable as a namespace's name. Raises ImproperlyConfigured."""
    text: str = env.str(name, default="default")
    if not _NAMESPACE.fullmatch(text):
        raise _refuse(name, text, "the name of a namespace: up to 63 lower-case letters, digits and hyphens")
    return text


def database(env: environ.Env, name: str) -> dict[str, Any]:
    """Return the variable, a URL, as Django's settings of a database. Raises ImproperlyConfigured, without quoting it:
    it may hold a password."""
    try:
        found: dict[str, Any] = env.db(name)
    except Exception:  # noqa: BLE001 - whatever a broken URL makes its parser raise
        found = {}
    if not found.get("NAME") or str(found.get("ENGINE")).rpartition(".")[2] not in ("postgresql", "sqlite3"):
        raise ImproperlyConfigured(f"{name} can't be read. Write it as postgresql://user:password@host:5432/name.")
    return found


def redis_url(env: environ.Env, name: str) -> str:
    """Return the variable, a URL, or "". Raises ImproperlyConfigured, without quoting it: it may hold a password."""
    text: str = env.str(name, default="")
    if text and not re.match(r"(rediss?|unix)://.", text):
        raise ImproperlyConfigured(f"{name} can't be read. Write it as redis://:password@host:6379/0.")
    return text


def pairs(env: environ.Env, name: str) -> dict[str, str]:
    """Return the variable, `one=other,…`, as a dict. Raises ImproperlyConfigured."""
    text: str = env.str(name, default="").strip()
    found = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(key.strip() and value.strip() for key, _, value in found):
        raise _refuse(name, text, "pairs such as staff=Viewer,ops=Operator")
    return {key.strip(): value.strip() for key, _, value in found}


def words(env: environ.Env, name: str, *, default: list[str]) -> list[str]:
    """Return what stands between commas; `$NAME` stands for another variable, as everywhere, which `env.list` can't."""
    return [word for word in env.str(name).split(",") if word] if name in env else default


SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# How libpq 16 and newer may be asked to authenticate without showing the password itself.
_AUTHENTICATION_METHODS = ("scram-sha-256", "md5", "gss", "sspi")


def authentication_methods(env: environ.Env, name: str, *, default: list[str]) -> str:
    """Return the variable as libpq's `require_auth` takes it: `scram-sha-256,md5`. Raises ImproperlyConfigured, also
    for `password` and `none`: with these any server gets the password, or need not know it."""
    chosen = [word.strip() for word in words(env, name, default=default)]
    if not chosen or not set(chosen) <= set(_AUTHENTICATION_METHODS):
        raise _refuse(name, ",".join(chosen), f"one or more of {', '.join(_AUTHENTICATION_METHODS)}")
    return ",".join(chosen)


def endpoint_hosts(env: environ.Env, name: str, *, default: list[str]) -> EndpointHosts:
    """Return the variable as hosts that an annotation may name. Raises ImproperlyConfigured."""
    entries = [word.strip() for word in words(env, name, default=default)]
    try:
        return EndpointHosts.parse(entry for entry in entries if entry)
    except ValueError as error:
        wanted = "host names, *.example.com, addresses, or networks such as 10.0.0.0/8"
        raise _refuse(name, str(error), wanted) from None
