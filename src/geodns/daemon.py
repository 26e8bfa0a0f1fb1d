"""The daemon: wires everything together at start and at the end. Knows everybody, decides nothing.

Knows the order of things: read `server`, bind, drop privileges, load (`loading`), answer. Whatever fails later leaves the
snapshot that is served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .answer import Settings, answer
from .compiler.images import find_images, find_state
from .config.load import find_config, load_server
from .config.model import Server
from .errors import GeodnsError, StartError
from .loading import Loader
from .logs import set_up_log
from .server.listen import Bound, bind_all, drop_privileges, raise_file_limit
from .server.readiness import notify, notify_reloading
from .server.tcp import TcpLimits, TcpServer
from .server.udp import UdpReader

OTHER_FILES = 64  # open files beside TCP clients: listen addresses, log, child, loop
UNBUILT = ("http", "control", "backend")  # keys of `server` that this version reads and does not serve

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
        self._bound = bound
        self._loader = Loader(path, server, state, find_images(state, os.environ))
        settings = make_settings(server)
        limits = TcpLimits(server.limits.tcp_clients, server.limits.tcp_clients_per_address, server.limits.tcp_idle)
        self._udp = [UdpReader(one, answer, settings) for one in bound]
        self._tcp = TcpServer(answer, settings, limits)
        self._stopped, self._wanted = asyncio.Event(), asyncio.Event()

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
        if not (await self._loader.load("nothing is served")).ok:
            return 1
        loop = asyncio.get_running_loop()
        for reader in self._udp:
            reader.start(loop)
        await self._tcp.start(self._bound)
        self._loader.served = True
        _log.info("answering on %s", ", ".join(map(str, self._bound)))
        notify("READY=1")
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            notify_reloading()
            await self._loader.load("the running configuration is unchanged")
            notify("READY=1")  # also after a failure: the old configuration is ready

    async def _close(self) -> None:
        notify("STOPPING=1")
        if self._loader.served:
            _log.info("stopping: queries under way are answered")
        for reader in self._udp:
            reader.stop()
        await self._tcp.stop()


def make_settings(server: Server) -> Settings:
    """What `server` says about replies, for the data plane."""
    return Settings(server.limits.udp_size, server.nsid, server.client_subnet)
