"""A daemon's operations without a daemon: they remember what they were asked, and say something of every type."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address
from typing import Any

from geodns import locate as locating
from geodns.compiler.diff import Comparison, Move, ServiceMove
from geodns.errors import ControlError
from geodns.explanation import Explanation, Location
from geodns.loading import LoadReport
from geodns.report import (
    BackendReport,
    ConfigReport,
    DatabaseReport,
    Forecast,
    MemberReport,
    OverrideReport,
    PoolChange,
    PoolReport,
    ProbeReport,
    ProberReport,
    Served,
    ServedService,
    Status,
)
from geodns.report import Move as HealthMove

PROBE = ProbeReport("web", "http 192.0.2.1:80", "down", 1, 3, 1.5, 2.5, "refused", "refused", 0.01, 5, 6, False)
MEMBER = MemberReport("192.0.2.1", "A", 1, "down", "down", "", "www/*", (PROBE, replace(PROBE, probed=None, seconds=None)))
POOL = PoolReport("www", "ams", "up", 30, 1, 2, 0.0, (MEMBER, replace(MEMBER, probes=())))
OVERRIDE = OverrideReport("ams", "drain", "alice", "disk", 1.0, None, 3)
STATUS = Status(
    version="1",
    engine="pure",
    pid=1,
    now=2.0,
    started=1.0,
    ready=True,
    listen=("127.0.0.1:53",),
    backend=BackendReport("/run/geodns/backend.sock", 4, 1, 0),
    publishes=3,
    config=ConfigReport("geodns.yaml", "ab", 1.0, "1 zone", False, True, 1.0, ("a line",), ("server.listen",)),
    databases=(DatabaseReport("builtin", "City", 1.0),),
    prober=ProberReport(True, 1.0, 0, 2, None, (("IPv4", 1.0),)),
    pools=(POOL,),
    overrides=(OVERRIDE, replace(OVERRIDE, until=9.0)),
)
COMPARISON = Comparison((ServiceMove("www", 10, Fraction(5, 3), (Move("ams", None, 2),), (("NL", 2),)),), ("new",), ())
METRICS = "text/plain; version=0.0.4; charset=utf-8"


class FakeOperations:
    """Operations of page 5, with the annotations that `control` has too. `asked` tells what was called with what."""

    def __init__(self, scene: locating.Scene | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.scene = scene
        self.is_ready = True
        self.refusal: Exception | None = None  # what the next operations raise
        self.gate: asyncio.Event | None = None  # what a reload waits for
        self.large = 0  # pools in the status
        self.scrapes = 0

    async def status(self) -> Status:
        self._note("status")
        return replace(STATUS, pools=(POOL,) * (self.large or 1))

    async def pools(self, pattern: str | None) -> tuple[PoolReport, ...]:
        self._note("pools", pattern)
        return (POOL,)

    async def overrides(self) -> tuple[OverrideReport, ...]:
        self._note("overrides")
        return (OVERRIDE,)

    async def explain(self, name: str, rtype: str, client: str | None, peer: str | None, draw: int | None) -> Explanation:
        self._note("explain", name, rtype, client, peer, draw)
        from geodns.explain import explain, parse_question

        assert self.scene is not None
        return explain(self.scene, parse_question(name, rtype, client, peer, draw or 0))

    async def locate(self, address: str) -> Location:
        self._note("locate", address)
        assert self.scene is not None
        return locating.locate(self.scene, ip_address(address))

    async def diff(self) -> Served:
        self._note("diff")
        return Served("geodns.yaml", None, "ab", ("ams",), (ServedService("www", "world", ("ams",), ()),))

    async def override(
        self, target: str, kind: str, duration: float | None, reason: str, owner: str, dry_run: bool
    ) -> Forecast:
        self._note("override", target, kind, duration, reason, owner, dry_run)
        return self._forecast(replace(OVERRIDE, target=target, kind=kind), not dry_run)

    async def end(self, target: str, kinds: tuple[str, ...], owner: str) -> Forecast:
        self._note("end", target, kinds, owner)
        return self._forecast(None, True)

    async def reload(self, dry_run: bool, max_move: float | None) -> LoadReport:
        self._note("reload", dry_run, max_move)
        if self.gate is not None:
            await self.gate.wait()
        return LoadReport(True, ("a warning",), "1 zone", COMPARISON, ("server.listen",))

    def ready(self) -> bool:
        return self.is_ready

    async def scrape(self) -> tuple[str, bytes]:
        self._note("scrape")
        self.scrapes += 1
        await asyncio.sleep(0)
        return METRICS, b"# TYPE up gauge\nup 1\n"

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.refusal is not None:
            raise self.refusal

    def _forecast(self, override: OverrideReport | None, applied: bool) -> Forecast:
        moves = (HealthMove("www", "ams", None, 0.25),)
        changes = (PoolChange("www", "ams", "up", "drained"),)
        return Forecast(override, (OVERRIDE,), ("www/ams/192.0.2.1",), changes, moves, 30.0, ("lasts",), 2.0, applied)


REFUSED = ControlError(404, 'nothing matches "asm"; did you mean "ams"?')
