"""The web server: `python -m controlpanel.serve` runs Waitress.

A request takes a thread only when its headers and body have arrived completely. A client that sends half a request
holds a connection but no thread, and is disconnected when it stays silent.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from django.conf import settings
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from provisioning.management.stop_signals import listen_for_stop

# Connections without traffic are closed after this time, idle keep-alive connections included.
_SILENT_FOR_S = 30
_MOST_CONNECTIONS = 800
_MOST_HEADER_BYTES = 32 * 1024
_LOOP_TIMEOUT_S = 0.5


def serve(application: Callable[..., Any], *, host: str, port: int, threads: int, graceful_s: float) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that have arrived, for at most `graceful_s`."""
    # All open sockets. The loop below replaces server.run(), which stops only by exiting.
    sockets: dict[int, Any] = {}
    server: Any = create_server(
        application,
        map=sockets,
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        threads=threads,
        ident=None,
        # Django handles X-Forwarded-For and X-Forwarded-Proto by its settings (TRUSTED_PROXIES, HTTPS).
        clear_untrusted_proxy_headers=False,
        channel_timeout=_SILENT_FOR_S,
        cleanup_interval=5,
        connection_limit=_MOST_CONNECTIONS,
        max_request_header_size=_MOST_HEADER_BYTES,
        max_request_body_size=settings.MAX_REQUEST_BYTES,
        asyncore_use_poll=True,
    )
    stops: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stops.append(number)

    listen_for_stop(stop)
    while not stops:
        wasyncore.loop(timeout=_LOOP_TIMEOUT_S, use_poll=True, map=sockets, count=1)
    listeners: list[Any] = [each for each in sockets.values() if isinstance(each, BaseWSGIServer)]
    for listener in listeners:
        listener.del_channel()
        listener.socket.close()
    end = time.monotonic() + graceful_s
    while _is_busy(sockets) and time.monotonic() < end:
        wasyncore.loop(timeout=0.05, use_poll=True, map=sockets, count=1)
    server.task_dispatcher.shutdown(timeout=1)


def _is_busy(sockets: Mapping[int, Any]) -> bool:
    """Whether a request has arrived that is not fully answered yet."""
    channels = [each for each in sockets.values() if isinstance(each, HTTPChannel)]
    return any(channel.requests or channel.total_outbufs_len for channel in channels)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m controlpanel.serve", description="Serve the panel over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="requests answered at a time (default: %(default)s)")
    parser.add_argument(
        "--graceful-s", type=float, default=20.0, help="seconds to finish requests after SIGTERM (default: %(default)s)"
    )
    options = parser.parse_args()
    # Importing it loads the settings; invalid ones end the process with a message.
    from controlpanel.wsgi import application

    serve(application, host=options.host, port=options.port, threads=options.threads, graceful_s=options.graceful_s)


if __name__ == "__main__":
    main()
