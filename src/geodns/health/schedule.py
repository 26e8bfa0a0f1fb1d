"""When each target is probed: a rhythm of its own, one probe at a time, so many at once and no more.

Knows intervals, jitter, who is due and who is late. Knows nothing of clocks, loops or what a probe is: time is an
argument, in seconds of any clock that never jumps back, and so is chance.

A target is due at (n + phase + jitter) x interval, n = 0, 1, 2 ...: the phase is drawn from its key, so that targets are
spread over the interval, and whoever starts anew (a restarted prober, a reloaded list) falls into the old rhythm. Jitter
moves single probes and never adds up, so the mean rate is exactly one an interval.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from typing import NamedTuple

from .targets import Target

JITTER = 0.05  # of the interval, to either side: probes of several nodes do not stay in step
# Probes under way, each of them a socket. When nobody replies, a time-out of 2 s keeps 2,000 of 5,000 targets under way.
AT_ONCE = 4000
NOT_BEFORE = 0.5  # of the interval: nobody is probed again so soon, who was early (urgent) or late (capped)


class Due(NamedTuple):
    """A probe that is to be started now."""

    target: Target
    at: float  # when it should have been
    urgent: bool  # asked for, not scheduled: its lateness says nothing about the rhythm


class _Entry:
    """A target, and where it is in its rhythm."""

    __slots__ = ("due", "interval", "key", "phase", "serial", "target", "urgent")

    def __init__(self, target: Target) -> None:
        self.target, self.key, self.interval = target, target.key, target.check.interval
        self.phase = find_phase(target.key)
        self.due = 0.0
        self.serial = 0  # of its item in the heap: older items are void; 0 has none
        self.urgent = False


class Schedule:
    """Who is due. A target is in the heap, among the urgent, or under way: exactly one of them."""

    def __init__(self, limit: int, draw: Callable[[], float]) -> None:
        """At most *limit* probes under way; *draw* gives numbers from 0 to 1, for the jitter."""
        self._limit, self._draw = limit, draw
        self._entries: dict[str, _Entry] = {}
        self._under_way: dict[str, _Entry] = {}  # also those that were taken from the list meanwhile
        self._urgent: deque[_Entry] = deque()
        self._heap: list[tuple[float, int, _Entry]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def under_way(self) -> int:
        """So many probes were taken and are not done."""
        return len(self._under_way)

    def count_waiting(self, now: float) -> int:
        """So many are due and not taken. Looks at all of them: for once a second."""
        return sum(entry.due <= now and entry.key not in self._under_way for entry in self._entries.values())

    def watch(self, targets: Iterable[Target], urgent: Collection[str], now: float) -> None:
        """Replace the list. Who stays keeps its rhythm, who is new falls into its own, *urgent* keys are due at once."""
        before, self._entries = self._entries, {}
        for target in targets:
            entry = before.get(target.key) or self._under_way.get(target.key)
            if entry is None:
                entry = _Entry(target)
                self._plan(entry, now, now)
            entry.target = target  # another datacenter may share it now
            self._entries[target.key] = entry
        for key in urgent:
            if key in self._entries:
                self._hurry(self._entries[key], now)
        self._urgent = deque(entry for entry in self._urgent if self._entries.get(entry.key) is entry)
        self._heap = [item for item in self._heap if item[2].serial == item[1] and self._entries.get(item[2].key) is item[2]]
        heapq.heapify(self._heap)

    def take(self, now: float, most: int) -> list[Due]:
        """At most *most* probes to be started at *now*: the urgent first, then who has waited longest. Each needs `done`."""
        room = min(most, self._limit - len(self._under_way))
        taken: list[Due] = []
        while len(taken) < room and self._urgent:
            entry = self._urgent.popleft()
            taken.append(Due(entry.target, entry.due, urgent=True))
            self._start(entry, now)
        while len(taken) < room and (at := self._peek()) is not None and at <= now:
            entry = heapq.heappop(self._heap)[2]
            taken.append(Due(entry.target, entry.due, urgent=False))
            self._start(entry, now)
        return taken

    def done(self, key: str, now: float, *, again: bool = False) -> None:
        """The probe of *key* has ended. *again*: it told nothing, another one is due at once."""
        entry = self._under_way.pop(key)
        if self._entries.get(key) is not entry:
            return  # nobody wants it any more
        if again:
            self._hurry(entry, now)
        else:
            self._plan(entry, entry.due + NOT_BEFORE * entry.interval, now)

    def next_due(self) -> float | None:
        """When `take` has something to give, maybe long ago; None: not before `done` or `watch`."""
        if len(self._under_way) >= self._limit:
            return None
        return self._urgent[0].due if self._urgent else self._peek()

    def _peek(self) -> float | None:
        """The earliest due time in the heap, whose void items go."""
        heap = self._heap
        while heap:
            due, serial, entry = heap[0]
            if entry.serial == serial:
                return due
            heapq.heappop(heap)
        return None

    def _start(self, entry: _Entry, now: float) -> None:
        entry.due, entry.serial, entry.urgent = now, 0, False  # until `done`, `due` is when the probe began
        self._under_way[entry.key] = entry

    def _plan(self, entry: _Entry, earliest: float, now: float) -> None:
        """Put *entry* at the first tick of its rhythm from *earliest* on; one that has passed is due at *now*."""
        tick = math.ceil(earliest / entry.interval - entry.phase)
        jitter = (2 * self._draw() - 1) * JITTER
        entry.due = max((tick + entry.phase + jitter) * entry.interval, now)
        self._serial += 1
        entry.serial = self._serial
        heapq.heappush(self._heap, (entry.due, entry.serial, entry))

    def _hurry(self, entry: _Entry, now: float) -> None:
        """Put *entry* among the urgent. One that is under way has its result soon."""
        if entry.urgent or entry.key in self._under_way:
            return
        entry.due, entry.serial, entry.urgent = now, 0, True
        self._urgent.append(entry)


def find_phase(key: str) -> float:
    """Where in its interval a target is probed, from 0 to 1; the same in every process."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()) / 2.0**64


# Upper ends of the classes that lateness is counted in: 0.1 ms to 2 hours, each a tenth above the one before.
CLASSES = [0.0001 * 1.1**step for step in range(190)]


class Lateness:
    """How late probes began over the last minute, in classes of a tenth; sixty thousand numbers would have to be sorted."""

    def __init__(self, slots: int = 60) -> None:
        """*slots* times between two calls of `turn` are remembered."""
        self._slots = deque([[0] * (len(CLASSES) + 1)], maxlen=slots)

    def add(self, seconds: float) -> None:
        """A probe began *seconds* after it was due."""
        self._slots[-1][bisect_left(CLASSES, seconds)] += 1

    def turn(self) -> None:
        """A second is over: what is older than a minute is forgotten."""
        self._slots.append([0] * (len(CLASSES) + 1))

    def percentile(self, share: float) -> float | None:
        """The lateness that *share* of the probes did not exceed, rounded up to the end of its class; None without any."""
        counts = [sum(column) for column in zip(*self._slots, strict=True)]
        needed = share * sum(counts)
        if not needed:
            return None
        passed = 0
        for number, count in enumerate(counts):
            passed += count
            if passed >= needed:
                return CLASSES[min(number, len(CLASSES) - 1)]
        return CLASSES[-1]
