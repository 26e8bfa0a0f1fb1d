"""One load: compile in a child, take over in slices, publish, remember.

Knows the order of things, and that whatever fails leaves the snapshot that is served. Knows nothing of sockets, signals or
who wants a load. The main thread never waits: what takes long runs in the child, in an executor, or in slices with queries
between them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from . import publish
from .compiler.child import compile_in_child
from .compiler.choices import build_pool
from .compiler.diff import Comparison
from .compiler.handover import Handover, Refusal, refuse
from .compiler.last_good import find as find_last_good
from .compiler.last_good import keep as keep_last_good
from .compiler.serials import find_serials, write_serials
from .config.model import Config, Server
from .errors import GeodnsError, ImageError
from .flips import Flips
from .health.state import Health
from .image_maps import read_maps
from .image_zones import read_zones
from .snapshot import Choices, Maps, Snapshot, Zones
from .threads import in_thread

POOLS_AT_ONCE = 100  # pools rebuilt between two looks at the sockets
UNCHANGED = "the running configuration is unchanged"
WARNING = ": warning: "  # in the text of a complaint; the level of the log line says it

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How one load went."""

    ok: bool
    lines: tuple[str, ...]  # complaints, one each; errors first where it failed
    summary: str  # what is served now, or why nothing changed
    comparison: Comparison | None = None  # with what was served, where that was asked for
    waiting: tuple[str, ...] = ()  # keys of `server` that differ, and wait for a restart


class Loader:
    """Loads one configuration file, again and again, one load at a time."""

    def __init__(self, path: Path, server: Server, state: Path | None, images: Path | None, flips: Flips) -> None:
        self._path, self._server, self._state, self._images, self._flips = path, server, state, images, flips
        self._one_at_a_time = asyncio.Lock()
        self._beside = False  # by a predecessor
        self.served: Handover | None = None  # what is served; its blocks are not kept
        self.loaded = 0.0  # when that was published, seconds since 1970
        self.last: LoadReport | None = None  # of the last load that was to be served
        self.last_at = 0.0
        self.watched: Callable[[Handover, float, float], None] = lambda served, mono, wall: (
            None
        )  # told what a load read, and when
        self.renew: Callable[[], Awaitable[None]] = _nothing  # what a reload reads anew beside the configuration

    @property
    def answering(self) -> bool:
        """Are queries answered? Set once they are: from then on long work leaves them time."""
        return self._flips.slices.answering

    @answering.setter
    def answering(self, answering: bool) -> None:
        self._flips.slices.answering = answering

    async def start(self, *, strict: bool, beside: bool = False) -> LoadReport:
        """The first load; where the files are broken, and not *strict*, what was kept of the last good ones.

        *beside*: a predecessor answers meanwhile, and comes first. Otherwise nobody does, and it had better be over soon.
        """
        self._beside = beside
        kept = None if strict or self._state is None else find_last_good(self._state)
        report = await self.load("nothing is served" if kept is None else "trying the last good configuration")
        if report.ok or kept is None:
            return report
        return await self.load("nothing is served", last_good=True)

    async def load(
        self, otherwise: str = UNCHANGED, *, dry_run: bool = False, max_move: float | None = None, last_good: bool = False
    ) -> LoadReport:
        """Compile and publish; or log every complaint, and *otherwise*: what that means. Never raises.

        *dry_run* stops before anything is published, and tells what would move. *max_move* (0..1) refuses when the worst
        service would move more than that share of the address space.
        """
        async with self._one_at_a_time:
            if not dry_run:
                await self.renew()
            began = time.monotonic()
            try:
                outcome = await self._compile(compare=dry_run or max_move is not None, last_good=last_good)
                if isinstance(outcome, Handover) and not dry_run:
                    limit = max_move if self.served is not None else None  # nothing is served: nothing can move
                    outcome = _limit_move(outcome, limit) or await self._take_over(outcome, began)
            except GeodnsError as error:
                outcome = refuse(error)
            except Exception:
                _log.exception("taking over what was compiled failed, which is a bug in geodns")
                outcome = Refusal(("taking over what was compiled failed, which is a bug in geodns: the log has more",), 1)
            if isinstance(outcome, Refusal):
                report = _refused(outcome, otherwise)
            else:
                report = self._loaded(outcome, time.monotonic() - began, dry_run=dry_run)
                if not dry_run:
                    await self._flips.slices.run(publish.sweep())
                    await self._remember(outcome)
            if not dry_run:
                self.last, self.last_at = report, time.time()
            return report

    def _loaded(self, outcome: Handover, took: float, *, dry_run: bool) -> LoadReport:
        # The last good configuration has no say in `server`: that was read before, from the file if it could be read.
        lines, waiting = tuple(map(str, outcome.complaints)), () if outcome.last_good else self._find_waiting(outcome.config)
        if not dry_run:
            for line in lines:
                _log.warning("%s", line.replace(WARNING, ": ", 1))
            if waiting:
                _log.warning("%s: changed, but waits for a restart", ", ".join(waiting))
            if outcome.last_good:
                _log.error("%s is broken: the last good configuration is served until it is mended", self._path)
            fields = {"digest": outcome.digest, "seconds": round(took, 3)}
            _log.info("published: %s, after %.2f s", outcome.summary, took, extra={"fields": fields})
        return LoadReport(True, lines, outcome.summary, outcome.comparison, waiting)

    async def _compile(self, *, compare: bool, last_good: bool) -> Handover | Refusal:
        old = self.served.old if compare and self.served is not None else None
        nice = self._beside or self.served is not None
        return await compile_in_child(self._path, self._state, self._images, old=old, last_good=last_good, nice=nice)

    async def _take_over(self, outcome: Handover, began: float) -> Handover | Refusal:
        """Publish *outcome*. It is compiled once more where its image is gone when we come to read it: another command may
        have cleared it away."""
        try:
            maps = await find_maps(outcome)
        except ImageError as error:
            _log.warning("%s; compiling again", error)
            again = await self._compile(compare=False, last_good=outcome.last_good)
            if isinstance(again, Refusal):
                return again
            outcome, maps = again, await find_maps(again)
        await self._publish(maps, outcome)
        self.served, self.loaded = replace(outcome, zones=b""), time.time()
        self.watched(self.served, began, self.loaded - (time.monotonic() - began))
        return outcome

    async def _publish(self, maps: Maps, outcome: Handover) -> None:
        """Rebuild names, probe who is new, rebuild choices, publish."""
        with _collector_off():
            zones = await self._flips.slices.run(read_zones(outcome.zones, "zones block"))
        names = await self._flips.roots.open(maps, outcome.zones)
        try:
            await self._flips.expect(outcome.plan, outcome.config.health)
            async with self._flips.replacing():
                with _collector_off():
                    health = self._flips.roster.expected_health()
                    choices = await self._flips.slices.run(build_in_slices(zones, health))
                    root = await self._flips.slices.run(self._flips.roots.finish(names, choices, zones))
                    self._flips.publish(Snapshot(maps, zones, choices), root)
                self._flips.adopt(outcome.plan, outcome.config.health, zones.pools)
        except BaseException:
            self._flips.forget()
            raise

    async def _remember(self, outcome: Handover) -> None:
        """What a later start should know: serials, and the configuration itself."""
        current = publish.current
        if self._state is None or current is None:
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, write_serials, self._state, find_serials(current.snapshot.zones.zones))
        except OSError as error:
            _log.warning("%s: serials cannot be remembered: %s", self._state, error.strerror)
        if outcome.staged is None:
            return
        try:
            await loop.run_in_executor(None, keep_last_good, self._state, outcome.staged)
        except OSError as error:
            _log.error("%s: what is served cannot be kept as the last good configuration: %s", self._state, error.strerror)

    def _find_waiting(self, config: Config) -> tuple[str, ...]:
        """Everything under `server` takes a restart: which keys differ from what runs."""
        return tuple(
            f"server.{key}" for key in Server.model_fields if getattr(config.server, key) != getattr(self._server, key)
        )


async def _nothing() -> None:
    """Nothing is to be read."""


@contextmanager
def _collector_off() -> Iterator[None]:
    """The collector off, and afterwards blind to all that was built: one look at 100,000 half-built names takes 100 ms.

    What is frozen goes with its last reference, since it is without cycles.
    """
    gc.collect()  # little to look at: what was published before is frozen
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _limit_move(outcome: Handover, max_move: float | None) -> Refusal | None:
    """Refuse what would move more than *max_move* of the address space in some service."""
    found = outcome.comparison
    if max_move is None:
        return None
    if found is None:  # a warning among the complaints says why
        return Refusal((*map(str, outcome.complaints), "--max-move: what would move is not known"), 1)
    if found.worst <= max_move:
        return None
    worst = max(found.services, key=lambda service: service.share)
    text = f"service {worst.service}: {worst.share:.1%} of the placed IPv4 addresses would change datacenter, at most "
    return Refusal((f"{text}{max_move:.1%} may (--max-move)".replace("%", " %"),), 1)


def _refused(outcome: Refusal, otherwise: str) -> LoadReport:
    for line in outcome.lines:
        _log.log(logging.WARNING if WARNING in line else logging.ERROR, "%s", line.replace(WARNING, ": ", 1))
    summary = f"{outcome.problems} problem{'s'[: outcome.problems != 1]}; {otherwise}"
    _log.error("%s", summary)
    return LoadReport(False, outcome.lines, summary)


async def find_maps(compiled: Handover) -> Maps:
    """The maps that are served, if they were made from the same; else those handed over, verified in a thread."""
    current = publish.current
    if current is not None and current.snapshot.maps.digest == compiled.maps_digest:
        return current.snapshot.maps
    return await in_thread(open_maps, compiled.maps)


def open_maps(maps: Path | bytes) -> Maps:
    """The maps of an image file, or of a block that came by pipe; verified whole. Raises ImageError."""
    if isinstance(maps, bytes):
        return read_maps(maps, "maps block")
    try:
        octets = maps.read_bytes()
    except OSError as error:
        raise ImageError(f"{maps}: {error.strerror}") from error
    return read_maps(octets, str(maps))


def build_in_slices(zones: Zones, health: Health) -> Generator[None, None, Choices]:
    """`build_choices`, with a pause after every `POOLS_AT_ONCE` pools."""
    pools = []
    for number, plan in enumerate(zones.pools, 1):
        pools.append(build_pool(plan, health))
        if number % POOLS_AT_ONCE == 0:
            yield
    return Choices(tuple(pools), zones.shape)
