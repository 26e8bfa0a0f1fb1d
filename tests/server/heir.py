"""A small daemon for the tests of succession: UDP, TCP and a control socket, answered by hand; and its successors.

`python -m tests.server.heir CONTROL STATE [--replace] [--fault WHEN] PORT...` prints a line for each step, and ends when a
successor has taken over, or at the end of its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import cast

from geodns import metrics, publish
from geodns.answer import Settings, Turn
from geodns.errors import StartError
from geodns.server.doors import bind_control
from geodns.server.listen import Bound, bind_all
from geodns.server.succession import (
    Inheritance,
    Label,
    Labelled,
    Offer,
    claim_bound,
    label_bound,
    list_offer,
    take_over,
)
from geodns.server.tcp import TcpLimits, TcpServer
from geodns.server.udp import UdpReader
from geodns.snapshot import Snapshot
from geodns.state_lock import inherit_lock, lock_state

DRAIN = 2.0  # seconds that open connections have in the end


def answer(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
    """The query, and who answered it."""
    return query + b" by %d" % os.getpid()


def say(*words: object) -> None:
    print(*words, flush=True)


class Heir:
    """One daemon."""

    def __init__(self, options: argparse.Namespace, bound: list[Bound], control: socket.socket, lock: int) -> None:
        self.fault, self.bound, self.control, self.lock = options.fault, bound, control, lock
        self.udp = [UdpReader(one, answer, Settings()) for one in bound]
        self.tcp = TcpServer(answer, Settings(), TcpLimits(100, 100, 10.0))
        label = Labelled(Label("control", str(options.control)), control)
        labelled = [label, *(each for one in bound for each in label_bound(one))]
        self.offer = Offer(lambda: labelled, lock, self.quiesce, self.read_on, self.finish, options.patience)
        self.tasks: set[asyncio.Task[None]] = set()

    def welcome(self) -> None:
        connection, _ = self.control.accept()
        task = asyncio.get_running_loop().create_task(self.offer.answer(connection))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self) -> None:
        for reader in self.udp:
            reader.start(asyncio.get_running_loop())
        await self.tcp.start(self.bound)
        asyncio.get_running_loop().add_reader(self.control, self.welcome)

    async def quiesce(self) -> None:
        for reader in self.udp:
            reader.pause()
        await self.tcp.pause()
        say("quiet")
        if self.fault == "quiesce":
            raise OSError(5, "made up")

    async def read_on(self) -> None:
        for reader in self.udp:
            reader.start(asyncio.get_running_loop())
        await self.tcp.resume()
        say("resumed")

    async def finish(self) -> None:
        if self.fault == "finish":
            raise OSError(5, "made up")
        say("saved")

    async def end(self) -> None:
        """After a succession: our descriptors go, nobody's socket is closed."""
        for reader in self.udp:
            reader.leave()
        asyncio.get_running_loop().remove_reader(self.control)
        self.control.close()
        os.close(self.lock)
        await self.tcp.drain(DRAIN)
        await self.tcp.stop()
        await asyncio.gather(*self.tasks)


async def inherit(options: argparse.Namespace, added: list[Bound]) -> tuple[Heir, Inheritance]:
    """Take over, and read."""
    inheritance = await take_over(options.control)
    if options.fault == "die":
        os._exit(9)
    if options.fault == "refuse":
        inheritance.close()
        raise StartError("made up")
    if options.fault == "hang":
        say("hanging")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    bound = [one for port in options.ports if (one := claim_bound(inheritance, "127.0.0.1", port))]
    control = inheritance.claim(Label("control", str(options.control)))
    lock = inheritance.claim_lock()
    assert control is not None and lock is not None
    assert inherit_lock(lock, options.state)
    heir = Heir(options, [*bound, *added], control, lock)
    await heir.start()
    return heir, inheritance


async def run(options: argparse.Namespace, bound: list[Bound]) -> int:
    if options.replace:
        try:
            heir, inheritance = await inherit(options, bound)
            if options.fault == "die reading":
                os._exit(9)
            await inheritance.confirm()
        except StartError as error:
            say("failed", error)
            return 1
    else:
        heir = Heir(options, bound, bind_control(options.control), lock_state(options.state))
        await heir.start()
    say("answering", *(one.port for one in heir.bound))
    end = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, end.set)
    await asyncio.wait(
        [asyncio.create_task(end.wait()), asyncio.create_task(heir.offer.succeeded.wait())],
        return_when=asyncio.FIRST_COMPLETED,
    )
    if heir.offer.handed:
        await heir.end()
        say("ended")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("control", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("--replace", action="store_true")
    parser.add_argument("--fault", default="")
    parser.add_argument("--patience", type=float, default=5.0)
    parser.add_argument("ports", type=int, nargs="*")
    options = parser.parse_intermixed_args()
    publish.current = publish.Current(cast(Snapshot, object()), metrics.Counters())
    wanted = options.ports or [0]
    if options.replace:
        offered = list_offer(options.control)
        assert offered is not None
        wanted = [port for port in wanted if Label("udp", "127.0.0.1", port) not in offered]
    return asyncio.run(run(options, list(bind_all([("127.0.0.1", port) for port in wanted]))))


if __name__ == "__main__":
    sys.exit(main())
