"""The snapshot that is served now with its counters, and the only place that replaces them.

Knows `current`, and how an old snapshot goes without holding up a query. Knows nothing of how snapshots are made or who
answers from them. Readers take `current` once a batch (`publish.current`, never `from publish import current`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .metrics import Counters
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .native.tables import Root

SLICE = 500  # objects let go between two yields of `sweep`: well below a millisecond


class Current(NamedTuple):
    """One reading gives all: what is counted by zone and pool fits one naming only, and a root one snapshot."""

    snapshot: Snapshot
    counters: Counters
    native: Root | None = None  # the snapshot as the native engine reads it


class Reader(Protocol):
    """Threads that answer by themselves, without looking at `current`."""

    def exchange(self, now: Current) -> None:
        """Answer from *now* from the next batch on, and count in its counters. Never waits."""

    def sweep(self) -> bool:
        """Let go of roots that no thread reads any more. Does every thread count in the current counters?"""


current: Current | None = None  # None until the first one: nobody answers before
_readers: list[Reader] = []
_retired: deque[Snapshot] = deque()


def publish(snapshot: Snapshot, counters: Counters | None = None, native: Root | None = None) -> None:
    """Make *snapshot* the current one, in one assignment; the one before waits for `sweep`.

    Without *counters* those of before go on while the zones are the same, and new ones begin with new zones. *native* is the
    same as a root; None: threads leave every query to us. They are told first: what they leave to us then meets this
    snapshot or a newer one, never one that was let go.
    """
    global current
    now = Current(snapshot, counters or _find_counters(snapshot), native)
    for reader in _readers:
        reader.exchange(now)
    old, current = current, now
    if old is not None:
        _retired.append(old.snapshot)


def attach(reader: Reader) -> None:
    """*reader* is told of what is current, and of each publish from now on."""
    assert current is not None, "there is nothing to read before the first publish"
    reader.exchange(current)
    _readers.append(reader)


def detach(reader: Reader) -> None:
    """*reader* has ended its threads."""
    if reader in _readers:
        _readers.remove(reader)


def _find_counters(snapshot: Snapshot) -> Counters:
    if current is not None and current.snapshot.zones is snapshot.zones:
        return current.counters
    return Counters(snapshot.zones.zones, snapshot.zones.pools, None if current is None else current.counters)


def retire(snapshot: Snapshot) -> None:
    """Hand in a *snapshot* that the caller held on to, perhaps beyond its time; `sweep` lets it go if it was the last."""
    _retired.append(snapshot)


def sweep() -> Generator[None, None, None]:
    """Let retired snapshots go, a slice at each step, so that a hundred thousand names do not hold up a query.

    What an old snapshot shares with the current one only loses a reference. Dropping one dictionary of 100,000 nodes
    at once took 18 ms; so the nodes are first held by a list, and leave it a few hundred at a time.
    """
    settled = [reader.sweep() for reader in _readers]
    if current is not None and all(settled):
        yield from current.counters.settle()  # while the names that they count by are there
    while _retired:
        old = _retired.popleft()
        held: list[object] = []
        served = None if current is None else current.snapshot
        if served is None or old.zones is not served.zones:
            held.extend(old.zones.names.values())
            held.extend(old.zones.pools)
        if served is None or old.choices is not served.choices:
            held.extend(old.choices.pools)
        del old
        while held:
            del held[-SLICE:]
            yield
