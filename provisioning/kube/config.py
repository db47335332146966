"""Connects to an API server: identity, renewed tokens, proxies, and explanations of connection errors."""

import contextlib
import ipaddress
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import urllib3
from django.conf import settings

from projects.confidential.redaction import redact, remember
from provisioning.kube.kubeconfig import (
    Impersonation,
    Kubeconfig,
    KubeconfigError,
    Material,
    check_token,
    read_kubeconfig,
)
from provisioning.kube.login_plugin import LoginPluginError, PluginLogin

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration

# As kubectl does. The kubelet renews a Pod's token long before it expires.
REREAD_EVERY_S = 60.0


class AccessError(Exception):
    """There is no usable configuration. The message is for users."""


class LoginError(AccessError):
    """The kubeconfig's login plugin returned no credentials."""


class TokenFile:
    """A bearer token in a file that another program renews. Thread-safe."""

    def __init__(self, path: Path, *, reread_every_s: float) -> None:
        """Read the file. Raises OSError, and KubeconfigError if it has no token."""
        self._path, self._reread_every_s = path, reread_every_s
        self._lock = threading.Lock()
        self._token = self._read()
        self._read_at_s = time.monotonic()

    def _read(self) -> str:
        token = self._path.read_text(errors="replace").strip()
        if not token:
            raise KubeconfigError(f"the token file {self._path} is empty")
        return check_token(token, f"in {self._path}")

    def current(self) -> str:
        """Return the token, rereading the file if the token is old. While the file is missing or empty, return the last
        one."""
        with self._lock:
            if time.monotonic() - self._read_at_s >= self._reread_every_s:
                self._read_at_s = time.monotonic()
                # The file may be being replaced. If it stays missing, the API server responds 401.
                with contextlib.suppress(OSError, KubeconfigError):
                    self._token = self._read()
            return self._token


class Access:
    """How requests reach the API server, and with which identity. Thread-safe."""

    def __init__(self, configuration: "Configuration", impersonation: Impersonation) -> None:
        self.configuration, self.impersonation = configuration, impersonation
        self._refreshing = threading.Lock()

    def headers(self) -> list[tuple[str, str]]:
        """Return the identity headers of a request; a name may occur several times. Raises AccessError.

        A renewed token is reread first, and may come with another client certificate.
        """
        with self._refreshing:
            authorization = self.configuration.get_api_key_with_prefix("BearerToken")
        found = self.impersonation.headers()
        if authorization:
            # Each time, so that a token in use stays among the secrets that are masked.
            remember(authorization.partition(" ")[2])
            found.append(("Authorization", authorization))
        return found


def load_access() -> Access:
    """Return the connection to the cluster in the settings. Raises AccessError."""
    # Importing it takes a second, which only processes that talk to the cluster pay for.
    from kubernetes.client.configuration import Configuration
    from kubernetes.config import ConfigException

    # No proxy from the environment yet: it must not replace one of the kubeconfig.
    configuration = Configuration(proxy="", no_proxy="")
    source = settings.KUBECONFIG or str(settings.EMBEDDED_KUBECONFIG)
    what = "The service account of this Pod" if settings.IN_CLUSTER else f"The kubeconfig {source}"
    impersonation = Impersonation()
    try:
        if settings.IN_CLUSTER:
            _load_service_account(configuration)
        else:
            kubeconfig = read_kubeconfig(source, settings.KUBE_CONTEXT)
            impersonation = kubeconfig.impersonation
            _use(configuration, kubeconfig, what)
        _choose_proxy(configuration)
    except LoginPluginError as error:
        raise LoginError(_unusable(what, error)) from None
    except (KubeconfigError, ConfigException) as error:
        raise AccessError(f"{_unusable(what, error)}{_remedy()}") from None
    except OSError as error:
        raise AccessError(f"{what} can't be used: {error.filename}: {error.strerror}.") from None
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes its parser raise
        raise AccessError(f"{what} can't be read: {type(error).__name__}.") from None
    configuration.retries = False
    configuration.connection_pool_maxsize = 32
    return Access(configuration, impersonation)


def _unusable(what: str, error: Exception) -> str:
    return f"{what} can't be used: {redact(str(error)).rstrip('.')}."


def _remedy() -> str:
    """Return what to do if the default kubeconfig can't be used, after a space; "" for another kubeconfig."""
    if not settings.EMBEDDED_CLUSTER:
        return ""
    if settings.EMBEDDED_CLUSTER_INSTALLED:
        return " Start the embedded cluster: `manage.py devcluster` or `make run`."
    return " This installation has no embedded cluster: set KUBECONFIG to the kubeconfig of your cluster."


def open_pool(configuration: "Configuration") -> urllib3.PoolManager:
    """Return the connection pool for the configuration, with no open connection. Raises AccessError."""
    from kubernetes.client.rest import RESTClientObject

    useless = AccessError(
        f"The proxy {name_proxy(configuration.proxy)} can't be used: its address has to be http://HOST:PORT. "
        "Check proxy-url in the kubeconfig, or HTTPS_PROXY."
    )
    if configuration.proxy and not urlsplit(configuration.proxy).hostname:
        raise useless
    try:
        pool: urllib3.PoolManager = RESTClientObject(configuration).pool_manager
    except (urllib3.exceptions.HTTPError, ValueError, ImportError):
        raise useless from None
    return pool


def _load_service_account(configuration: Any) -> None:
    from kubernetes.config.incluster_config import InClusterConfigLoader

    token, authority = settings.SERVICE_ACCOUNT_DIR / "token", settings.SERVICE_ACCOUNT_DIR / "ca.crt"
    loader: Any = InClusterConfigLoader
    loader(str(token), str(authority), try_refresh_token=False).load_and_set(configuration)
    _follow_token_file(configuration, token)


def _use(configuration: Any, kubeconfig: Kubeconfig, what: str) -> None:
    """Apply the kubeconfig to the client's configuration. Raises KubeconfigError and OSError."""
    configuration.host = kubeconfig.server
    configuration.verify_ssl = kubeconfig.is_verified
    configuration.tls_server_name = kubeconfig.tls_server_name or None
    configuration.proxy = kubeconfig.proxy
    if password := urlsplit(kubeconfig.proxy).password:
        remember(password, keep=True)
        remember(unquote(password), keep=True)
    if urlsplit(kubeconfig.server).scheme == "https":
        configuration.ssl_ca_cert = _as_file(kubeconfig.authority)
        configuration.cert_file, configuration.key_file = _as_file(kubeconfig.certificate), _as_file(kubeconfig.key)
    if kubeconfig.key:
        _remember_key(kubeconfig.key.read().decode(errors="replace"), keep=True)
    if kubeconfig.token_file:
        # It takes precedence over `token`, as with kubectl.
        _follow_token_file(configuration, kubeconfig.token_file)
    elif kubeconfig.token:
        remember(kubeconfig.token, keep=True)
        configuration.api_key["BearerToken"] = f"Bearer {kubeconfig.token}"
    elif kubeconfig.login:
        user, password = kubeconfig.login
        login = urllib3.make_headers(basic_auth=f"{user}:{password}")["authorization"]
        for secret in (password, login.partition(" ")[2]):
            remember(secret, keep=True)
        configuration.api_key["BearerToken"] = login
    elif kubeconfig.plugin:
        _follow_plugin(configuration, kubeconfig, what)


def _as_file(material: Material | None) -> str | None:
    """Return a file for the TLS library, which reads only files. Raises OSError."""
    from kubernetes.config import kube_config

    if material is None:
        return None
    if material.path:
        material.read()  # raises OSError, which names the file, where OpenSSL's error would not
        return str(material.path)
    # Readable by this user only, and removed at exit.
    library: Any = kube_config
    content = {"it-data": material.content.decode(errors="replace")}
    return str(library.FileOrData(content, "it", base64_file_content=False).as_file())


def _remember_key(pem: str, *, keep: bool = False) -> None:
    """Mask a private key as a whole and line by line."""
    lines = [line.strip() for line in pem.splitlines() if line.strip() and not line.startswith("-")]
    for secret in (pem.strip(), "".join(lines), *lines):
        remember(secret, keep=keep)


def _follow_plugin(configuration: Any, kubeconfig: Kubeconfig, what: str) -> None:
    """Send the plugin's latest credentials with every request, and run it again when they expire."""
    assert kubeconfig.plugin is not None  # noqa: S101 - the caller has looked  # nosec B101
    login = PluginLogin(kubeconfig.plugin, timeout_s=settings.KUBE_LOGIN_TIMEOUT_S)

    def refresh(target: Any) -> None:
        credential = login.current()
        if credential.key:
            if kubeconfig.certificate:
                raise LoginPluginError("the login plugin and the kubeconfig both give a client certificate")
            _remember_key(credential.key)
            target.cert_file = _as_file(Material(content=credential.certificate.encode()))
            target.key_file = _as_file(Material(content=credential.key.encode()))
        if credential.token:
            target.api_key["BearerToken"] = f"Bearer {credential.token}"

    def refresh_or_explain(target: Any) -> None:
        try:
            refresh(target)
        except LoginPluginError as error:
            raise LoginError(_unusable(what, error)) from None

    refresh(configuration)
    configuration.refresh_api_key_hook = refresh_or_explain


def _follow_token_file(configuration: Any, path: Path) -> None:
    """Send the file's current token with every request. Raises KubeconfigError and OSError."""
    file = TokenFile(path, reread_every_s=REREAD_EVERY_S)

    def refresh(target: Any) -> None:
        target.api_key["BearerToken"] = f"Bearer {file.current()}"

    refresh(configuration)
    configuration.refresh_api_key_hook = refresh


def _choose_proxy(configuration: Any) -> None:
    """Set the proxy as kubectl does: the kubeconfig's `proxy-url`, else that of the environment, unless NO_PROXY names
    the server or it is on this machine."""
    if configuration.proxy:
        configuration.no_proxy = ""
    else:
        server, proxies = urlsplit(configuration.host), getproxies()
        if not _is_loopback(server.hostname or ""):
            configuration.proxy = proxies.get(server.scheme) or proxies.get("all") or ""
        configuration.no_proxy = proxies.get("no") or ""
    if not configuration.proxy:
        return
    if "://" not in configuration.proxy:
        configuration.proxy = f"http://{configuration.proxy}"
    proxy = urlsplit(configuration.proxy)
    if proxy.username and not proxy.scheme.startswith("socks"):
        # urllib3 ignores the user in a proxy's URL.
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=login)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def name_proxy(proxy: str | None) -> str:
    """Return a proxy's address without its user and password."""
    parts = urlsplit(proxy or "")
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else "proxy"


def explain_unreachable(error: Exception, proxy: str | None) -> str:
    """Return why there was no response and what to check, as the end of a sentence, without secrets."""
    match error:
        # Subclasses first: in urllib3, some of them are kinds of ConnectTimeoutError.
        case urllib3.exceptions.ProxyError():
            return f"its proxy {name_proxy(proxy)} {_explain_proxy(error)}"
        case urllib3.exceptions.NameResolutionError():
            return "its name can't be resolved"
        case urllib3.exceptions.SSLError():
            return _explain_tls(str(error))
        case urllib3.exceptions.NewConnectionError():
            return "nothing accepts connections there"
        case urllib3.exceptions.ConnectTimeoutError() | urllib3.exceptions.ReadTimeoutError():
            return "it did not answer in time"
        case _:
            return "the connection broke"


def _explain_proxy(error: urllib3.exceptions.ProxyError) -> str:
    said = str(error.original_error)
    where = "check proxy-url in the kubeconfig, or HTTPS_PROXY and NO_PROXY"
    if "407" in said:
        return f"wants a user and a password; {where}"
    if "Tunnel connection failed" in said:
        return f"refuses to connect to it; {where}"
    return f"can't be reached; {where}"


def _explain_tls(said: str) -> str:
    """`said` is OpenSSL's message; its alerts come from the server."""
    said = said.lower()
    if "wrong_version_number" in said or "record layer failure" in said:
        return "it does not speak TLS; check http:// and https:// in the kubeconfig"
    if "hostname mismatch" in said or "ip address mismatch" in said or "doesn't match" in said:
        return "its certificate is for another name; set tls-server-name in the kubeconfig, or correct the address"
    if "has expired" in said or "not yet valid" in said:
        return "its certificate is not valid now; renew it, or set the clock right"
    if "certificate_verify_failed" in said or "certificate verify failed" in said:
        return "its certificate is not trusted; check the CA (certificate-authority) in the kubeconfig"
    if "alert" in said:
        return "it does not accept the panel's client certificate; renew the one in the kubeconfig"
    if "eof occurred" in said:
        return "it broke off TLS without a word; check the client certificate in the kubeconfig"
    if "key_values_mismatch" in said or "pem lib" in said or "no_start_line" in said or "no start line" in said:
        return "a certificate or key in the kubeconfig can't be used; replace it"
    return "TLS failed; check the certificates in the kubeconfig"
