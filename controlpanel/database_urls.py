"""URLs of databases from environment variables: the panel's own, the fallback database of sandboxes, and Redis.

Invalid values raise ImproperlyConfigured with the variable's name, without quoting the value: it may contain a
password.
"""

import re
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from controlpanel.environment import NO, REFERENCE, YES, given, secret, text
from projects.confidential.redaction import one_line, remember
from projects.domain.connection import Connection, InvalidConnectionError, parse_url


def database(env: environ.Env, name: str) -> dict[str, Any] | None:
    """Return the variable, a URL, as Django's database settings; None if it is not set.

    Raises ImproperlyConfigured without quoting the value: it may contain a password.
    """
    url = secret(env, name)
    if url is None:
        return None
    unreadable = ImproperlyConfigured(f"{name} can't be read. Write it as postgresql://user:password@host:5432/name.")
    if REFERENCE.search(url):
        raise unreadable
    # The parser decodes a plus as a space, which is right only after the question mark.
    login, at, rest = url.rpartition("@")
    rest, mark, options = rest.partition("?")
    url = login.replace("+", "%2B") + at + rest.replace("+", "%2B") + mark + options
    try:
        found: dict[str, Any] = env.db_url_config(url)
    except Exception:  # noqa: BLE001 - the parser raises many kinds of errors
        raise unreadable from None
    engine = str(found.get("ENGINE")).rpartition(".")[2]
    if engine not in ("postgresql", "sqlite3") or not found.get("NAME"):
        raise unreadable
    if engine == "sqlite3" and (found["NAME"] == ":memory:" or found.get("HOST")):
        raise ImproperlyConfigured(
            f"{name} doesn't name a file. Write it as sqlite:////absolute/path/of/panel.sqlite3."
        )
    remember(str(found.get("PASSWORD") or ""), keep=True)
    if unknown := sorted(_unknown_options(found, engine)):
        names = ", ".join(one_line(option, 40) for option in unknown[:5])
        raise ImproperlyConfigured(f"{name} has unsupported parameters: {names}. Remove them.")
    return found


def _unknown_options(found: dict[str, Any], engine: str) -> set[str]:
    """Return the query parameters that the panel can't pass to its database. Converts boolean parameters in place."""
    import psycopg  # imported here since it takes 0.1 s, which most commands can save

    # A transaction per request would delay intents until the response.
    unknown = {option.lower() for option in ("ATOMIC_REQUESTS", "AUTOCOMMIT") if option in found}
    for option in ("DISABLE_SERVER_SIDE_CURSORS", "CONN_HEALTH_CHECKS"):
        word = str(found.get(option, "false")).lower()
        if word not in (*YES, *NO):
            unknown.add(option.lower())
        elif option in found:
            found[option] = word in YES
    age_s = found.get("CONN_MAX_AGE", 0)
    if age_s is not None and not (isinstance(age_s, int) and age_s >= 0):
        unknown.add("conn_max_age")
    known = {"timeout"} if engine == "sqlite3" else {"isolation_level", "server_side_binding", "assume_role"}
    for option, value in found.get("OPTIONS", {}).items():
        if option in known:
            continue
        try:
            if engine == "sqlite3":
                raise psycopg.ProgrammingError
            psycopg.conninfo.make_conninfo("", **{option: value})
        except psycopg.Error:
            unknown.add(option)
    return unknown


def fallback_database(env: environ.Env, name: str) -> Connection | None:
    """Return the variable, a URL, as a connection; None if it is not set. Raises ImproperlyConfigured."""
    url = given(env, name)
    if not url:
        return None
    try:
        if REFERENCE.search(url):
            raise InvalidConnectionError("The database URL contains an unresolved reference.")
        if urlsplit(url).query:
            raise InvalidConnectionError("The database URL has parameters. Set TLS with DATABASE_SSLMODE instead.")
        found = parse_url(url)
    except ValueError as error:
        reason = str(error) if isinstance(error, InvalidConnectionError) else "The database URL can't be parsed."
        raise ImproperlyConfigured(f"{name} is invalid. {reason}") from None
    remember(found.password, keep=True)
    return found


def redis_url(env: environ.Env, name: str) -> str:
    """Return the variable, a URL, or "". Raises ImproperlyConfigured without quoting the value: it may contain a
    password."""
    url = text(env, name, default="")
    if not url:
        return ""
    from redis.connection import parse_url as parse_redis_url  # imported only if needed

    parse: Any = parse_redis_url
    is_plain = re.match(r"(rediss?|unix)://.", url) and not REFERENCE.search(url) and not re.search(r"\s", url)
    try:
        options: dict[str, Any] | None = parse(url) if is_plain else None
    except (ValueError, TypeError):
        options = None
    if options is None:
        raise ImproperlyConfigured(f"{name} can't be read. Write it as redis://:password@host:6379/0.")
    remember(str(options.get("password") or ""), keep=True)
    return url
