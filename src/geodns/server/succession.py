"""Handing all sockets from one daemon to the next: who stops reading when, and who goes on when something fails.

Knows the lines of the protocol, and what each side does after each. Knows nothing of what is read from the sockets, nor how
the old process ends. Over one connection to the control socket:

    new: GEODNS-SUCCESSION 1        ready to answer, but for the sockets
    old: OFFER {...}                which sockets there are; or REFUSED and why
    new: TAKE                       (who only wanted to know closes the connection here)
    old: SOCKETS n                  reads no more; n descriptors come with the line, as often as it takes; or REFUSED and why
    new: SERVING                    reads
    old: BYE                        has saved all it knows, writes nothing more; or RESUMED: it reads again, the new was late

A socket is never closed nor bound twice, and what arrives between SOCKETS and SERVING waits in the kernel. Until SERVING
has come, every failure lets the old one go on as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ..errors import StartError
from .channel import AT_ONCE, PATIENCE, Channel, ChannelError
from .listen import Bound

GREETING = b"GEODNS-SUCCESSION 1\n"
SAVING = 30.0  # seconds that the old one may take to save what it knows
STREAMS = ("tcp", "http", "control", "backend")  # kinds that listen; "udp" does not
UNIX = ("control", "backend")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Label:
    """What a socket is for, and where it is bound: an address and a port, or a path and 0."""

    kind: str  # udp, tcp, http, control, backend
    address: str
    port: int = 0
    number: int = 0  # of several for UDP at one address, from 0

    def __str__(self) -> str:
        where = self.address if self.kind in UNIX else f"[{self.address}]" if ":" in self.address else self.address
        which = f", number {self.number}" if self.number else ""
        return f"{self.kind} {where}:{self.port}{which}" if self.port else f"{self.kind} {where}"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A socket with its label."""

    label: Label
    socket: socket.socket


Step = Callable[[], Awaitable[None]]


class Offer:
    """The old daemon's side: answers whoever greets on the control socket.

    *sockets* gives all that are read from; *lock* is the descriptor of the state's lock, if there is one. *quiesce* stops
    reading them, without closing one, after answering what was taken; *resume* reads on; *finish* saves what is known, and
    nothing is written afterwards; *patience* is in seconds. `handed` is true once a successor serves: from then on the
    sockets are its own, only our descriptors may be closed. `succeeded` is set after *finish*: time to end.
    """

    def __init__(
        self,
        sockets: Callable[[], Sequence[Labelled]],
        lock: int | None,
        quiesce: Step,
        resume: Step,
        finish: Step,
        patience: float = PATIENCE,
    ) -> None:
        self.handed, self.succeeded = False, asyncio.Event()
        self.lock = lock  # a successor gets its own only when it takes over
        self._sockets, self._patience = sockets, patience
        self._quiesce, self._resume, self._finish = quiesce, resume, finish
        self._negotiation: asyncio.Task[Any] | None = None
        self._withdrawn = False

    async def withdraw(self) -> None:
        """We are to end on our own: a successor that has not said SERVING yet gets nothing, and is told so.

        To be awaited before any socket is stopped; `handed` tells afterwards whether they are ours to stop.
        """
        self._withdrawn = True
        task = self._negotiation
        if task is not None and not self.handed:
            task.cancel()
            await asyncio.wait((task,))

    async def answer(self, connection: socket.socket, first: bytes = b"") -> None:
        """Serve *connection*, whose *first* octets are still unread, and close it. Raises nothing but CancelledError."""
        connection.setblocking(False)
        channel = Channel(connection)
        try:
            await self._serve(channel)
        except (ChannelError, OSError) as error:
            _log.warning("hand-over to a successor: %s", _reason(error))
        except Exception:
            _log.exception("hand-over to a successor failed, which is a bug in geodns")
        finally:
            channel.close()

    async def _serve(self, channel: Channel) -> None:
        greeting = await channel.read_line(self._patience)
        if greeting != GREETING.strip():
            raise ChannelError(f"who connected does not speak this version: {greeting[:40]!r}")
        await self._turn_away(channel)
        sockets = self._sockets()
        labels = [[one.label.kind, one.label.address, one.label.port, one.label.number] for one in sockets]
        offered = {"pid": os.getpid(), "sockets": labels, "lock": self.lock is not None}
        await channel.send(f"OFFER {json.dumps(offered)}")
        answer = await channel.read_line(self._patience, at_end=b"")
        if not answer:
            return  # it only wanted to know, and was in nobody's way
        if answer != b"TAKE":
            raise ChannelError(f"expected TAKE, got {answer[:40]!r}")
        await self._turn_away(channel)  # somebody else may have taken it meanwhile
        self._negotiation = asyncio.current_task()
        try:
            await self._hand_over(channel, sockets)
        finally:
            self._negotiation = None

    async def _turn_away(self, channel: Channel) -> None:
        """Return only if this successor may have what we have. Raises ChannelError."""
        refusal = self._refuse(channel)
        if refusal:
            await channel.send(f"REFUSED {refusal}")
            raise ChannelError(f"refused: {refusal}")

    def _refuse(self, channel: Channel) -> str:
        """Why this successor gets nothing; empty when it may."""
        _, user = channel.peer()
        if user not in {0, os.geteuid()}:  # the socket's mode says so too
            return f"user {user} is neither root nor user {os.geteuid()}"
        if self._withdrawn:
            return "this process is ending"
        if self._negotiation is not None or self.handed:
            return "another hand-over is under way"
        return ""

    async def _hand_over(self, channel: Channel, sockets: Sequence[Labelled]) -> None:
        try:
            await self._quiesce()
            descriptors = [one.socket.fileno() for one in sockets] + ([] if self.lock is None else [self.lock])
            for start in range(0, len(descriptors) or 1, AT_ONCE):  # a line also where there is nothing to send
                part = descriptors[start : start + AT_ONCE]
                await channel.send(f"SOCKETS {len(part)}", part)
            answer = await channel.read_line(self._patience)
            if answer != b"SERVING":
                raise ChannelError(f"expected SERVING, got {answer[:40]!r}")
        except Exception as error:
            await self._go_on(channel, _reason(error))
            return
        except BaseException:
            await self._go_on(channel, "this process is told to end")
            raise
        await self._end(channel)

    async def _go_on(self, channel: Channel, reason: str) -> None:
        """The successor failed: read on, and tell it, should it be late and not dead."""
        await self._resume()
        _log.error("the successor did not take over: %s; this process goes on", reason)
        with contextlib.suppress(OSError, ChannelError):
            await channel.send("RESUMED")

    async def _end(self, channel: Channel) -> None:
        self.handed = True
        _log.info("process %d answers now; ending", channel.peer()[0])
        try:
            await self._finish()
        except Exception:
            _log.exception("what was known could not be saved for the successor")
        self.succeeded.set()
        with contextlib.suppress(OSError, ChannelError):  # it has all it needs
            await channel.send("BYE")


class Inheritance:
    """The new daemon's side: what was handed over. Claim, read, then `confirm`; or `close`, and the old one goes on."""

    def __init__(self, pid: int, sockets: Sequence[Labelled], lock: int | None, channel: Channel) -> None:
        self.pid = pid
        self._left = {one.label: one.socket for one in sockets}
        self._lock, self._channel = lock, channel

    def claim(self, label: Label) -> socket.socket | None:
        """The socket for *label*, which is the caller's from now on; None if the old one had none."""
        return self._left.pop(label, None)

    def claim_lock(self) -> int | None:
        """The descriptor that holds the lock of the old one's state, for `state_lock.inherit_lock`; None if it had none."""
        lock, self._lock = self._lock, None
        return lock

    async def confirm(self) -> None:
        """Say that we read. Returns when the old one has saved its state; sockets that nobody claimed are closed then.

        Raises StartError when the old one has gone on in the meantime: then stop reading. An old one that dies now is no
        failure: everything is ours.
        """
        try:
            with contextlib.suppress(BrokenPipeError):  # it has gone, and may have left word
                await self._channel.send("SERVING")
            answer = await self._channel.read_line(SAVING, at_end=b"")
        except (OSError, ChannelError) as error:
            _log.warning("process %d did not say that it ends: %s", self.pid, _reason(error))
            answer = b""
        self.close()
        if answer.startswith(b"RESUMED"):
            raise StartError(f"process {self.pid} did not wait for us and goes on; nothing was replaced")

    def close(self) -> None:
        """Let go of what was not claimed, and of the connection. Before `confirm` that makes the old one go on."""
        for one in self._left.values():
            one.close()
        self._left.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._channel.close()


def label_bound(bound: Bound) -> tuple[Labelled, ...]:
    """All sockets of a listen address, for `Offer`."""
    udp = (Labelled(Label("udp", bound.address, bound.port, number), one) for number, one in enumerate(bound.group))
    return *udp, Labelled(Label("tcp", bound.address, bound.port), bound.tcp)


def claim_bound(inheritance: Inheritance, address: str, port: int) -> Bound | None:
    """All sockets of a listen address, out of what was handed over; None where the old one did not listen there.

    As many for UDP as there were: whatever waits in one that nobody claims would be lost.
    """
    udp: list[socket.socket] = []
    while (one := inheritance.claim(Label("udp", address, port, len(udp)))) is not None:
        udp.append(one)
    tcp = inheritance.claim(Label("tcp", address, port))
    if udp and tcp is not None:
        return Bound(address, port, udp[0], tcp, tuple(udp[1:]))
    for one in (*udp, *([tcp] if tcp is not None else [])):
        one.close()
    return None


def list_offer(control: Path) -> tuple[Label, ...] | None:
    """What the daemon behind *control* would hand over, without taking it; None where nobody listens.

    For the start, before there is a loop: what is not among these must be bound. Raises StartError.
    """

    async def ask() -> tuple[Label, ...] | None:
        found = await _open_offer(control)
        if found is None:
            return None
        channel, _, labels, _ = found
        channel.close()
        return labels

    return asyncio.run(ask())


async def take_over(control: Path) -> Inheritance:
    """Take everything from the daemon behind *control*, which reads no more when this returns. Raises StartError."""
    found = await _open_offer(control)
    if found is None:
        raise StartError(f"{control}: nobody listens there any more")
    channel, pid, labels, has_lock = found
    try:
        await channel.send("TAKE")
        line = b""
        while not line or len(channel.descriptors) < len(labels) + has_lock:
            line = await channel.read_line()
            if line.startswith(b"REFUSED "):
                raise ChannelError(line.decode(errors="replace"))
            if not line.startswith(b"SOCKETS "):
                raise ChannelError(f"expected SOCKETS, got {line[:40]!r}")
        sockets = _verify_all(labels, channel.descriptors)
    except (OSError, ChannelError) as error:
        channel.close()
        raise StartError(f"{control}: process {pid} did not hand over: {_reason(error)}; it goes on") from error
    except BaseException:
        channel.close()
        raise
    return Inheritance(pid, sockets, channel.descriptors.pop() if has_lock else None, channel)


async def _open_offer(control: Path) -> tuple[Channel, int, tuple[Label, ...], bool] | None:
    """Greet, and read the offer. None where nobody listens. Raises StartError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    channel = Channel(connection)
    try:
        connection.connect(os.fspath(control))
        pid, user = channel.peer()
        if user not in {0, os.geteuid()} and os.geteuid() != 0:
            raise ChannelError(f"process {pid} there is user {user}'s, not ours")
        await channel.send(GREETING.decode().strip())
        line = await channel.read_line()
        if not line.startswith(b"OFFER "):
            raise ChannelError(line.decode(errors="replace")[:200])
        offered = json.loads(line.removeprefix(b"OFFER "))
        labels = tuple(
            Label(str(kind), str(address), int(port), *map(int, number[:1]))
            for kind, address, port, *number in offered["sockets"]
        )
        if len(set(labels)) < len(labels):
            raise ChannelError("it offers a socket twice")
        return channel, int(offered["pid"]), labels, bool(offered["lock"])
    except (FileNotFoundError, ConnectionRefusedError):
        channel.close()
        return None
    except OSError as error:
        channel.close()
        raise StartError(f"{control}: cannot ask the daemon there: {error.strerror}") from error
    except (ChannelError, ValueError, LookupError, TypeError) as error:
        channel.close()
        raise StartError(f"{control}: the daemon there hands nothing over: {error}") from error


def _verify_all(labels: Sequence[Label], descriptors: list[int]) -> list[Labelled]:
    """All sockets that were handed over, taken out of *descriptors*; or none. Raises ChannelError, OSError."""
    sockets: list[Labelled] = []
    try:
        for label in labels:
            sockets.append(_verify(label, descriptors))  # noqa: PERF401 - a failure must find those before it
    except BaseException:
        for one in sockets:
            one.socket.close()
        raise
    return sockets


def _verify(label: Label, descriptors: list[int]) -> Labelled:
    """The next descriptor as the socket that its label says it is. Raises ChannelError, OSError."""
    descriptor = descriptors[0]
    one = socket.socket(fileno=descriptor)
    descriptors.pop(0)  # it is the socket's now
    try:
        listens = bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) if one.type == socket.SOCK_STREAM else False
        if listens is not (label.kind in STREAMS) or (one.family == socket.AF_UNIX) is not (label.kind in UNIX):
            raise ChannelError(f"a socket is not what its label says, {label}")
        if not _is_at(one.getsockname(), label):
            raise ChannelError(f"a socket is bound to {one.getsockname()}, not as its label says, {label}")
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return Labelled(label, one)


def _is_at(name: Any, label: Label) -> bool:
    if label.kind in UNIX:
        return bool(name == label.address)
    return bool(name[1] == label.port and ip_address(name[0].split("%")[0]) == ip_address(label.address.split("%")[0]))


def _reason(error: Exception) -> str:
    """*error* in words."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
