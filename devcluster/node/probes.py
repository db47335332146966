"""Readiness probes of a local process: httpGet and tcpSocket, with the periods and thresholds of the kubelet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from devcluster.client.client import Object
from devcluster.node.ports import join_address

log = logging.getLogger(__name__)

# Like the kubelet, probe more often until the first success.
FIRST_PERIOD_S = 0.25


async def probe_once(session: aiohttp.ClientSession, probe: Object, host: str, port: int) -> bool:
    """Return whether the process passes. Every port of the container maps to `port`; exec probes always pass."""
    timeout_s = float(probe.get("timeoutSeconds") or 1)
    if http := probe.get("httpGet"):
        headers = {header["name"]: header["value"] for header in http.get("httpHeaders") or []}
        url = f"http://{join_address(host, port)}/{(http.get('path') or '/').lstrip('/')}"
        try:
            async with session.get(
                url, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False
            ) as response:
                return 200 <= response.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
    if "tcpSocket" in probe:
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(host, port)
        except (TimeoutError, OSError):
            return False
        writer.close()
        return True
    return True


async def follow_readiness(
    session: aiohttp.ClientSession, probe: Object | None, host: str, port: int, report: Callable[[bool], None]
) -> None:
    """Probe until cancelled and `report` every change. A container without a probe is ready immediately."""
    if not probe:
        report(True)
        return
    await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
    period_s = float(probe.get("periodSeconds") or 10)
    needed = {True: int(probe.get("successThreshold") or 1), False: int(probe.get("failureThreshold") or 3)}
    is_ready, streak, last = False, 0, False
    has_failed = False
    while True:
        try:
            passed = await probe_once(session, probe, host, port)
        except Exception:
            passed = False
            if not has_failed:
                log.exception("A readiness probe of port %s can't be run; it counts as failed.", port)
            has_failed = True
        streak = streak + 1 if passed == last else 1
        last = passed
        if passed != is_ready and streak >= needed[passed]:
            is_ready = passed
            report(is_ready)
        await asyncio.sleep(period_s if is_ready else min(period_s, FIRST_PERIOD_S))
