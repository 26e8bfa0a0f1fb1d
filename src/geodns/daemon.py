"""The daemon: wires everything together at start, at a hand-over and at the end. Knows everybody, decides nothing.

Knows the order of things: read `server`, bind, drop privileges, load (`loading`), answer; or take over the sockets of the
daemon that runs. Whatever fails later leaves the snapshot that is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import engine
from .backend_only_life import claim_spot, is_backend_only, lock_if_free, narrow, outlive_clients
from .compiler.images import find_state, name_state
from .compiler.opening import Opening, open_server
from .config.model import Server
from .config.model_server import find_control
from .errors import GeodnsError, StartError
from .flips import Flips
from .logs import set_up_log
from .parts import Parts
from .server.doors import Doors, bind_doors, remove_socket
from .server.listen import Bound, bind_all, bind_backend, drop_privileges, raise_file_limit
from .server.readiness import notify, notify_reloading
from .server.succession import Inheritance, Label, Labelled, Offer, claim_bound, label_bound, list_offer, take_over
from .settings import count_workers
from .state_lock import find_holder, inherit_lock, lock_state
from .threads import in_thread
from .tokens import read_token
from .watch import watch_files

if TYPE_CHECKING:
    from .engine import Native
    from .server.http import HttpServer

OTHER_FILES = 1024  # open files beside TCP clients: listen addresses, PowerDNS, HTTP, log, children, loop
LAST_CLIENTS = 10.0  # seconds that clients by TCP have after a successor has taken the sockets

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sockets:
    """What this process has bound, and from whom the rest comes."""

    bound: list[Bound] = field(default_factory=list)
    doors: Doors = field(default_factory=Doors)
    backend: socket.socket | None = None  # where PowerDNS attaches
    control: Path | None = None  # where the control socket is
    predecessor: bool = False  # a daemon runs, whose sockets are taken over through `control`
    native: Native | None = None  # the engine that reads them, if it is not the reference

    def close(self) -> None:
        for one in self.bound:
            one.close()
        self.doors.close()
        if self.backend is not None:
            self.backend.close()


def serve(path: Path | None, *, strict: bool = False, replace: bool = False, backend_only: bool = False) -> int:
    """Serve the configuration at *path* (None: the usual places) until told to stop; returns the exit status.

    0 after SIGTERM or SIGINT or a hand-over, 1 when it cannot start: the reason is on stderr, one line each. A broken
    configuration starts what was last good, unless *strict*. *replace* takes over from the daemon that runs.
    *backend_only*: be the daemon that the shims of this user share, and end after the last of them.
    """
    try:
        opening = open_server(path, os.environ, strict=strict or replace)
    except GeodnsError as error:
        print(error, file=sys.stderr)
        return 1
    written = server = opening.server
    set_up_log(server.log.level, server.log.format)
    for complaint in opening.broken:
        _log.error("%s", complaint)
    try:
        if backend_only:
            spot, _ = claim_spot(opening.path, os.environ)  # the lock is held to the end of this process
            server = narrow(written, spot.socket)
        sockets = bind(server, replace=replace)
    except StartError as error:
        _log.error("%s", error)
        if not (replace or backend_only) and (holder := find_holder(name_state(server, os.environ))):
            _log.error("process %d serves with this state: `geodns serve --replace` takes over from it", holder)
        return 1
    try:
        return asyncio.run(_run(dataclasses.replace(opening, server=server), written, sockets, strict=strict))
    except GeodnsError as error:
        _log.error("%s", error)
        return 1
    finally:
        sockets.close()


def bind(server: Server, *, replace: bool) -> Sockets:
    """Bind all that *server* names, but for what a predecessor will hand over. Raises StartError."""
    control = find_control(server, os.environ)
    offered = list_offer(control) if replace and control is not None else None
    if replace and offered is None:
        _log.warning("--replace: no daemon listens on %s; this is a start like any other", control or "a control socket")
    labels = set(offered or ())
    addresses = [(str(one.address), one.port) for one in server.listen]
    sockets = Sockets(control=control, predecessor=offered is not None)
    sockets.native = engine.load() if server.listen else None  # who serves PowerDNS alone needs no threads
    workers = 1 if sockets.native is None else count_workers(server)
    sockets.bound += bind_all([one for one in addresses if Label("udp", *one) not in labels], workers)
    http = None if server.http is None else (str(server.http.address), server.http.port)
    if http is not None and Label("http", *http) in labels:
        http = None
    mine = None if sockets.predecessor else control
    try:
        sockets.doors = bind_doors(http, mine, server.user, server.model_fields_set)
        backend = server.backend
        if backend is not None and Label("backend", str(backend.path)) not in labels:
            sockets.backend = bind_backend(backend.path, backend.group, backend.mode, server.user)
    except BaseException:
        sockets.close()
        raise
    for warning in sockets.doors.warnings:
        _log.warning("%s", warning)
    return sockets


async def _run(opening: Opening, written: Server, sockets: Sockets, *, strict: bool) -> int:
    """What comes after binding: drop privileges before anything else is opened. *written* is what reloads compare with."""
    server = opening.server
    if server.user is not None:
        drop_privileges(server.user)
    if (files := raise_file_limit()) < server.limits.tcp_clients + OTHER_FILES:
        _log.warning("only %d files may be open, too few for %d TCP clients (ulimit -n)", files, server.limits.tcp_clients)
    state, warning = find_state(server, os.environ)
    if warning:
        _log.warning("%s", warning)
    if is_backend_only(server):
        state, lock = lock_if_free(state)
    else:
        lock = lock_state(state) if state is not None and not sockets.predecessor else None
    flips = await Flips.open(state, sockets.native)
    strict = strict or sockets.predecessor  # what runs is better than what was good
    return await Daemon(Parts(opening.path, server, written, state, flips), sockets, lock, strict=strict).run()


class Daemon:
    """A running server: its parts, its sockets, and what it waits for."""

    def __init__(self, parts: Parts, sockets: Sockets, lock: int | None, *, strict: bool) -> None:
        self._parts, self._sockets, self._lock, self._strict = parts, sockets, lock, strict
        self._http: HttpServer | None = None
        self._offer = Offer(self._list_sockets, lock, self._quiesce, self._resume, self._finish)
        self._stopped, self._wanted = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._owner = not sockets.predecessor  # of sockets and state; until then somebody else reads and writes them

    async def run(self) -> int:
        """Load, answer, reload at each SIGHUP, until SIGTERM, SIGINT or a successor; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        work: asyncio.Task[int] = self._spawn(self._work())
        ends = [self._spawn(self._stopped.wait()), self._spawn(self._offer.succeeded.wait())]
        try:
            await asyncio.wait((work, *ends), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            for task in self._tasks:
                task.cancel()  # a compiler that is at work ends with it
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._close()
        return 0

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        self._tasks.append(asyncio.create_task(work))
        return self._tasks[-1]

    def _hang_up(self) -> None:
        """SIGHUP. One reload at a time, and one that waits: whatever arrives meanwhile is the same wish."""
        if self._parts.query_log is not None:
            self._parts.query_log.reopen()
        self._wanted.set()

    async def _work(self) -> int:
        """Load once, or return 1; then answer, and reload whenever it is wanted."""
        parts = self._parts
        token = self._read_token()
        if parts.query_log is not None:
            await parts.query_log.start()
        parts.flips.start(keep=not self._sockets.predecessor)
        if self._sockets.backend is not None and not self._sockets.predecessor:
            await parts.backend.start(self._sockets.backend)  # PowerDNS is told FAIL until there is something to serve
        doors = self._spawn(self._open_doors(token))
        if not (await parts.loader.start(strict=self._strict, beside=self._sockets.predecessor)).ok:
            return 1
        await doors
        if self._sockets.predecessor:
            await self._take_over()
        else:
            await self._answer(self._sockets.bound)
            notify("READY=1")
        if is_backend_only(parts.server):
            self._spawn(self._end_with_the_last())
        self._spawn(watch_files(parts.watch, self._see_change))
        parts.loader.renew = self._renew
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            notify_reloading()
            await parts.loader.load()
            notify("READY=1")  # also after a failure: the old configuration is ready

    async def _renew(self) -> None:
        """What every reload reads anew beside the configuration, whoever asked for it."""
        if self._http is not None:
            self._http.token = await in_thread(self._read_token, self._http.token)

    async def _end_with_the_last(self) -> None:
        await outlive_clients(lambda: self._parts.backend.clients)
        self._stopped.set()

    def _see_change(self, files: frozenset[Path]) -> None:
        _log.info("changed: %s", ", ".join(sorted(map(str, files))))
        self._wanted.set()

    async def _answer(self, bound: Sequence[Bound]) -> None:
        """Read from *bound*, from now on."""
        parts, loop = self._parts, asyncio.get_running_loop()
        parts.open_adapters(bound)
        for reader in parts.udp:
            reader.start(loop)
        await parts.tcp.start(bound)
        parts.loader.answering = True
        backend = parts.server.backend
        _log.info("answering on %s", ", ".join([*map(str, bound), *([str(backend.path)] if backend else [])]))

    def _read_token(self, otherwise: str | None = None) -> str | None:
        """The API's token; *otherwise* where a reload finds none. Raises TokenError at the start."""
        path = self._parts.server.api_token_file
        if path is None:
            return None
        try:
            token = read_token(path)
        except GeodnsError as error:
            if otherwise is None:
                raise
            _log.error("%s; the token of before stays", error)
            return otherwise
        if token.warning:
            _log.warning("%s", token.warning)
        return token.text

    async def _open_doors(self, token: str | None) -> None:
        """HTTP and the control socket: served while the first load is at work; but a predecessor's are not ours yet."""
        doors = self._sockets.doors
        if not self._sockets.predecessor and doors.http is None and doors.control is None:
            return
        http = await in_thread(import_module, "geodns.server.http")  # aiohttp, which a bare name server does not need
        self._http = http.HttpServer(self._parts.control, token, self._offer.answer)
        if not self._sockets.predecessor:
            await self._http.start(doors.http, doors.control)

    async def _close(self) -> None:
        parts = self._parts
        await self._offer.withdraw()  # a successor that is at work gets all or nothing, before we stop any socket
        if self._offer.handed:
            await self._leave()  # no STOPPING=1: the service goes on, in the successor
            return
        if self._owner:  # a successor that failed must not tell the service manager that the service ends
            notify("STOPPING=1")
        if parts.loader.answering:
            _log.info("stopping: queries under way are answered")
        for reader in parts.udp:
            reader.stop()
        await parts.tcp.stop()
        await parts.backend.stop()
        if self._owner and self._sockets.backend is not None and parts.server.backend is not None:
            remove_socket(parts.server.backend.path)
        if self._http is not None:
            await self._http.stop()
            if self._owner and self._sockets.control is not None and self._sockets.doors.control is not None:
                remove_socket(self._sockets.control)
        await parts.flips.stop()
        if parts.query_log is not None:
            await parts.query_log.stop()

    async def _take_over(self) -> None:
        """Take the sockets of the daemon that runs, and read on where it stopped. Raises StartError: then it goes on."""
        control = self._sockets.control
        assert control is not None, "there is a predecessor behind it"
        inheritance = await take_over(control)
        try:
            bound = self._claim(inheritance)
            await self._answer(bound)
            if self._sockets.backend is not None:
                await self._parts.backend.start(self._sockets.backend)
            if self._http is not None:
                await self._http.start(self._sockets.doors.http, self._sockets.doors.control)
            lock = inheritance.claim_lock()
            notify(f"MAINPID={os.getpid()}", "READY=1")  # before the old one may end: a service without main process is over
            await inheritance.confirm()
        except BaseException:
            notify(f"MAINPID={inheritance.pid}")
            await self._quiesce()
            inheritance.close()
            raise
        await self._inherit_state(lock)
        _log.info("took over from process %d", inheritance.pid)

    def _claim(self, inheritance: Inheritance) -> list[Bound]:
        """The sockets that this configuration wants, inherited or bound by us; whatever nobody claims is closed later."""
        server, mine = self._parts.server, {(one.address, one.port): one for one in self._sockets.bound}
        bound = []
        for listen in server.listen:
            address = str(listen.address), listen.port
            one = mine.get(address) or claim_bound(inheritance, *address)
            if one is None:
                raise StartError(f"the daemon that runs did not hand over {address[0]}:{address[1]}")
            bound.append(one)
        http, control = self._sockets.doors.http, self._sockets.control
        if http is None and server.http is not None:
            http = inheritance.claim(Label("http", str(server.http.address), server.http.port))
        if self._sockets.backend is None and server.backend is not None:
            self._sockets.backend = inheritance.claim(Label("backend", str(server.backend.path)))
        self._sockets.bound = bound
        self._sockets.doors = Doors(http, inheritance.claim(Label("control", str(control))))
        return bound

    async def _inherit_state(self, lock: int | None) -> None:
        """The predecessor has saved all it knew: what was forced at the last moment counts here too; the books are ours."""
        parts, self._owner = self._parts, True
        try:
            if lock is not None and inherit_lock(lock, parts.state):
                self._lock = lock
            elif parts.state is not None:
                self._lock = lock_state(parts.state)
        except StartError as error:  # the sockets are ours, and answering goes before book-keeping
            _log.error("%s; nothing is saved", error)
            return
        self._offer.lock = self._lock
        await parts.flips.inherit()

    def _list_sockets(self) -> list[Labelled]:
        """All that we read from, for a successor."""
        server, doors = self._parts.server, self._sockets.doors
        labelled = [one for bound in self._parts.bound for one in label_bound(bound)]
        if doors.http is not None and server.http is not None:
            labelled.append(Labelled(Label("http", str(server.http.address), server.http.port), doors.http))
        if doors.control is not None and self._sockets.control is not None:
            labelled.append(Labelled(Label("control", str(self._sockets.control)), doors.control))
        if self._sockets.backend is not None and server.backend is not None:
            labelled.append(Labelled(Label("backend", str(server.backend.path)), self._sockets.backend))
        return labelled

    async def _quiesce(self) -> None:
        """Read no more, close nothing; what was taken is answered."""
        for reader in self._parts.udp:
            reader.pause()
        await self._parts.tcp.pause()
        self._parts.backend.pause()
        if self._http is not None:
            self._http.pause()

    async def _resume(self) -> None:
        """Read on, where `_quiesce` stopped."""
        loop = asyncio.get_running_loop()
        for reader in self._parts.udp:
            reader.start(loop)
        await self._parts.tcp.resume()
        self._parts.backend.resume()
        if self._http is not None:
            self._http.resume()

    async def _finish(self) -> None:
        """A successor reads: save all we know, and write nothing afterwards."""
        await self._parts.flips.stop()

    async def _leave(self) -> None:
        """The sockets are a successor's: close only our ends of them, after the last clients of ours are served."""
        parts = self._parts
        for reader in parts.udp:
            reader.leave()
        await parts.backend.leave()  # PowerDNS goes on with the successor
        await parts.tcp.drain(LAST_CLIENTS)
        await parts.tcp.stop()
        if self._http is not None:
            with contextlib.suppress(OSError):
                await self._http.stop()
        if parts.query_log is not None:
            await parts.query_log.stop()
        _log.info("handed over; the last clients are served")
