"""The address and the credentials of a database, and their form as a URL. Pure, except that passwords are masked from
then on."""

from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from projects.confidential.redaction import remember


class InvalidConnectionError(ValueError):
    """The URL isn't that of a PostgreSQL database with a user and a password. The message never quotes the URL."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything that a client needs to connect. `repr` omits the password."""

    host: str
    port: int
    database: str
    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        # Any code that holds a password might write it somewhere by mistake.
        remember(self.password)

    @property
    def url(self) -> str:
        """The libpq URI. User, password and database are percent-encoded; an IPv6 host is in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, password, database = (quote(part, safe="") for part in (self.username, self.password, self.database))
        return f"postgresql://{user}:{password}@{host}:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        """DATABASE_URL, and the variables that libpq and its bindings read."""
        return {
            "DATABASE_URL": self.url,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.username,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
        }


ENVIRONMENT_NAMES = (
    *("DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"),
    # How libpq may log in: the panel's settings decide.
    *("PGREQUIREAUTH", "PGSSLMODE"),
)


def parse_url(url: str) -> Connection:
    """Return the Connection of a `postgresql://` URL. Raises InvalidConnectionError if a part is missing."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise InvalidConnectionError("The database URL can't be read: percent-encode its user and password.") from None
    database = unquote(parts.path.lstrip("/"))
    if parts.scheme not in ("postgres", "postgresql"):
        raise InvalidConnectionError("The database URL has to start with postgresql://.")
    missing = [
        name
        for name, value in (
            ("a host", parts.hostname),
            ("a user", parts.username),
            ("a password", parts.password),
            ("a database name", database),
        )
        if not value
    ]
    if missing:
        raise InvalidConnectionError(f"The database URL has no {' and no '.join(m.split(' ', 1)[1] for m in missing)}.")
    return Connection(
        host=str(parts.hostname),
        port=port,
        database=database,
        username=unquote(str(parts.username)),
        password=unquote(str(parts.password)),
    )
