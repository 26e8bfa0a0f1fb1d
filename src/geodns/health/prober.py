"""`python -m geodns.health.prober FD`: the process that probes, so that probing never delays an answer.

Knows its socket to the daemon (descriptor FD), the schedule, and how much it may start at a time. Knows nothing of how a
probe is made, nor of what its outcome means. It ends with the socket: when the daemon has gone, however it went.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from . import messages
from .messages import Frames, MessageError, Pulse, Said
from .schedule import AT_ONCE, Due, Lateness, Schedule
from .state import Outcome, Verdict
from .targets import Target

GRAIN = 0.005  # seconds between two looks at the schedule: a hundred timers in a row cost less as one
STARTS = 16  # probes started in one turn of the loop
LONG_TURN = 0.02  # seconds of our own work in one turn: probes would time out for our slowness, so nearly none is started
BEAT = 0.2  # seconds between two looks at the clock
STALL = 0.4  # seconds that a beat comes too late: we stood still, and time-outs meanwhile are our own
BACKLOG = 1 << 20  # octets that the daemon has not read: nothing is started until it does
SPARE_FILES = 200  # open files beside the sockets of probes: programs and their pipes, certificates, the loop
CLOSE_LIMIT = 0.3  # seconds that probes under way have to go
LINES_A_PULSE = 10  # of the log; more are counted


class Probing(Protocol):
    """What makes the probes: `probes.Probes`, or what a test puts in its place."""

    async def probe(self, target: Target) -> Outcome: ...

    async def close(self) -> None: ...


class Rounds(asyncio.Protocol):
    """Probes what it is told to watch, and tells what it finds, until the socket closes."""

    def __init__(self, probes: Probing, limit: int = AT_ONCE) -> None:
        """At most *limit* probes under way."""
        self._probes, self._schedule, self._lateness = probes, Schedule(limit, random.random), Lateness()
        self._loop = asyncio.get_running_loop()
        self._frames = Frames(messages.LARGEST_DOWN)
        self._list: list[Target] = []  # that is coming in slices
        self._urgent: list[str] = []
        self._found: list[Outcome] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._repeated: set[str] = set()  # keys whose last outcome was not told
        self._stalled = float("-inf")  # when we last stood still
        self._said = 0  # lines since the last pulse
        self._held = False  # the daemon does not read
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.Handle | None = None  # of the next turn
        self._planned = float("inf")  # when that is
        self._spun: float | None = None  # processor time at the last turn, where this one follows at once
        self._beats = 0
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.set_write_buffer_limits(BACKLOG)
        self._transport = transport
        self._pulse()
        self._loop.call_later(BEAT, self._beat, self._loop.time() + BEAT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take_slice(messages.read_down(frame))
        except MessageError as error:
            logging.getLogger(__name__).critical("the daemon sent %s", error)
            if self._transport is not None:
                self._transport.close()

    def pause_writing(self) -> None:
        self._held = True

    def resume_writing(self) -> None:
        self._held = False
        self._wake()

    def _take_slice(self, part: messages.Slice) -> None:
        """Keep *part*; with the last one the list counts."""
        if part.first:
            self._list, self._urgent = [], []
        self._list += part.targets
        self._urgent += part.urgent
        if not part.last:
            return
        self._schedule.watch(self._list, self._urgent, self._loop.time())
        self._list, self._urgent = [], []
        self._repeated.clear()  # some of them may be gone
        gc.collect()
        gc.freeze()  # targets have no cycles: they go with their last reference, and need not be looked at again
        self._wake()

    def _wake(self) -> None:
        """Look at the schedule in the next turn of the loop."""
        if self._timer is not None:
            self._timer.cancel()
        self._planned = 0.0
        self._timer = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Start what is due, a few at a time: between two handfuls those under way are served."""
        now, spent = self._loop.time(), time.thread_time()
        long = self._spun is not None and spent - self._spun > LONG_TURN
        self._timer, self._planned, self._spun = None, float("inf"), None
        if self._transport is None or self._held:
            return
        # One at least: should turns be long for another reason, the rounds go on.
        for due in self._schedule.take(now, 1 if long else STARTS):
            self._tasks[due.target.key] = self._loop.create_task(self._probe(due))
        at = self._schedule.next_due()
        if at is not None and at <= now:
            self._spun, self._planned = time.thread_time(), 0.0
            self._timer = self._loop.call_soon(self._turn)
        else:
            self._arm(now)

    def _arm(self, now: float) -> None:
        """See to it that there is a turn when the next target is due."""
        at = self._schedule.next_due()
        if at is None or at >= self._planned or self._transport is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._planned = max(at, now + GRAIN)
        self._timer = self._loop.call_at(self._planned, self._turn)

    async def _probe(self, due: Due) -> None:
        """One probe: count how late it is, make it, tell what it found, plan the next."""
        target, began = due.target, self._loop.time()
        if not due.urgent:
            self._lateness.add(began - due.at)
        try:
            outcome = await self._probes.probe(target)
        except Exception as error:
            logging.getLogger(__name__).exception("%s: the probe failed, which is a bug in geodns", target.where)
            text = f"the probe failed, which is a bug in geodns: {type(error).__name__}"
            outcome = Outcome(target.key, Verdict.UNKNOWN, True, text, self._loop.time() - began)
        finally:
            del self._tasks[target.key]
        again = self._is_void(outcome, began)
        if not again:
            self._tell(outcome)
        now = self._loop.time()
        self._schedule.done(target.key, now, again=again)
        self._arm(now)

    def _is_void(self, outcome: Outcome, began: float) -> bool:
        """Did the probe fail while we stood still ourselves? Then it says nothing, once."""
        if outcome.verdict is Verdict.DOWN and began < self._stalled and outcome.key not in self._repeated:
            self._repeated.add(outcome.key)
            return True
        self._repeated.discard(outcome.key)
        return False

    def _tell(self, outcome: Outcome) -> None:
        """Send *outcome* with all others of this turn of the loop."""
        if not self._found:
            self._loop.call_soon(self._flush)
        self._found.append(outcome)

    def _flush(self) -> None:
        found, self._found = self._found, []
        for frame in messages.write_outcomes(found):
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def _beat(self, planned: float) -> None:
        """Notice that we stood still: stopped, starved of processor time, or with the whole machine."""
        if self._transport is None:
            return
        now = self._loop.time()
        if now - planned > STALL:
            self._stalled = now
        self._beats += 1
        if self._beats * BEAT >= 1:
            self._beats = 0
            self._pulse()
        self._loop.call_later(BEAT, self._beat, now + BEAT)

    def _pulse(self) -> None:
        schedule, late = self._schedule, self._lateness.percentile(0.99)
        waiting = schedule.count_waiting(self._loop.time() - GRAIN)
        self._send(messages.write_pulse(Pulse(len(schedule), schedule.under_way, waiting, late, time.process_time())))
        self._lateness.turn()
        if self._said > LINES_A_PULSE:
            self._send(messages.write_said(Said(logging.WARNING, f"{self._said - LINES_A_PULSE} more lines not shown")))
        self._said = 0

    def say(self, level: int, text: str) -> None:
        """Send a line for the daemon's log; of many in a second the first ten."""
        self._said += 1
        if self._said <= LINES_A_PULSE:
            self._send(messages.write_said(Said(level, text)))

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT):
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._probes.close()


class Relay(logging.Handler):
    """What the process logs goes to the daemon, which knows level, format and where the log is."""

    def __init__(self, rounds: Rounds) -> None:
        super().__init__(logging.WARNING)
        self._rounds = rounds

    def emit(self, record: logging.LogRecord) -> None:
        self._rounds.say(record.levelno, self.format(record))


async def make_rounds(connection: socket.socket, probes: Probing, limit: int = AT_ONCE) -> None:
    """Serve the daemon at the other end of *connection* until it closes."""
    rounds = Rounds(probes, limit)
    logging.basicConfig(handlers=[Relay(rounds)], format="%(name)s: %(message)s", force=True)
    logging.captureWarnings(True)
    await asyncio.get_running_loop().create_unix_connection(lambda: rounds, sock=connection)
    await rounds.ended
    await rounds.close()


def raise_file_limit(wanted: int) -> int:
    """Allow *wanted* open files, or as many as may be; returns how many. Not more: programs that checks run inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def fit_limit(limit: int) -> int:
    """As many probes at once as files may be open, at most *limit*."""
    files = raise_file_limit(limit + SPARE_FILES)
    return max(1, min(limit, files - SPARE_FILES))


def outlive_signals() -> None:
    """A service manager signals all processes of a service, but only the daemon decides when probing ends.

    A function of ours, and not SIG_IGN: programs that are started as checks would inherit that.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)


def serve(arguments: Sequence[str], make_probes: type[Probing]) -> None:
    """The process, from its command line to its end; never returns."""
    parser = argparse.ArgumentParser(prog="geodns.health.prober")
    parser.add_argument("fd", type=int)
    parser.add_argument("--limit", type=int, default=AT_ONCE)
    options = parser.parse_args(arguments)
    outlive_signals()
    limit = fit_limit(options.limit)
    connection = socket.socket(fileno=options.fd)
    connection.set_inheritable(False)  # a program that a check left behind must not keep it open
    gc.freeze()

    async def run() -> None:
        try:
            await make_rounds(connection, make_probes(), limit)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)  # at once: a thread that waits for a name server would hold up the interpreter

    asyncio.run(run())


if __name__ == "__main__":
    from .probes import Probes

    serve(sys.argv[1:], Probes)
