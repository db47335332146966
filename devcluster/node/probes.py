"""Readiness probes of a local process: httpGet and tcpSocket, with kubelet's periods and thresholds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from devcluster.client.client import Object
from devcluster.node.ports import LOOPBACK

# Until the first success kubelet probes more often than the period; so do we, for a quick start.
FIRST_PERIOD_S = 0.25


async def probe_once(session: aiohttp.ClientSession, probe: Object, port: int) -> bool:
    """Whether the process on `port` passes. All ports of the container stand for this one; exec probes always pass."""
    timeout_s = float(probe.get("timeoutSeconds") or 1)
    if http := probe.get("httpGet"):
        headers = {header["name"]: header["value"] for header in http.get("httpHeaders") or []}
        url = f"http://{LOOPBACK}:{port}/{(http.get('path') or '/').lstrip('/')}"
        try:
            async with session.get(
                url, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False
            ) as response:
                return 200 <= response.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
    if "tcpSocket" in probe:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(LOOPBACK, port), timeout_s)
        except (TimeoutError, OSError):
            return False
        writer.close()
        return True
    return True


async def follow_readiness(
    session: aiohttp.ClientSession, probe: Object | None, port: int, report: Callable[[bool], None]
) -> None:
    """Probe until cancelled and `report` every change. A container without a probe is ready at once."""
    if not probe:
        report(True)
        return
    await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
    period_s = float(probe.get("periodSeconds") or 10)
    needed = {True: int(probe.get("successThreshold") or 1), False: int(probe.get("failureThreshold") or 3)}
    is_ready, streak, last = False, 0, False
    while True:
        passed = await probe_once(session, probe, port)
        streak = streak + 1 if passed == last else 1
        last = passed
        if passed != is_ready and streak >= needed[passed]:
            is_ready = passed
            report(is_ready)
        await asyncio.sleep(period_s if is_ready else min(period_s, FIRST_PERIOD_S))
