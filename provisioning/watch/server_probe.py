"""Whether the API server answers at all: a request every two seconds, because a watch may be silent for minutes.

A server that hangs keeps its connections open. Only the missing answer tells.
"""

import logging
import threading
import time
from collections.abc import Callable

from provisioning.kube.client import Kube, connect
from provisioning.kube.errors import KubeError, NotConfiguredError, RefusedError

logger = logging.getLogger(__name__)

_ASK_EVERY_S = 2.0
# With a second until the watcher's lease says so, and ten until an open page asks: within 20 s on every page.
SILENCE_LIMIT_S = 8.0
# A request that fails sooner was not met with silence: its error is the cause.
_FAILS_AT_ONCE_S = 2.0
# A proxy answers these for a server that doesn't.
_GATEWAY_CODES = frozenset({502, 503, 504})


class ServerProbe:
    """Asks the API server for its version. `run` needs its own thread and returns when `stop` is set."""

    def __init__(self, stop: threading.Event, connect: Callable[[], Kube] = connect) -> None:
        self._stop, self._connect = stop, connect
        self._answered_at_s = time.monotonic()
        self._host = ""
        self._error = ""

    def run(self) -> None:
        while not self._stop.wait(_ASK_EVERY_S):
            self.ask()

    def ask(self) -> None:
        """Send one request. Any answer counts, also a refusal; only those that a proxy sends in its place don't."""
        asked_at_s = time.monotonic()
        try:
            kube = self._connect()
            self._host = kube.host
            kube.version()
        except KubeError as error:
            if not isinstance(error, RefusedError) or error.code in _GATEWAY_CODES:
                fails_at_once = time.monotonic() - asked_at_s < _FAILS_AT_ONCE_S
                self._error = str(error) if fails_at_once or isinstance(error, NotConfiguredError) else ""
                return
        except Exception:
            logger.exception("The API server could not be asked whether it answers.")
            return
        self._answered_at_s, self._error = time.monotonic(), ""

    def silence(self) -> str:
        """Return what to say about a server that is silent for too long; "" for one that answers."""
        silent_s = time.monotonic() - self._answered_at_s
        if silent_s <= SILENCE_LIMIT_S:
            return ""
        if self._error:
            return self._error
        return (
            f"The API server {self._host} has not answered for {SILENCE_LIMIT_S:.0f} s. It hangs or is overloaded, or "
            "the network drops its packets. Check it with `kubectl get --raw /version`. The panel retries."
        )
