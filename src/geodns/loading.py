"""One load: compile in a child, take over in slices, publish, remember.

Knows the order of things, and that whatever fails leaves the snapshot that is served. Knows nothing of sockets, signals or
who wants a load. The main thread never waits: what takes long runs in the child, in an executor, or in slices with queries
between them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from . import publish
from .compiler.child import compile_in_child
from .compiler.choices import build_pool
from .compiler.diff import Comparison
from .compiler.handover import Handover, Refusal, refuse
from .compiler.serials import find_serials, write_serials
from .config.model import Config, Server
from .errors import GeodnsError, ImageError
from .health.state import Health
from .image_maps import read_maps
from .image_zones import read_zones
from .snapshot import Choices, Maps, Snapshot, Zones

POOLS_AT_ONCE = 100  # pools rebuilt between two looks at the sockets
SWITCH_INTERVAL = 0.0005  # seconds: how long a thread that verifies an image may keep the main thread from a query
WARNING = ": warning: "  # in the text of a complaint; the level of the log line says it

T = TypeVar("T")
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

    def __init__(self, path: Path, server: Server, state: Path | None, images: Path | None) -> None:
        self._path, self._server, self._state, self._images = path, server, state, images
        self._one_at_a_time = asyncio.Lock()
        self.served = False  # queries are answered meanwhile, so slices leave them time

    async def load(self, otherwise: str) -> LoadReport:
        """Compile and publish; or log every complaint, and *otherwise*: what that means. Never raises."""
        async with self._one_at_a_time:
            began = time.monotonic()
            try:
                outcome = await self._compile_and_publish()
            except GeodnsError as error:
                outcome = refuse(error)
            except Exception:
                _log.exception("taking over what was compiled failed, which is a bug in geodns")
                outcome = Refusal((), 1)
            if isinstance(outcome, Refusal):
                return _refused(outcome, otherwise)
            return self._published(outcome, time.monotonic() - began)

    def _published(self, outcome: Handover, took: float) -> LoadReport:
        lines = tuple(map(str, outcome.complaints))
        for line in lines:
            _log.warning("%s", line.replace(WARNING, ": ", 1))
        waiting = self._find_waiting(outcome.config)
        if waiting:
            _log.warning("%s: changed, but waits for a restart", ", ".join(waiting))
        _log.info("published: %s, after %.2f s", outcome.summary, took)
        return LoadReport(True, lines, outcome.summary, waiting=waiting)

    async def _compile_and_publish(self) -> Handover | Refusal:
        """Once more where the image is gone when we come to read it: another command may have cleared it away."""
        outcome = await compile_in_child(self._path, self._state, self._images)
        if isinstance(outcome, Refusal):
            return outcome
        try:
            maps = await find_maps(outcome)
        except ImageError as error:
            _log.warning("%s; compiling again", error)
            outcome = await compile_in_child(self._path, self._state, self._images)
            if isinstance(outcome, Refusal):
                return outcome
            maps = await find_maps(outcome)
        await self._publish(maps, outcome.zones)
        return outcome

    async def _publish(self, maps: Maps, block: bytes) -> None:
        """Rebuild names and choices in slices, publish, let the old snapshot go, remember the serials."""
        gc.collect()  # little to look at: what is published is frozen
        gc.disable()  # one collection among 100,000 half-built names would take 100 ms
        try:
            zones = await self._in_slices(read_zones(block, "zones block"))
            choices = await self._in_slices(build_in_slices(zones, {}))
            publish.publish(Snapshot(maps, zones, choices))
            gc.freeze()  # the collector never looks at it again; being without cycles, it goes with its last reference
        finally:
            gc.enable()
        await self._in_slices(publish.sweep())
        if self._state is not None:
            served = find_serials(zones.zones)
            try:
                await asyncio.get_running_loop().run_in_executor(None, write_serials, self._state, served)
            except OSError as error:
                _log.warning("%s: serials cannot be remembered: %s", self._state, error.strerror)

    async def _in_slices(self, work: Generator[None, None, T]) -> T:
        """Run *work* to its end. Between slices queries have as much time as the slice took, once there are any."""
        while True:
            began = time.monotonic()
            try:
                next(work)
            except StopIteration as end:
                result: T = end.value
                return result
            await asyncio.sleep(time.monotonic() - began if self.served else 0)

    def _find_waiting(self, config: Config) -> tuple[str, ...]:
        """Everything under `server` takes a restart: which keys differ from what runs."""
        return tuple(
            f"server.{key}" for key in Server.model_fields if getattr(config.server, key) != getattr(self._server, key)
        )


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
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, open_maps, compiled.maps)
    finally:
        sys.setswitchinterval(before)


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
