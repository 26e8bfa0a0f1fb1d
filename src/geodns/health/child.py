"""The daemon's side of the process that probes: started, told what to watch, listened to, replaced when it fails.

Knows processes, sockets and time. Knows nothing of probes, nor of what an outcome means. By exec and never by fork: a
forked child would go on receiving queries on the sockets that it inherited. It ends when our end of its socket closes,
and so with the daemon, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Iterable, Sequence

from ..report import ProberReport
from . import messages
from .messages import Frames, MessageError, Pulse, Said
from .state import Outcome
from .targets import Target

COMMAND = (sys.executable, "-P", "-m", "geodns.health.prober")  # the descriptor follows
SILENCE = 10.0  # seconds without a pulse, of which one comes each second
LOOKS = 10  # how often the silence is looked at before it is too long
START_LOOKS = 30  # the same until the first pulse: the interpreter starts, on a machine that may be busy
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # seconds before it is started again: doubled each time
HEALTHY = 60.0  # seconds of life that make the pause short again
LARGEST_READ = (
    1 << 15
)  # octets taken in one turn of the loop: some 300 outcomes, half a millisecond, then queries have theirs
END_LIMIT = 0.5  # seconds that it has to end by itself

_log = logging.getLogger(__name__)


class Prober:
    """The process that probes, as the daemon sees it: always there, or about to be."""

    def __init__(
        self,
        tell: Callable[[Sequence[Outcome]], None],
        trouble: Callable[[str], None],
        started: Callable[[], None],
        *,
        command: Sequence[str] = COMMAND,
        silence: float = SILENCE,
    ) -> None:
        """All three are called in the loop's thread; what they raise is logged and changes nothing here.

        *tell* gets all outcomes of one read. *trouble* says in words that the process has ended, was given up or could not
        be started; from then on nothing is probed, until *started* is called. What went wrong is in the log already.
        """
        self._tell, self._trouble, self._started = tell, trouble, started
        self._command, self._silence = tuple(command), silence
        self._targets: tuple[Target, ...] = ()
        self._urgent: set[str] = set()  # of them, those that no outcome came from since `watch`
        self._task: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._line: Line | None = None  # of the process that lives
        self._running, self._since, self._restarts = False, time.time(), 0
        self.pulse: Pulse | None = None  # the last, of a process that lives

    async def start(self) -> None:
        """Start the process, and keep it running. It has begun when `started` is called."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """End the process, within a second."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def watch(self, targets: Iterable[Target], urgent: Iterable[str]) -> None:
        """Replace the list of what is probed. Who was in it keeps its rhythm; *urgent* keys are probed at once."""
        self._targets, self._urgent = tuple(targets), set(urgent)
        if self._line is not None:
            self._send_list(self._line)

    def report(self) -> ProberReport:
        """How the process fares; whose verdicts are frozen is for others to know."""
        lateness = None if self.pulse is None else self.pulse.lateness
        return ProberReport(self._running, self._since, self._restarts, len(self._targets), lateness, ())

    async def _keep_running(self) -> None:
        """One life of the process after the other, with pauses that grow while none lasts."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                text = await self._live()
            except Exception:
                _log.exception("watching over the prober failed, which is a bug in geodns")
                text = "was lost"
            if time.monotonic() - began >= HEALTHY:
                pause = FIRST_PAUSE
            _log.error("the prober %s; verdicts are frozen, it is started again in %g s", text, pause)
            try:
                self._trouble(f"the prober {text}")
            except Exception:  # the next process must be started all the same
                _log.exception("the end of the prober could not be taken, which is a bug in geodns")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._restarts += 1

    async def _live(self) -> str:
        """Start the process and stay with it to its end; returns how that came, in words."""
        try:
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    fd = theirs.fileno()
                    process = await asyncio.create_subprocess_exec(
                        *self._command, str(fd), stdin=DEVNULL, pass_fds=(fd,), start_new_session=True
                    )
                return await self._attend(process, ours)
        except OSError as error:
            return f"cannot be started, {self._command[0]}: {error.strerror}"

    async def _attend(self, process: Process, ours: socket.socket) -> str:
        """Tell *process* what to watch, and hear it out to its end; returns how that came, in words."""
        line = Line(self._hear, self._silence)
        dead = asyncio.create_task(process.wait())
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: line, sock=ours)
            self._line = line
            self._send_list(line)
            await asyncio.wait((dead, line.over), return_when=asyncio.FIRST_COMPLETED)
            # Its end closes the socket too: give it the time to be seen as what it is.
            await asyncio.wait((dead,), timeout=0 if line.given_up else END_LIMIT)
            line.given_up = not dead.done()
            return line.reason if line.given_up else _describe(process.returncode)
        finally:
            self._line, self.pulse = None, None
            self._running, self._since = False, time.time()
            if self._sending is not None:
                self._sending.cancel()
            await _end(process, line, dead)

    def _send_list(self, line: Line) -> None:
        """Send the list in the background; one that was being sent is given up."""
        if self._sending is not None:
            self._sending.cancel()
        self._sending = asyncio.create_task(line.send(messages.write_list(self._targets, frozenset(self._urgent))))

    def _hear(self, found: list[Outcome], pulse: Pulse | None, said: list[Said]) -> None:
        """What came with one read."""
        for one in said:
            _log.log(one.level, "prober: %s", one.text)
        if pulse is not None:
            self.pulse = pulse
            if not self._running:
                self._running, self._since = True, time.time()
                _log.info("the prober runs, %d targets", len(self._targets))
                self._started()
        if found:
            if self._urgent:
                self._urgent.difference_update(one.key for one in found)
            self._tell(found)


class Line(asyncio.BufferedProtocol):
    """Our end of the socket to one process."""

    def __init__(self, hear: Callable[[list[Outcome], Pulse | None, list[Said]], None], silence: float) -> None:
        self._hear, self._silence = hear, silence
        self._frames = Frames(messages.LARGEST_UP)
        self._buffer = bytearray(LARGEST_READ)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._quiet = LOOKS - START_LOOKS  # looks since something came
        self.reason, self.given_up = "closed its socket", False
        self.over: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._loop.call_later(self._silence / LOOKS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        if not self.over.done():
            self.over.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._quiet = 0
        found: list[Outcome] = []
        said: list[Said] = []
        pulse: Pulse | None = None
        try:
            for frame in self._frames.feed(self._buffer[:nbytes]):
                message = messages.read_up(frame)
                if isinstance(message, Pulse):
                    pulse = message
                elif isinstance(message, Said):
                    said.append(message)
                else:
                    found += message
        except MessageError as error:
            self.give_up(f"sent {error}")
        try:
            self._hear(found, pulse, said)
        except Exception:  # a bug of ours, and no reason to end the process
            _log.exception("outcomes of probes could not be taken, which is a bug in geodns")

    def give_up(self, reason: str) -> None:
        """Nothing more is expected of the process, for *reason*."""
        if not self.over.done():
            self.reason, self.given_up = reason, True
            self.over.set_result(None)
        self.close()

    def close(self) -> None:
        """Close the socket, which ends the process."""
        if self._transport is not None:
            self._transport.abort()

    async def send(self, frames: Iterable[bytes]) -> None:
        """Send *frames*; between two the loop has as much time as making one took, and the process has read them."""
        began = time.monotonic()
        for frame in frames:
            if self._transport is None:
                return
            self._transport.write(frame)
            await asyncio.sleep(time.monotonic() - began)
            await self._writable.wait()
            began = time.monotonic()

    def _look(self) -> None:
        """Has it been silent for long? Looks are counted, not seconds: when we stood still ourselves, that is one."""
        if self._transport is None:
            return
        self._quiet += 1
        if self._quiet > LOOKS:
            self.give_up(f"has said nothing for {self._silence:g} s")
        else:
            self._loop.call_later(self._silence / LOOKS, self._look)


async def _end(process: Process, line: Line, dead: asyncio.Task[int]) -> None:
    """Close the socket, wait a little, kill: at the end *process* is gone."""
    line.close()
    try:
        if not line.given_up:
            await asyncio.wait((dead,), timeout=END_LIMIT)
    finally:
        if not dead.done():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.wait((dead,))


def _describe(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None or status >= 0:
        return f"ended with status {status}"
    hint = " (out of memory?)" if -status == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-status).name}{hint}"
