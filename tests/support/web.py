"""HTTP sessions of a person with one of the panel's web servers."""

import requests

TIMEOUT_S = 30.0


class WebSession:
    """The cookies of one person. Proxies and certificates of the environment are not used."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def get(self, path: str) -> requests.Response:
        return self._session.get(self.base + path, timeout=TIMEOUT_S)

    def visit(self, url: str) -> requests.Response:
        """GET any URL, as by following a link of the panel; `request` of the answer has what was sent."""
        return self._session.get(url, timeout=TIMEOUT_S)

    def cookies_for(self, url: str) -> str:
        """Return the cookies that a browser would send to a URL; "" for none."""
        return str(self._session.prepare_request(requests.Request("GET", url)).headers.get("Cookie") or "")

    def send(self, path: str, fields: dict[str, str]) -> requests.Response:
        """POST a form with the CSRF token that an earlier page has set."""
        token = next(value for name, value in self._session.cookies.items() if "csrf" in name)
        return self._session.post(
            self.base + path,
            data={**fields, "csrfmiddlewaretoken": token},
            headers={"Referer": self.base + path},
            timeout=TIMEOUT_S,
        )

    def log_in(self, username: str, password: str, next_path: str = "/admin/") -> requests.Response:
        """Log in through the form of the admin; return the page that follows."""
        self.get("/admin/login/")
        return self.send(f"/admin/login/?next={next_path}", {"username": username, "password": password})

    @property
    def is_logged_in(self) -> bool:
        return any("session" in cookie.name for cookie in self._session.cookies)
