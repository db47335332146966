"""The way to an API server: who we are, tokens that others renew, proxies, and in words why it can't be reached."""

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

from projects.confidential.redaction import redact
from provisioning.objects.readers import mapping, text

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration

# Where the kubelet puts a Pod's token and the cluster's CA.
SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# As kubectl does; the kubelet renews a Pod's token long before it runs out.
REREAD_EVERY_S = 60.0


class AccessError(Exception):
    """There is no usable configuration; the text is a sentence for people."""


class TokenFile:
    """A bearer token in a file that somebody else renews. Thread-safe."""

    def __init__(self, path: Path, *, reread_every_s: float) -> None:
        """Read it for the first time. Raises OSError, and ValueError if it is empty."""
        self._path, self._reread_every_s = path, reread_every_s
        self._lock = threading.Lock()
        self._token = self._read()
        self._read_at_s = time.monotonic()

    def _read(self) -> str:
        token = self._path.read_text().strip()
        if not token:
            raise ValueError(f"the token file {self._path} is empty")
        return token

    def current(self) -> str:
        """Return the token, read anew where it is old; the last good one while the file is missing or empty."""
        with self._lock:
            if time.monotonic() - self._read_at_s >= self._reread_every_s:
                self._read_at_s = time.monotonic()
                # It may be in the middle of being replaced; if it stays away, the API server will say 401.
                with contextlib.suppress(OSError, ValueError):
                    self._token = self._read()
            return self._token


def load_configuration() -> "Configuration":
    """Return the client's configuration for the cluster that the settings name. Raises AccessError."""
    # A second to import: only who talks to the cluster pays for it.
    from kubernetes.client.configuration import Configuration
    from kubernetes.config import ConfigException

    # No proxy of the environment yet: it must not stand where a kubeconfig names one.
    configuration = Configuration(proxy="", no_proxy="")
    source = settings.KUBECONFIG or str(settings.EMBEDDED_KUBECONFIG)
    what = "The service account of this Pod" if settings.IN_CLUSTER else f"The kubeconfig {source}"
    try:
        if settings.IN_CLUSTER:
            _load_service_account(configuration)
        else:
            _load_kubeconfig(configuration, source)
        _choose_proxy(configuration)
    except ConfigException as error:
        raise AccessError(f"{what} can't be used: {redact(str(error)).rstrip('.')}.{_remedy()}") from None
    except OSError as error:
        raise AccessError(f"{what} can't be used: {error.filename}: {error.strerror}.") from None
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes its parser raise
        raise AccessError(f"{what} can't be read: {type(error).__name__}.") from None
    configuration.retries = False
    configuration.connection_pool_maxsize = 32
    return configuration


def _remedy() -> str:
    """Return what to do where the default kubeconfig can't be used, after a space; "" for another kubeconfig."""
    if not settings.EMBEDDED_CLUSTER:
        return ""
    if settings.EMBEDDED_CLUSTER_INSTALLED:
        return " Start the embedded cluster: `manage.py devcluster` or `make run`."
    return " This installation has no embedded cluster: set KUBECONFIG to the kubeconfig of your cluster."


def open_pool(configuration: "Configuration") -> urllib3.PoolManager:
    """Return the connections that the configuration describes; none is open yet. Raises AccessError."""
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

    token, authority = SERVICE_ACCOUNT_DIR / "token", SERVICE_ACCOUNT_DIR / "ca.crt"
    loader: Any = InClusterConfigLoader
    loader(str(token), str(authority), try_refresh_token=False).load_and_set(configuration)
    _follow_token_file(configuration, token)


def _load_kubeconfig(configuration: Any, source: str) -> None:
    from kubernetes.config import ConfigException, kube_config

    library: Any = kube_config
    merged = library.KubeConfigMerger(source).config
    if merged is None:
        raise ConfigException("there is no such file, or it is empty")
    context = settings.KUBE_CONTEXT or None
    loader = library.KubeConfigLoader(config_dict=merged, active_context=context, config_base_path=None)
    loader.load_and_set(configuration)
    name = text(mapping(loader.current_context.get("context")).get("user"))
    entry = merged["users"].get_with_name(name, safe=True) if name else None
    if entry is None:
        return
    user = mapping(entry["user"].value)
    if user.get("tokenFile"):
        # The client reads it once and never again, and prefers a `token` beside it, where kubectl prefers the file.
        _follow_token_file(configuration, Path(entry.path).absolute().parent / str(user["tokenFile"]))
    elif "exec" in user and not configuration.api_key and not configuration.cert_file:
        command = text(mapping(user["exec"]).get("command"))
        raise ConfigException(f"its login plugin {command} gave no credentials; run {command} by hand to see why")


def _follow_token_file(configuration: Any, path: Path) -> None:
    """Let every request carry the token that the file holds then."""
    from kubernetes.config import ConfigException

    try:
        file = TokenFile(path, reread_every_s=REREAD_EVERY_S)
    except ValueError as error:
        raise ConfigException(str(error)) from None

    def refresh(target: Any) -> None:
        target.api_key["BearerToken"] = f"Bearer {file.current()}"

    refresh(configuration)
    configuration.refresh_api_key_hook = refresh


def _choose_proxy(configuration: Any) -> None:
    """Set the proxy as kubectl would: that of the kubeconfig (`proxy-url`) always, else that of the environment, unless
    NO_PROXY names the server or it is on this machine."""
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
        # urllib3 leaves the user of a proxy's address out.
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=login)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def name_proxy(proxy: str | None) -> str:
    """Return a proxy's address for people, without its user and password."""
    parts = urlsplit(proxy or "")
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else "proxy"


def explain_unreachable(error: Exception, proxy: str | None) -> str:
    """Return why there was no answer, as the end of a sentence, and what to look at; nothing secret is quoted."""
    match error:
        # The narrow classes first: in urllib3 some are kinds of ConnectTimeoutError.
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
    """`said` is what OpenSSL reported; its alerts are what the other side said."""
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
        return "a certificate or key in the kubeconfig can't be used; write it anew"
    return "TLS failed; check the certificates in the kubeconfig"
