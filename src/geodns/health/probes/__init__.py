"""The probes: one attempt to find out whether a member can serve.

Knows which module makes which type, time-outs, and how what was found becomes an outcome. Knows nothing of schedules,
thresholds or what an outcome changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from ...config.model_checks import DnsCheck, ExecCheck, FileCheck, HttpCheck, HttpsCheck, TcpCheck, TlsCheck
from ..state import Outcome
from ..targets import Target
from . import dns, icmp, tcp, tls
from .connect import Names
from .file import Files
from .finding import Finding, Trail, explain_error, late, one_line, unsure
from .run import Programs
from .trust import Trust
from .web import Web

log = logging.getLogger(__name__)


class Probes:
    """Makes probes, and owns what they share: TLS contexts, the session of aiohttp, places for programs, files as read.

    It belongs to the event loop in which it is first used.
    """

    def __init__(self, exec_at_once: int = 8, now: Callable[[], float] = time.time) -> None:
        """At most *exec_at_once* programs run at a time. *now* tells seconds since 1970, for certificates and files."""
        self._now = now
        self._names = Names()
        self._trust = Trust()
        self._web = Web(self._names, self._trust)
        self._programs = Programs(exec_at_once)
        self._files = Files()
        self._told: set[str] = set()

    async def probe(self, target: Target) -> Outcome:
        """What *target* is like now. Raises nothing but CancelledError, and takes no longer than the check's time-out.

        (Programs of `exec` checks may have to wait for a place; their time begins when they start.)
        """
        began = time.monotonic()
        trail = Trail()
        if isinstance(target.check, ExecCheck):
            found, seconds = await self._run(target, target.check)
        else:
            found = await self._in_time(target, trail)
            seconds = time.monotonic() - began
        seen = found.seen or trail.heard
        return Outcome(target.key, found.verdict, seen, one_line(found.text), seconds, found.weight, trail.expires)

    async def close(self) -> None:
        """End what is shared. Probes that still run are their callers' to cancel before."""
        self._programs.close()
        self._names.close()
        await self._web.close()

    async def _in_time(self, target: Target, trail: Trail) -> Finding:
        try:
            async with asyncio.timeout(target.check.timeout) as clock:
                return await self._probe(target, trail)
        except Exception as error:
            if clock.expired():
                return late(trail, target.check.timeout)
            return explain_error(error) or self._confess(target, error)

    async def _run(self, target: Target, check: ExecCheck) -> tuple[Finding, float]:
        try:
            return await self._programs.probe(target, check)
        except Exception as error:
            return explain_error(error) or self._confess(target, error), 0.0

    async def _probe(self, target: Target, trail: Trail) -> Finding:
        check = target.check
        if isinstance(check, (HttpCheck, HttpsCheck)):
            return await self._web.probe(target, check, trail)
        if isinstance(check, FileCheck):
            return self._files.probe(target.member, check, self._now())
        address = await self._names.find(target.host, trail)
        if isinstance(check, TcpCheck):
            return await tcp.probe(address, target.port, check, trail)
        if isinstance(check, TlsCheck):
            name = check.host or target.member.removesuffix(".")
            trusted = self._trust.find(check.verify, check.ca)
            return await tls.probe(address, target.port, check, name, trusted, trail, self._now())
        if isinstance(check, DnsCheck):
            return await dns.probe(address, target.port, check, trail)
        return await icmp.probe(address, trail)

    def _confess(self, target: Target, error: Exception) -> Finding:
        """A fault of ours is no verdict on a member. Each kind leaves one traceback in the log, not one a probe."""
        text = f"cannot probe: {error!r}"
        kind = f"{target.check.type} {type(error).__name__}"
        if kind not in self._told:
            self._told.add(kind)
            log.error("%s: %s", target.where, text, exc_info=error)
        return unsure(text)
