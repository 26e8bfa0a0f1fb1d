"""The snapshot that is served now with its counters, and the only place that replaces them.

Knows `current`, and how an old snapshot goes without holding up a query. Knows nothing of how snapshots are made or who
answers from them. Readers take `current` once a batch (`publish.current`, never `from publish import current`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import NamedTuple

from .metrics import Counters
from .snapshot import Snapshot

SLICE = 500  # objects let go between two yields of `sweep`: well below a millisecond


class Current(NamedTuple):
    """One reading gives both: what is counted by zone and pool fits one naming only."""

    snapshot: Snapshot
    counters: Counters


current: Current | None = None  # None until the first one: nobody answers before
_retired: deque[Snapshot] = deque()


def publish(snapshot: Snapshot, counters: Counters | None = None) -> None:
    """Make *snapshot* the current one, in one assignment; the one before waits for `sweep`.

    Without *counters* those of before go on while the zones are the same, and new ones begin with new zones.
    """
    global current
    old, current = current, Current(snapshot, counters or _find_counters(snapshot))
    if old is not None:
        _retired.append(old.snapshot)


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
    if current is not None:
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
