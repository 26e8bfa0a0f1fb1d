"""From outcomes to answers: what a health event touches, when it is published, what is remembered of it.

Knows the roster (who is up), the prober (who looks), the store (what is kept), and the pace of publishing: at once when
idle, at most ten times a second in a storm, only the pools that were touched. Knows nothing of how a load comes about, of
sockets, or of how a probe is made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import publish
from .compiler.choices import build_pool
from .config.model import Health as HealthSettings
from .errors import ControlError
from .health.child import Prober
from .health.events import Event, Moment
from .health.overrides import Override
from .health.roster import Roster
from .health.state import Outcome
from .health.store import load_overrides, load_states, save_overrides, save_states
from .health.targets import Plan
from .pacing import Slices
from .roots import Roots
from .snapshot import Choices, Pool, PoolPlan, Snapshot
from .wire.rdata import RDATA_AT

if TYPE_CHECKING:
    from .engine import Native
    from .native.tables import Root

PACE = 0.1  # seconds between two publishes of flips
POOLS_AT_ONCE = 20  # pools rebuilt between two looks at the sockets
EVENTS_AT_ONCE = 100  # flips of one portion that have a log line each; of the rest the number is said
TICK = 1.0  # seconds: overrides that end, verdicts that go stale, states to be saved
SAVE_PAUSE = 0.5  # seconds between two saves after flips
SAVE_AGE = 10.0  # seconds after which states are saved although nobody flipped: after a restart their age counts

_log = logging.getLogger(__name__)


class Flips:
    """Health as the daemon lives with it; one for its whole life."""

    def __init__(self, state: Path | None, roster: Roster, native: Native | None = None) -> None:
        self.roster, self.roots = roster, Roots(native)
        self.prober = Prober(self.hear, self._stop_seeing, self._see_again)
        self.slices = Slices()  # how long work of the main thread is done, a load's too
        self.publishes = 0  # since the start
        self.told: Callable[[Snapshot], None] = lambda snapshot: None  # of each snapshot, in the turn that it is published
        self._state, self._keeps, self._stopped = state, False, False
        self._numbers: dict[tuple[str, str], int] = {}  # of pools, by service and datacenter
        self._held = asyncio.Lock()  # whoever replaces the snapshot has it
        self._dirty, self._settled, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._settled.set()
        self._touched: set[tuple[str, str]] = set()  # pools whose health is not in the answers yet
        self._awaited: set[str] = set()  # targets without a result that a load waits for
        self._unsaved = asyncio.Event()  # somebody flipped since the last save
        self._saved_at = time.monotonic()
        self._saving = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, state: Path | None, native: Native | None = None) -> Flips:
        """Health as the last run left it in *state*; what cannot be read is set aside and said."""
        now, loop = moment(), asyncio.get_running_loop()
        if state is None:
            return cls(None, Roster((), (), now), native)
        states, warnings = await loop.run_in_executor(None, load_states, state, now.wall)
        overrides, more = await loop.run_in_executor(None, load_overrides, state, now.wall)
        for text in (*warnings, *more):
            _log.warning("%s", text)
        return cls(state, Roster(states, overrides, now), native)

    def start(self, *, keep: bool) -> None:
        """Publish flips and look after what ends by itself, from now on. *keep*: the books in the state are ours."""
        self._keeps = keep
        work = (self._publish_flips, self._tick, self._save_flips)
        self._tasks = [asyncio.create_task(self._keep_at(one)) for one in work]

    async def _keep_at(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do *work* until cancelled. A bug in it is told, and costs what it was at: later flips are published and kept."""
        while True:
            try:
                await work()
            except Exception:
                _log.exception("looking after health failed, which is a bug in geodns; it goes on")
            self._settled.set()  # who waits for what failed would wait for ever
            await asyncio.sleep(TICK)

    async def stop(self) -> None:
        """End the prober, save what is known, those overrides too that were just put; write nothing afterwards."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.prober.stop()
        await self.save()
        if self._state is not None and self._keeps and not self._settled.is_set():
            await self._try(save_overrides, self._state, self.roster.overrides)
        self._keeps = False  # the books may be a successor's from now on
        self._settled.set()

    async def inherit(self) -> None:
        """The predecessor has ended, the books are ours: what was begun or ended there while we started counts here too."""
        self._keeps = True
        if self._state is None:
            return
        now = moment()
        overrides, warnings = await asyncio.get_running_loop().run_in_executor(None, load_overrides, self._state, now.wall)
        for text in warnings:
            _log.warning("%s", text)
        if not warnings:  # else who is missing may be so because the file is damaged
            for gone in set(self.roster.overrides) - set(overrides):
                await self._tell_in_slices(self.roster.end_in_slices(gone.target, (gone.kind,), now))
        for new in set(overrides) - set(self.roster.overrides):
            await self._tell_in_slices(self.roster.put_in_slices(new))

    async def expect(self, plan: Plan, settings: HealthSettings) -> None:
        """Probe what *plan* needs beside what is served; wait for first results, `startup_wait` at most."""
        targets, missing = await self.slices.run(self.roster.expect_in_slices(plan, settings, moment()))
        self._awaited = set(missing)
        self.prober.watch(targets, missing)
        if targets:
            await self.prober.start()
        try:
            async with asyncio.timeout(settings.startup_wait):
                while self._awaited:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            _log.warning(
                "%d of %d targets have no result after %g s; who is missing is unknown, and answered",
                len(self._awaited), len(targets), settings.startup_wait,
            )  # fmt: skip
        self._awaited.clear()

    @asynccontextmanager
    async def replacing(self) -> AsyncIterator[None]:
        """Inside, no flip is published: the snapshot is being replaced."""
        async with self._held:
            yield

    def publish(self, snapshot: Snapshot, root: Root | None = None) -> None:
        """Make *snapshot* the current one, and *root*, which is the same; only inside `replacing`."""
        publish.publish(snapshot, native=root)
        self.publishes += 1
        self.told(snapshot)

    def adopt(self, plan: Plan, settings: HealthSettings, pools: Sequence[PoolPlan]) -> None:
        """*plan* is served now, its *pools* as the snapshot numbers them; call it in the turn that published it."""
        self._numbers = {(pool.service, pool.datacenter): number for number, pool in enumerate(pools)}
        self._tell(self.roster.adopt(plan, settings, moment()))
        self.prober.watch(self.roster.targets(), ())

    def forget(self) -> None:
        """The load failed: only what is served is needed."""
        self.roster.drop_expected()
        self.prober.watch(self.roster.targets(), ())

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes of probes, as they come."""
        self._tell(self.roster.observe(outcomes, moment()))
        if self._awaited:
            self._awaited.difference_update(outcome.key for outcome in outcomes)
            self._news.set()

    async def put(self, override: Override) -> None:
        """Begin *override*: it is in the answers and saved when this returns. OSError: it is not saved, but counts.

        ControlError when it is too late: it would be lost.
        """
        self._refuse_at_end()
        await self._tell_in_slices(self.roster.put_in_slices(override))
        await self._keep_overrides()

    async def end(self, target: str, kinds: Collection[str]) -> None:
        """End what was forced on *target*; otherwise as `put`."""
        self._refuse_at_end()
        await self._tell_in_slices(self.roster.end_in_slices(target, kinds, moment()))
        await self._keep_overrides()

    def _refuse_at_end(self) -> None:
        if self._stopped:
            raise ControlError(503, "this process is ending: ask again, its successor if there is one knows the overrides")

    async def _keep_overrides(self) -> None:
        await self._settled.wait()
        if self._state is not None and self._keeps:
            await self._write(save_overrides, self._state, self.roster.overrides)

    def _stop_seeing(self, text: str) -> None:
        self._tell(self.roster.stopped(moment()))

    def _see_again(self) -> None:
        self._tell(self.roster.started(moment()))

    async def _tell_in_slices(self, work: Generator[None, None, list[Event]]) -> None:
        """`_tell`, of work that may be about all members. Also who is cancelled meanwhile has begun what counts."""
        try:
            self._tell(await self.slices.run(work, whole=True))
        finally:
            self._tell(())  # what it touched

    def _tell(self, events: Sequence[Event]) -> None:
        """One line each, and whatever they touch is published soon."""
        for event in events[:EVENTS_AT_ONCE]:
            _log.log(event.level, "%s", event.text, extra={"fields": event.fields})
        if len(events) > EVENTS_AT_ONCE:
            _log.warning("and %d more changes of health at once", len(events) - EVENTS_AT_ONCE)
        if events:
            self._unsaved.set()
        self._touched |= self.roster.take_touched()
        if self._touched:
            self._settled.clear()
            self._dirty.set()

    async def _publish_flips(self) -> None:
        while True:
            await self._dirty.wait()
            async with self._held:
                self._dirty.clear()
                await self._publish_touched()
            if not self._dirty.is_set():
                self._settled.set()
            await asyncio.sleep(PACE)

    async def _publish_touched(self) -> None:
        """Rebuild the pools that were touched, in slices; everything else is shared with the snapshot before."""
        current = publish.current
        touched = [number for key in self._touched if (number := self._numbers.get(key)) is not None]
        self._touched.clear()
        if current is None or not touched:
            return
        snapshot, health = current.snapshot, self.roster.health()
        pools = list(snapshot.choices.pools)
        changed = []
        for count, number in enumerate(touched, 1):
            before, pools[number] = pools[number], build_pool(snapshot.zones.pools[number], health)
            if pools[number] != before:
                changed.append((before, pools[number]))
            if count % POOLS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if not changed:
            return
        choices = Choices(tuple(pools), snapshot.choices.shape)
        root = await self.slices.run(self.roots.flip(current.native, choices, snapshot.zones))
        self.publish(replace(snapshot, choices=choices), root)
        told = sum(is_told(before, after) for before, after in changed)
        _log.log(logging.INFO if told else logging.DEBUG, "published: health of %d pool%s", told, "s"[: told != 1])
        for _ in publish.sweep():
            await asyncio.sleep(0)

    async def _tick(self) -> None:
        """What time alone changes, and what is kept of it all."""
        while True:
            await asyncio.sleep(TICK)
            for _ in publish.sweep():  # what a thread was still answering from when its successor was published
                await asyncio.sleep(0)
            before = self.roster.overrides
            await self._tell_in_slices(self.roster.tick_in_slices(moment()))
            if self._state is not None and self._keeps and self.roster.overrides != before:
                await self._try(save_overrides, self._state, self.roster.overrides)
            if time.monotonic() - self._saved_at > SAVE_AGE:
                self._unsaved.set()

    async def _save_flips(self) -> None:
        """Soon after each flip: whoever restarts us a moment later must not send clients to the dead."""
        while True:
            await self._unsaved.wait()
            await self.save()
            await asyncio.sleep(SAVE_PAUSE)

    async def save(self) -> None:
        """Keep the states; what cannot be kept is said, and tried again."""
        self._saved_at = time.monotonic()
        self._unsaved.clear()
        states = self.roster.saved_states()
        if self._state is not None and self._keeps and states:
            await self._try(save_states, self._state, states)

    async def _try(self, save: Callable[..., None], folder: Path, what: Iterable[object]) -> None:
        try:
            await self._write(save, folder, what)
        except OSError as error:
            _log.error("%s: cannot be saved: %s; a restart would not know it", error.filename or folder, error.strerror)

    async def _write(self, save: Callable[..., None], folder: Path, what: Iterable[object]) -> None:
        """In an executor, one at a time: the newest must be written last."""
        async with self._saving:
            await asyncio.get_running_loop().run_in_executor(None, partial(save, folder, what, time.time()))


def is_told(before: Pool, after: Pool) -> bool:
    """Does anybody else answer now? A TTL that follows a streak is published too, but is no line of the log."""
    return before.rank != after.rank or any(
        before.slots[rtype].totals != choice.totals
        or [tail[RDATA_AT:] for tail in before.slots[rtype].tails] != [tail[RDATA_AT:] for tail in choice.tails]
        for rtype, choice in after.slots.items()
    )


def moment() -> Moment:
    """Now, by both clocks."""
    return Moment(time.monotonic(), time.time())
