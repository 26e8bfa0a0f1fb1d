"""The parts of one running daemon, and the facts about them that operations ask for.

Knows every part, made once. Knows nothing of the order in which they start and stop, nor of signals (`daemon`).
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from . import publish
from .answer import answer
from .compiler.handover import Handover
from .compiler.images import find_images
from .config.model import Config, Server
from .control import Control
from .engine import NATIVE, PURE
from .errors import ControlError
from .flips import Flips
from .health.overrides import Override
from .health.roster import Roster
from .loading import Loader, LoadReport
from .metrics import PIPE, REMOTE, Counters
from .report import BackendReport, ConfigReport, ProberReport, Status
from .server.backend import BackendServer
from .server.backend_connection import NEW
from .server.listen import Bound
from .server.tcp import TcpLimits, TcpServer
from .server.udp import UdpReader
from .settings import count_workers, make_settings
from .snapshot import Snapshot
from .threads import in_thread
from .watch import Watch

if TYPE_CHECKING:
    from .querylog import QueryLog
    from .server.native_udp import NativeReader

_log = logging.getLogger(__name__)


class Parts:
    """Everything that a daemon is made of but its sockets, which `open_adapters` is given."""

    def __init__(self, path: Path, server: Server, written: Server, state: Path | None, flips: Flips) -> None:
        self.path, self.server, self.state, self.flips = path.absolute(), server, state, flips
        self.images = find_images(state, os.environ)
        self.settings = make_settings(server)
        self.loader = Loader(path, written, state, self.images, flips)
        self.query_log = _make_query_log(server)
        self.control = Control(self)
        self.watch = Watch(())
        self.udp: list[UdpReader | NativeReader] = []
        limits = TcpLimits(server.limits.tcp_clients, server.limits.tcp_clients_per_address, server.limits.tcp_idle)
        self.tcp = TcpServer(self._sampled(), self.settings, limits)
        self.backend = BackendServer(self.settings, lambda: self.loader.loaded)
        self.bound: tuple[Bound, ...] = ()
        self.started = time.time()
        flips.told = self.control.published
        flips.slices.waiting = self.count_waiting
        self.loader.watched = self._follow

    def open_adapters(self, bound: Sequence[Bound]) -> None:
        """Make readers for each of *bound*; nothing is read yet."""
        self.bound = tuple(bound)
        self.udp = [reader for one in bound for reader in self._open_readers(one)]

    def _open_readers(self, bound: Bound) -> list[UdpReader | NativeReader]:
        """Threads for all sockets of *bound*; with the reference one reader for each, where a predecessor left several."""
        if self.flips.roots.native is None:
            return [UdpReader(bound, self._sampled(), self.settings, number) for number in range(len(bound.group))]
        from .server.native_udp import NativeReader  # noqa: PLC0415 - the extension may be missing

        if len(bound.group) != (wanted := count_workers(self.server)):
            _log.warning("%s: %d threads, as the predecessor had; a restart makes it %d", bound, len(bound.group), wanted)
        return [NativeReader(bound, self._sampled(), self.settings, self.query_log)]

    def count_waiting(self) -> int:
        """Octets of queries that wait for the main thread; those that wait for threads of their own do not."""
        return sum(reader.waiting for reader in self.udp if isinstance(reader, UdpReader))

    def _sampled(self) -> Callable[..., bytes | None]:
        return answer if self.query_log is None else self.query_log.around(answer)

    def _follow(self, served: Handover, mono: float, wall: float) -> None:
        """Watch what *served* was made from: databases and corrections always, the rest with `server.watch`."""
        networks = served.config.geoip.networks_file
        files = {*served.databases, *([networks] if networks is not None else [])}
        if self.server.watch:
            files |= {*served.files, *served.folders}
        self.watch.follow(files, mono, wall)

    # What operations need (`control.Desk`).

    @property
    def engine(self) -> str:
        """Who answers: pure, native."""
        return PURE if self.flips.roots.native is None else NATIVE

    @property
    def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    @property
    def listen(self) -> tuple[str, ...]:
        """The listen addresses, in words."""
        return tuple(map(str, self.bound))

    @property
    def roster(self) -> Roster:
        """Who is up."""
        return self.flips.roster

    @property
    def snapshot(self) -> Snapshot | None:
        """What is served."""
        return None if publish.current is None else publish.current.snapshot

    @property
    def config(self) -> Config | None:
        """What it was made from, without its zones."""
        return None if self.loader.served is None else self.loader.served.config

    @property
    def publishes(self) -> int:
        """Snapshots since the start."""
        return self.flips.publishes

    def ready(self) -> bool:
        """Are queries answered?"""
        return self.loader.answering

    def config_report(self) -> ConfigReport:
        """What is served, and how the last load went."""
        served, last = self.loader.served, self.loader.last
        return ConfigReport(
            path=str(self.path),
            digest="" if served is None else served.digest,
            loaded=self.loader.loaded,
            summary="nothing is served yet" if served is None else served.summary,
            last_good=served is not None and served.last_good,
            reload_ok=last is not None and last.ok,
            reload_at=self.loader.last_at,
            reload_lines=() if last is None else last.lines,
            waiting=() if last is None else last.waiting,
        )

    def prober_report(self) -> ProberReport:
        """How the prober fares, and which families the guard holds."""
        return replace(self.flips.prober.report(), frozen=self.roster.frozen())

    def backend_report(self) -> BackendReport | None:
        """Who is connected by PowerDNS."""
        if self.server.backend is None:
            return None
        clients = self.backend.count_clients()
        return BackendReport(str(self.server.backend.path), clients[PIPE], clients[REMOTE], clients[NEW])

    async def put(self, override: Override) -> None:
        """Begin *override*. Raises ValueError when there are too many, ControlError when it counts but cannot be saved."""
        with _told_when_unsaved():
            await self.flips.put(override)

    async def end(self, target: str, kinds: Collection[str]) -> None:
        """End what is forced on *target*. Raises ControlError when that counts but cannot be saved."""
        with _told_when_unsaved():
            await self.flips.end(target, kinds)

    async def load(self, *, dry_run: bool, max_move: float | None) -> LoadReport:
        """Read the configuration again."""
        return await self.loader.load(dry_run=dry_run, max_move=max_move)

    async def scrape(self, status: Status) -> tuple[str, bytes]:
        """Content type and octets of /metrics, written in a thread."""
        exposition = await in_thread(import_module, "geodns.server.exposition")  # prometheus-client: 20 ms, once
        from .server.families import Sources  # noqa: PLC0415 - came with it

        log = self.query_log
        counters = Counters((), (), None) if publish.current is None else publish.current.counters
        drops = Counter[str]()
        for reader in self.udp:
            drops[reader.listen] += reader.dropped or 0
        written = None if log is None else (log.written, log.dropped)
        clients = self.tcp.clients, self.backend.clients
        sources = Sources(
            status, counters, self.roster.check_counts(), tuple(drops.items()), clients[0], written, clients[1]
        )
        page: tuple[str, bytes] = await in_thread(exposition.scrape, sources)
        return page


def _make_query_log(server: Server) -> QueryLog | None:
    if server.query_log is None:
        return None
    from .querylog import QueryLog  # noqa: PLC0415 - dnspython names its types, and most daemons have no such log

    return QueryLog(server.query_log)


@contextmanager
def _told_when_unsaved() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"it counts from now on, but cannot be saved, so a restart forgets it: {error.filename}: {error.strerror}"
        raise ControlError(500, text) from error
