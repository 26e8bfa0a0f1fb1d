"""Every operation of a running daemon, once: HTTP, the control socket and so the command line are doors to it.

Knows what each operation asks of the daemon's parts, and how to refuse, in words, what an operator got wrong. Knows nothing
of sockets and JSON. What takes long runs in a thread or in slices, so that no query waits for it.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from secrets import randbits
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

from . import __version__
from .answer import Settings
from .config.model import Config
from .control_reports import find_pools, read_databases, report_override, report_pools
from .control_words import tell_no_match, tell_not_held, warn_of_end, warn_of_override
from .errors import ControlError, DatabaseError
from .explanation import Explanation, Location
from .forecast import OrderCounts, Outlook, foresee
from .health.overrides import Kind, Override
from .health.roster import Roster
from .health.state import Health, MemberKey
from .loading import LoadReport
from .present import show_percent
from .ranks import Ranks
from .report import (
    BackendReport,
    ConfigReport,
    DatabaseReport,
    Forecast,
    OverrideReport,
    PoolReport,
    ProberReport,
    Served,
    Status,
)
from .served import tell_served
from .snapshot import Snapshot
from .threads import in_thread

if TYPE_CHECKING:
    from .locate import Scene

LONGEST_REASON, LONGEST_OWNER = 200, 200  # characters; the owner with the address that HTTP adds
LONGEST_DURATION = 366 * 86400.0  # seconds
FORCES = ("up", "down")
SOMEBODY = "somebody"  # the owner where the API was told none
SLICE = 0.002  # seconds of reports between two looks at the sockets
NOBODY = Outlook((), (), 0.0, ())  # what changes when nobody's condition does

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Desk(Protocol):
    """What operations need of the daemon, always as it is now; times are seconds since 1970."""

    @property
    def path(self) -> Path: ...  # of the configuration
    @property
    def images(self) -> Path | None: ...  # the folder of kept maps
    @property
    def engine(self) -> str: ...  # pure, native
    @property
    def pid(self) -> int: ...
    @property
    def started(self) -> float: ...
    @property
    def listen(self) -> tuple[str, ...]: ...
    @property
    def settings(self) -> Settings: ...  # those that replies are made with
    @property
    def roster(self) -> Roster: ...
    @property
    def snapshot(self) -> Snapshot | None: ...  # None: nothing is published yet
    @property
    def config(self) -> Config | None: ...  # as it is served, without its zones
    @property
    def publishes(self) -> int: ...
    def ready(self) -> bool: ...
    def config_report(self) -> ConfigReport: ...
    def prober_report(self) -> ProberReport: ...  # with the families that are frozen
    def backend_report(self) -> BackendReport | None: ...  # None: PowerDNS cannot attach
    async def put(self, override: Override) -> None: ...  # logged, published, saved; ValueError: there are too many
    async def end(self, target: str, kinds: Collection[str]) -> None: ...  # the same
    async def load(self, *, dry_run: bool, max_move: float | None) -> LoadReport: ...
    async def scrape(self, status: Status) -> tuple[str, bytes]: ...  # content type and octets of /metrics


class Plan(NamedTuple):
    """What an override, or the end of some, is about to change; worked out in a thread, which only reads the roster."""

    matched: Sequence[MemberKey]
    after: Health
    ended: tuple[OverrideReport, ...]
    touched: Sequence[MemberKey]
    warnings: tuple[str, ...]


class Control:
    """The operations. One for the daemon's whole life; nothing of what it remembers has to be saved."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ranks, self._counts = Ranks(), OrderCounts()
        self._databases: tuple[bytes, tuple[DatabaseReport, ...]] = (b"", ())  # with the digest of the maps made from them

    def published(self, snapshot: Snapshot) -> None:
        """*snapshot* has just become the current one; to be told before the one before it is swept away."""
        self._ranks.see(snapshot, time.time())

    def ready(self) -> bool:
        """Does the daemon answer queries, with the first results of all checks, or after waiting for them?"""
        return self._desk.ready()

    async def scrape(self) -> tuple[str, bytes]:
        """What Prometheus fetches: content type and octets."""
        return await self._desk.scrape(await self.status())

    async def status(self) -> Status:
        """All that the daemon tells of itself."""
        desk, snapshot = self._desk, self._desk.snapshot
        pools = () if snapshot is None else await self._report(snapshot, range(len(snapshot.zones.pools)))
        return Status(
            version=__version__,
            engine=desk.engine,
            pid=desk.pid,
            now=time.time(),
            started=desk.started,
            ready=desk.ready(),
            listen=desk.listen,
            backend=desk.backend_report(),
            publishes=desk.publishes,
            config=desk.config_report(),
            databases=await self._find_databases(),
            prober=desk.prober_report(),
            pools=pools,
            overrides=await self.overrides(),
        )

    async def pools(self, pattern: str | None) -> tuple[PoolReport, ...]:
        """The pools that *pattern* names, a target or a service; all without one."""
        snapshot = self._snapshot()
        numbers: Sequence[int] = range(len(snapshot.zones.pools))
        if pattern:
            numbers = understand(find_pools, snapshot.zones, pattern)
            if not numbers:
                raise ControlError(404, await in_thread(tell_no_match, snapshot.zones, pattern, "no pool matches"))
        return await self._report(snapshot, numbers)

    async def overrides(self) -> tuple[OverrideReport, ...]:
        """What operators forced, and how many members each names now."""
        roster = self._desk.roster
        work = (report_override(one, len(roster.matched(one.target))) for one in roster.overrides)
        return await _in_slices(work)

    async def explain(self, name: str, rtype: str, client: str | None, peer: str | None, draw: int | None) -> Explanation:
        """Why a client gets the answer that it gets, by the tables, the health and the settings of this moment."""
        chance = randbits(64) if draw is None else draw

        def work(scene: Scene) -> Explanation:
            from . import explain as explaining  # noqa: PLC0415 - dnspython and all: a daemon that nobody asks needs none

            try:
                question = explaining.parse_question(name, rtype, client, peer, chance)
            except ValueError as error:
                raise ControlError(400, str(error).replace("--", "")) from error
            return explaining.explain(scene, question)

        return await self._look_up(work)

    async def locate(self, address: str) -> Location:
        """Where an address is, and what every map in use makes of it."""
        try:
            place = ip_address(address)
        except ValueError as error:
            raise ControlError(400, str(error)) from error

        def work(scene: Scene) -> Location:
            from . import locate as locating  # noqa: PLC0415 - as above

            return locating.locate(scene, place)

        return await self._look_up(work)

    async def diff(self) -> Served:
        """What is served, for whoever compares another configuration with it."""
        snapshot, config = self._snapshot(), self._config()
        return await in_thread(tell_served, self._desk.path, config, snapshot.maps, self._desk.images)

    async def reload(self, dry_run: bool, max_move: float | None) -> LoadReport:
        """Read the configuration again; *max_move* (0..1) refuses where the worst service moves more, in a dry run too."""
        report = await self._desk.load(dry_run=dry_run, max_move=max_move)
        if report.ok and dry_run and max_move is not None and report.comparison is not None:
            worst = report.comparison.worst
            if worst > max_move:
                text = f"would be refused: {show_percent(worst)} move in one service, at most {show_percent(max_move)} may"
                return replace(report, ok=False, summary=text)
        return report

    async def override(
        self, target: str, kind: str, duration: float | None, reason: str, owner: str, dry_run: bool
    ) -> Forecast:
        """Begin an override (*kind*: drain, up, down) for *duration* seconds (None: until it is ended); tell what moves."""
        roster, snapshot, now = self._desk.roster, self._snapshot(), time.time()
        check_text("reason", reason, LONGEST_REASON)
        check_text("owner", owner or SOMEBODY, LONGEST_OWNER)
        if duration is not None and not 0 < duration <= LONGEST_DURATION:
            raise ControlError(400, f"an override lasts more than 0 s and at most 366 days, got {duration:g} s")
        until = None if duration is None else now + duration
        override = Override(target, cast(Kind, kind), owner or SOMEBODY, reason, now, until)

        def plan() -> Plan:
            matched = understand(roster.matched, target)
            if not matched:
                raise ControlError(404, tell_no_match(snapshot.zones, target, "no member matches"))
            replaced = roster.held(target, FORCES if kind in FORCES else (kind,))
            after = understand(roster.health_with, override, without=replaced)
            warnings = warn_of_override(override, snapshot, matched, roster, after)
            ended = tuple(report_override(one, len(matched)) for one in replaced)
            return Plan(matched, after, ended, find_touched(roster.health(), after, matched), tuple(warnings))

        found = await in_thread(plan)
        if not dry_run:
            try:
                await self._desk.put(override)
            except ValueError as error:
                raise ControlError(409, str(error)) from error
        begun = report_override(override, len(found.matched))
        return _forecast(begun, found, await self._foresee(snapshot, found), now, not dry_run)

    async def end(self, target: str, kinds: tuple[str, ...], owner: str) -> Forecast:
        """End the overrides of *kinds* that stand on *target*, or whose targets the glob matches, and tell what moves."""
        roster, snapshot, now = self._desk.roster, self._snapshot(), time.time()
        check_text("owner", owner or SOMEBODY, LONGEST_OWNER)
        held = understand(roster.held, target, kinds) or find_held(roster.overrides, target, kinds)
        if not held:
            raise ControlError(404, tell_not_held(roster.overrides, target, kinds))

        def plan() -> Plan:
            members = [roster.matched(one.target) for one in held]
            matched = list(dict.fromkeys(member for found in members for member in found))
            after = roster.health_with(None, without=held)
            ended = tuple(report_override(one, len(found)) for one, found in zip(held, members, strict=True))
            warnings = warn_of_end(held, snapshot, matched, after)
            return Plan(matched, after, ended, find_touched(roster.health(), after, matched), tuple(warnings))

        found = await in_thread(plan)
        _log.info("%s ends: %s", owner or SOMEBODY, ", ".join(f"{one.kind} {one.target}" for one in held))
        for one in held:
            await self._desk.end(one.target, (one.kind,))
        return _forecast(None, found, await self._foresee(snapshot, found), now, True)

    async def _foresee(self, snapshot: Snapshot, found: Plan) -> Outlook:
        """What *found* moves: worked out when it is in force already, since it may take a second for large maps."""
        if not found.touched:
            return NOBODY
        return await in_thread(
            foresee, snapshot, found.after, found.touched, lambda number: self._counts.find(snapshot.maps, number)
        )

    async def _report(self, snapshot: Snapshot, numbers: Sequence[int]) -> tuple[PoolReport, ...]:
        """The pools with *numbers*."""
        roster, zones, started = self._desk.roster, snapshot.zones, self._desk.started
        return await _in_slices(
            report_pools(snapshot, numbers, roster, lambda number: self._ranks.since(zones, number, started))
        )

    async def _find_databases(self) -> tuple[DatabaseReport, ...]:
        """Read once for each state of the maps: what lies on the disk may be newer than what is served."""
        snapshot, config = self._desk.snapshot, self._desk.config
        if snapshot is None or config is None:
            return ()
        if snapshot.maps.digest != self._databases[0]:
            try:
                found = await in_thread(read_databases, config.geoip)
            except DatabaseError:
                return ()  # it went after it was compiled; the next load says so
            self._databases = snapshot.maps.digest, found
        return self._databases[1]

    async def _look_up(self, work: Callable[[Scene], T]) -> T:
        """*work* in a thread, since it reads databases, on the scene of this moment."""
        desk, snapshot, config = self._desk, self._snapshot(), self._config()
        settings, health = desk.settings, desk.roster.health()

        def look() -> T:
            from .geo.place import find_sources  # noqa: PLC0415 - maxminddb and the like
            from .locate import Scene  # noqa: PLC0415

            return work(Scene(config, snapshot, find_sources(config.geoip), settings, health))

        try:
            return await in_thread(look)
        except DatabaseError as error:
            raise ControlError(503, str(error)) from error

    def _snapshot(self) -> Snapshot:
        if self._desk.snapshot is None:
            raise ControlError(503, "nothing is served yet: the configuration is still being compiled")
        return self._desk.snapshot

    def _config(self) -> Config:
        if self._desk.config is None:
            raise ControlError(503, "nothing is served yet: the configuration is still being compiled")
        return self._desk.config


async def _in_slices(work: Iterator[T]) -> tuple[T, ...]:
    """All of *work*; between slices queries have as much time as the slice took. Ten thousand members take 100 ms."""
    found, began = [], time.perf_counter()
    for one in work:
        found.append(one)
        took = time.perf_counter() - began
        if took > SLICE:
            await asyncio.sleep(took)
            began = time.perf_counter()
    return tuple(found)


def _forecast(begun: OverrideReport | None, found: Plan, outlook: Outlook, now: float, applied: bool) -> Forecast:
    return Forecast(
        override=begun,
        ended=found.ended,
        matched=tuple(map("/".join, found.matched)),
        pools=outlook.pools,
        moves=outlook.moves,
        horizon=outlook.horizon,
        warnings=(*outlook.warnings, *found.warnings),
        now=now,
        applied=applied,
    )


def find_touched(before: Health, after: Health, members: Sequence[MemberKey]) -> list[MemberKey]:
    """Those of *members* whose condition changes."""
    return [member for member in members if before.get(member) != after.get(member)]


def understand(parse: Callable[..., T], *arguments: object, **named: object) -> T:
    """What *parse* makes of what an operator wrote. Raises ControlError for its ValueError."""
    try:
        return parse(*arguments, **named)
    except ValueError as error:
        raise ControlError(400, str(error)) from error


def check_text(name: str, text: str, longest: int) -> None:
    """Refuse what is too long to be kept, or would command the terminal of whoever reads it later."""
    if len(text) > longest:
        raise ControlError(400, f"{name}: at most {longest} characters, got {len(text)}")
    if not text.isprintable():
        raise ControlError(400, f"{name}: must be printable characters on one line")


def find_held(overrides: Sequence[Override], target: str, kinds: Collection[str]) -> tuple[Override, ...]:
    """The overrides of *kinds* whose targets the glob *target* matches; none where it is no glob."""
    if not set(target) & set("*?["):
        return ()
    return tuple(
        override
        for override in overrides
        if override.kind in kinds and fnmatch.fnmatchcase(override.target.lower(), target.lower())
    )
