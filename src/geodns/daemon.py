"""The daemon: wires everything together at start, at reload and at the end. Knows everybody, decides nothing.

Knows the order of things: read `server`, bind, drop privileges, compile in a child, publish, answer. Whatever fails later
leaves the snapshot that is served. The main thread never waits: what takes long runs in the child, in an executor, or
in slices with queries between them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TypeVar

from . import metrics, publish
from .answer import Settings, answer
from .compiler.child import compile_in_child
from .compiler.choices import build_pool
from .compiler.handover import Handover, Refusal, refuse
from .compiler.images import find_images, find_state
from .compiler.serials import find_serials, write_serials
from .config.load import find_config, load_server
from .config.model import Config, Server
from .errors import GeodnsError, ImageError, StartError
from .health.state import Health
from .image_maps import read_maps
from .image_zones import read_zones
from .logs import set_up_log
from .server.listen import Bound, bind_all, drop_privileges, raise_file_limit
from .server.readiness import notify, notify_reloading
from .server.tcp import TcpLimits, TcpServer
from .server.udp import UdpReader
from .snapshot import Choices, Maps, Snapshot, Zones

POOLS_AT_ONCE = 100  # pools rebuilt between two looks at the sockets
SWITCH_INTERVAL = 0.0005  # seconds: how long a thread that verifies an image may keep the main thread from a query
OTHER_FILES = 64  # open files beside TCP clients: listen addresses, log, child, loop
WARNING = ": warning: "  # in the text of a complaint; the level of the log line says it
UNBUILT = ("http", "control", "backend")  # keys of `server` that this version reads and does not serve

T = TypeVar("T")
_log = logging.getLogger(__name__)


def serve(path: Path | None) -> int:
    """Serve the configuration at *path* (None: the usual places) until told to stop; returns the exit status.

    0 after SIGTERM or SIGINT, 1 when it cannot start: the reason is on stderr, one line each.
    """
    try:
        path = find_config() if path is None else path
        server = load_server(path)
    except GeodnsError as error:
        print(error, file=sys.stderr)
        return 1
    set_up_log(server.log.level, server.log.format)
    try:
        bound = bind_all([(str(listen.address), listen.port) for listen in server.listen])
    except StartError as error:
        _log.error("%s", error)
        return 1
    try:
        return asyncio.run(_run(path, server, bound))
    except StartError as error:
        _log.error("%s", error)
        return 1
    finally:
        for one in bound:
            one.close()


async def _run(path: Path, server: Server, bound: Sequence[Bound]) -> int:
    """What comes after binding: drop privileges before anything else is opened."""
    if server.user is not None:
        drop_privileges(server.user)
    if (files := raise_file_limit()) < server.limits.tcp_clients + OTHER_FILES:
        _log.warning("only %d files may be open, too few for %d TCP clients (ulimit -n)", files, server.limits.tcp_clients)
    state, warning = find_state(server, os.environ)
    if warning:
        _log.warning("%s", warning)
    for key in UNBUILT:
        if key in server.model_fields_set and getattr(server, key) is not None:
            _log.info("server.%s: not served by this version", key)
    return await Daemon(path, server, bound, state).run()


class Daemon:
    """A running server: its sockets, and the task that loads and reloads."""

    def __init__(self, path: Path, server: Server, bound: Sequence[Bound], state: Path | None) -> None:
        self._path, self._server, self._bound, self._state = path, server, bound, state
        self._images = find_images(state, os.environ)
        self._tally = metrics.new_tally()
        settings = make_settings(server)
        limits = TcpLimits(server.limits.tcp_clients, server.limits.tcp_clients_per_address, server.limits.tcp_idle)
        self._udp = [UdpReader(one, answer, settings, self._tally) for one in bound]
        self._tcp = TcpServer(answer, settings, limits, self._tally)
        self._stopped, self._wanted = asyncio.Event(), asyncio.Event()
        self._served = False

    async def run(self) -> int:
        """Load, answer, reload at each SIGHUP, until SIGTERM or SIGINT; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        # One reload at a time, and one that waits: whatever arrives meanwhile is the same wish.
        loop.add_signal_handler(signal.SIGHUP, self._wanted.set)
        work, stopped = asyncio.create_task(self._work()), asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            work.cancel()  # a compiler that is at work ends with it
            await asyncio.wait((work,))
        finally:
            stopped.cancel()
            await self._close()
        return 0

    async def _work(self) -> int:
        """Load once, or return 1; then answer, and reload whenever it is wanted."""
        if not await self._load("nothing is served"):
            return 1
        loop = asyncio.get_running_loop()
        for reader in self._udp:
            reader.start(loop)
        await self._tcp.start(self._bound)
        self._served = True
        _log.info("answering on %s", ", ".join(map(str, self._bound)))
        notify("READY=1")
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            notify_reloading()
            await self._load("the running configuration is unchanged")
            notify("READY=1")  # also after a failure: the old configuration is ready

    async def _close(self) -> None:
        notify("STOPPING=1")
        if self._served:
            _log.info("stopping: queries under way are answered")
        for reader in self._udp:
            reader.stop()
        await self._tcp.stop()

    async def _load(self, otherwise: str) -> bool:
        """Compile and publish; or log every complaint, and *otherwise*: what that means. Never raises."""
        began = time.monotonic()
        try:
            outcome = await self._compile_and_publish()
        except GeodnsError as error:
            outcome = refuse(error)
        except Exception:
            _log.exception("taking over what was compiled failed, which is a bug in geodns")
            outcome = Refusal((), 1)
        if isinstance(outcome, Refusal):
            for line in outcome.lines:
                _log.log(logging.WARNING if WARNING in line else logging.ERROR, "%s", line.replace(WARNING, ": ", 1))
            _log.error("%d problem%s; %s", outcome.problems, "s"[: outcome.problems != 1], otherwise)
            return False
        for complaint in outcome.complaints:
            _log.warning("%s", str(complaint).replace(WARNING, ": ", 1))
        self._tell_what_waits(outcome.config)
        _log.info("published: %s, after %.2f s", outcome.summary, time.monotonic() - began)
        return True

    async def _compile_and_publish(self) -> Handover | Refusal:
        """Once more where the image is gone when we come to read it: another command may have cleared it away."""
        outcome = await compile_in_child(self._path, self._state, self._images)
        if isinstance(outcome, Refusal):
            return outcome
        try:
            maps = await self._find_maps(outcome)
        except ImageError as error:
            _log.warning("%s; compiling again", error)
            outcome = await compile_in_child(self._path, self._state, self._images)
            if isinstance(outcome, Refusal):
                return outcome
            maps = await self._find_maps(outcome)
        await self._publish(maps, outcome.zones)
        return outcome

    async def _find_maps(self, compiled: Handover) -> Maps:
        """The maps that are served, if they were made from the same; else those handed over, verified in a thread."""
        current = publish.current
        if current is not None and current.maps.digest == compiled.maps_digest:
            return current.maps
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, open_maps, compiled.maps)
        finally:
            sys.setswitchinterval(before)

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
            await asyncio.sleep(time.monotonic() - began if self._served else 0)

    def _tell_what_waits(self, config: Config) -> None:
        """Everything under `server` takes a restart: say which keys differ from what runs."""
        waiting = [key for key in Server.model_fields if getattr(config.server, key) != getattr(self._server, key)]
        if waiting:
            _log.warning("%s: changed, but waits for a restart", ", ".join(f"server.{key}" for key in waiting))


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


def make_settings(server: Server) -> Settings:
    """What `server` says about replies, for the data plane."""
    return Settings(server.limits.udp_size, server.nsid, server.client_subnet)
