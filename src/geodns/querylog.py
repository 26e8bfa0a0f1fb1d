"""The query log: some queries and what they were answered, in lines of JSON.

Knows which queries are kept, for how long, and how much of the main thread they may take. Knows nothing of what a line says
(`querylog_line`) or of files (`querylog_file`). The hot path pays nothing while the log is off, and a countdown while it is
on: what is kept is (query, peer, draw) beside the snapshot that was read, in a bounded ring. It is decided once more between
queries, a millisecond at a time, and written by a thread. Where one of them is too slow, queries are dropped and
counted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable

from . import publish
from .answer import Turn
from .config.model_server import QueryLog as Wanted
from .errors import StartError
from .querylog_file import Lines, LogFile, Writer
from .querylog_line import Prefixes, Sampled, write_line
from .server.udp import Answer
from .snapshot import Snapshot

RING = 4096  # queries that may wait to be decided once more
LONGEST = 1232  # octets of a query that is kept: what EDNS clients send at most over UDP, so the ring has 5 MB at most
EVERY = 0.1  # seconds between two looks at the ring
SLICE = 0.001  # seconds of the main thread at once
REST = 9  # times as long as a slice took, queries have the thread: the log takes a tenth of it at most
PACE = 60.0  # seconds between two lines that tell of drops

_log = logging.getLogger(__name__)


class QueryLog:
    """What `server.query_log` asks for. *chance* gives numbers in 0..1, *clock* monotonic seconds."""

    def __init__(
        self, wanted: Wanted, chance: Callable[[], float] = random.random, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wanted, self._chance, self._clock = wanted, chance, clock
        self._prefixes = Prefixes(wanted.v4_prefix, wanted.v6_prefix)
        self._writer = Writer(LogFile(wanted.path, wanted.max_size, wanted.keep))
        self._ring: deque[Sampled] = deque()
        self._held: Snapshot | None = None  # of the query that was decided last
        self._crowded = 0  # queries that found the ring full, or were too long for it
        self._failed = 0  # queries on which deciding once more failed
        self._told, self._next_told = 0, 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def written(self) -> int:
        """Lines that the file has taken."""
        return self._writer.written

    @property
    def dropped(self) -> int:
        """Sampled queries that are not in the file and never will be."""
        return self._crowded + self._failed + self._writer.refused + self._writer.lost

    def around(self, answer: Answer) -> Answer:
        """*answer*, sampled: for one adapter, each with a countdown of its own. What draws no reply is no query."""
        left = self._skip()

        def sampled(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
            nonlocal left
            reply = answer(turn, query, peer, draw)
            if left:
                left -= 1
            elif reply is not None:
                left = self._skip()
                self.keep(turn, query, peer, draw, reply[2] << 8 | reply[3])
            return reply

        return sampled

    def _skip(self) -> int:
        """How many queries are passed over until the next that is kept: as if each were drawn by itself.

        A fixed step would see always the same of queries that come in turns, A and AAAA say.
        """
        share = self._wanted.sample
        return 0 if share >= 1 else int(math.log(1 - self._chance()) / math.log1p(-share))

    def keep(self, turn: Turn, query: bytes, peer: bytes, draw: int, flags: int) -> None:
        """*query* was drawn, be it by a thread; its reply had these *flags* in the header."""
        if len(self._ring) >= RING or len(query) > LONGEST:
            self._crowded += 1
        else:
            self._ring.append(Sampled(turn, query, peer, draw, flags))

    def miss(self, count: int) -> None:
        """So many were drawn by threads, and came to nobody."""
        self._crowded += count

    @property
    def share(self) -> float:
        """How many queries are drawn, 0..1, for threads that draw by themselves."""
        return self._wanted.sample

    async def start(self) -> None:
        """Open the file, as the user that we are now, and write from now on. Raises StartError."""
        try:
            await asyncio.to_thread(self._writer.start)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(f"server.query_log.path: {self._wanted.path}: cannot be opened: {reason}") from error
        self._task = asyncio.create_task(self._run())

    def reopen(self) -> None:
        """Open the path anew: another program has renamed the file."""
        self._writer.reopen()

    async def stop(self) -> None:
        """Write what was sampled, as far as the disk takes it soon, and close the file. After the adapters have stopped."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        while self._ring:
            self._decide_some()
            await asyncio.sleep(0)
        await asyncio.to_thread(self._writer.stop)
        self._tell_drops()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            while self._ring:
                began = time.monotonic()
                self._decide_some()
                await asyncio.sleep(REST * (time.monotonic() - began))
            await self._let_go()
            if self._clock() >= self._next_told:
                self._tell_drops()

    def _decide_some(self) -> None:
        """Decide queries of the ring for the length of a slice, and hand their lines to the writer."""
        lines, end = [], time.monotonic() + SLICE
        while self._ring and time.monotonic() < end:
            sampled = self._ring.popleft()
            self._hold(sampled.turn.snapshot)
            try:
                lines.append(write_line(sampled, self._prefixes))
            except Exception:
                self._failed += 1
                query = sampled.query.hex()
                _log.exception(
                    "query log: a query failed, which is a bug in geodns; query %s", query, extra={"seldom": True}
                )
        if lines:
            self._writer.bring(Lines(b"".join(lines), len(lines)))

    def _hold(self, snapshot: Snapshot) -> None:
        """*snapshot* is in use; the one before, if it was another, is handed in.

        A query in the ring may hold the last reference to a snapshot that was replaced since, and to drop one of a hundred
        thousand names at once would take tens of milliseconds.
        """
        if self._held is not None and self._held is not snapshot:
            publish.retire(self._held)
        self._held = snapshot

    async def _let_go(self) -> None:
        """The ring is empty: hold no snapshot, and let those that were handed in go in slices."""
        if self._held is not None:
            publish.retire(self._held)
            self._held = None
        for _ in publish.sweep():
            await asyncio.sleep(0)

    def _tell_drops(self) -> None:
        """One line for all that was dropped since the last one."""
        dropped, trouble = self.dropped, self._writer.trouble
        if dropped > self._told:
            why = f"{self._wanted.path}: {trouble}" if trouble else "more came than could be written; raise `sample`"
            _log.warning("query log: %d queries are not in it: %s", dropped - self._told, why)
            self._told, self._next_told = dropped, self._clock() + PACE
