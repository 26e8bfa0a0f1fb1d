"""What crosses the socket pair between the daemon and the process that probes, in frames.

Knows frames (four octets that say how long, then so many octets) and what is in them. Knows nothing of sockets. Down
goes pickle: both ends are this program, and the daemon is the one who is trusted. Up goes JSON, since the prober talks
with strangers all day: whoever takes it over must not be able to run code in the daemon.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from .state import Outcome, Verdict
from .targets import Target

LARGEST_DOWN = 64 << 20  # octets of a frame
LARGEST_UP = 4 << 20
TARGETS_A_FRAME = 100  # what the daemon packs between two looks at its sockets: 0.2 ms
OUTCOMES_A_FRAME = 200
LONGEST_TEXT = 200  # characters, as `Outcome` has it
LONGEST_SAID = 4000
LATEST = 2.6e11  # seconds since 1970: the year 9999, the last that a certificate can name


class MessageError(ValueError):
    """Octets that are no message of ours; the text says what is wrong with them."""


class Slice(NamedTuple):
    """Down: a part of the list of targets. The list counts when its last part has come."""

    first: bool  # of a new list: what has come of another one is void
    last: bool
    targets: tuple[Target, ...]
    urgent: tuple[str, ...]  # keys among `targets` that are due at once


class Pulse(NamedTuple):
    """Up, once a second: the prober lives, and how it fares."""

    targets: int
    under_way: int  # probes
    waiting: int  # targets that are due and had to wait
    lateness: float | None  # seconds, 99th percentile of the last minute
    cpu: float  # seconds of processor time since it started


class Said(NamedTuple):
    """Up: a line for the daemon's log."""

    level: int
    text: str


class Frames:
    """Octets as they come to whole frames; what is left is kept for the next time."""

    def __init__(self, limit: int) -> None:
        """No frame has more than *limit* octets."""
        self._limit = limit
        self._kept = bytearray()

    def feed(self, octets: bytes | bytearray) -> list[bytes]:
        """The frames that *octets* complete. Raises MessageError for one that says it is longer than the limit."""
        kept = self._kept
        kept += octets
        frames, at = [], 0
        while len(kept) >= at + 4:
            size = int.from_bytes(kept[at : at + 4])
            if size > self._limit:
                raise MessageError(f"a frame of {size} octets, at most {self._limit} are taken")
            if len(kept) < at + 4 + size:
                break
            frames.append(bytes(kept[at + 4 : at + 4 + size]))
            at += 4 + size
        del kept[:at]
        return frames


def _frame(octets: bytes) -> bytes:
    return len(octets).to_bytes(4) + octets


def write_list(targets: Sequence[Target], urgent: Collection[str]) -> Iterator[bytes]:
    """The list of *targets* as frames, each packed when it is asked for: ten thousand at once would stall the daemon."""
    rest = iter(targets)
    part, coming = tuple(islice(rest, TARGETS_A_FRAME)), tuple(islice(rest, TARGETS_A_FRAME))
    first = True
    while True:
        hurry = tuple(target.key for target in part if target.key in urgent)
        yield _frame(pickle.dumps(Slice(first, not coming, part, hurry), protocol=5))
        if not coming:
            return
        part, coming, first = coming, tuple(islice(rest, TARGETS_A_FRAME)), False


def read_down(frame: bytes) -> Slice:
    """What the daemon sent. Raises MessageError for anything else."""
    try:
        found = pickle.loads(frame)  # noqa: S301 - from the daemon that started us, see above
    except Exception as error:
        raise MessageError(f"{len(frame)} octets that are no list of targets: {error!r}") from error
    if not isinstance(found, Slice):
        raise MessageError(f"{type(found).__name__} instead of a list of targets")
    return found


def write_outcomes(outcomes: Sequence[Outcome]) -> Iterator[bytes]:
    """*outcomes* in frames of bounded size."""
    for start in range(0, len(outcomes), OUTCOMES_A_FRAME):
        part = [
            (one.key, one.verdict, one.seen, one.text[:LONGEST_TEXT], one.seconds, one.weight, one.expires)
            for one in outcomes[start : start + OUTCOMES_A_FRAME]
        ]
        yield _frame(json.dumps({"outcomes": part}).encode())


def write_pulse(pulse: Pulse) -> bytes:
    """*pulse* as a frame."""
    return _frame(json.dumps({"pulse": pulse}).encode())


def write_said(said: Said) -> bytes:
    """*said* as a frame; what is too long is cut off."""
    return _frame(json.dumps({"said": (said.level, said.text[:LONGEST_SAID])}).encode())


def read_up(frame: bytes) -> list[Outcome] | Pulse | Said:
    """What the prober sent. Raises MessageError for anything else."""
    try:
        match json.loads(frame):
            case {"outcomes": [*found]}:
                return [_read_outcome(*one) for one in found]
            case {"pulse": [int() as targets, int() as under_way, int() as waiting, lateness, int() | float() as cpu]}:
                return Pulse(targets, under_way, waiting, None if lateness is None else float(lateness), float(cpu))
            case {"said": [int() as level, str() as text]} if logging.DEBUG <= level <= logging.CRITICAL:
                return Said(level, text[:LONGEST_SAID])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MessageError(f"{len(frame)} octets that cannot be read: {error}") from error
    raise MessageError(f"{len(frame)} octets that are no message: {frame[:60]!r}")


def _read_outcome(key: Any, verdict: Any, seen: Any, text: Any, seconds: Any, weight: Any, expires: Any) -> Outcome:
    """An outcome, every field of which has its type. Raises ValueError or TypeError."""
    sound = isinstance(key, str) and isinstance(seen, bool) and isinstance(text, str) and isinstance(seconds, (int, float))
    if not sound or not (weight is None or (isinstance(weight, int) and 0 <= weight <= 65535)):
        raise ValueError(f"an outcome with a field of another type: {key!r:.60}")
    if not (expires is None or (type(expires) in (int, float) and abs(expires) <= LATEST)):
        raise ValueError(f"a certificate that ends at {expires!r:.60}")
    return Outcome(key, Verdict(verdict), seen, text[:LONGEST_TEXT], float(seconds), weight, expires)
