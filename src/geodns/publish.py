"""The snapshot that is served now, and the only place that replaces it.

Knows `current`, and how an old snapshot goes without holding up a query. Knows nothing of how snapshots are made or who
answers from them. Readers take `current` once a batch (`publish.current`, never `from publish import current`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

from .snapshot import Snapshot

SLICE = 500  # objects let go between two yields of `sweep`: well below a millisecond

current: Snapshot | None = None  # None until the first one: nobody answers before
_retired: deque[Snapshot] = deque()


def publish(snapshot: Snapshot) -> None:
    """Make *snapshot* the current one, in one assignment; the one before waits for `sweep`."""
    global current
    old, current = current, snapshot
    if old is not None:
        _retired.append(old)


def sweep() -> Generator[None, None, None]:
    """Let retired snapshots go, a slice at each step, so that a hundred thousand names do not hold up a query.

    What an old snapshot shares with the current one only loses a reference. Dropping one dictionary of 100,000 nodes
    at once took 18 ms; so the nodes are first held by a list, and leave it a few hundred at a time.
    """
    while _retired:
        old = _retired.popleft()
        held: list[object] = []
        if current is None or old.zones is not current.zones:
            held.extend(old.zones.names.values())
            held.extend(old.zones.pools)
        if current is None or old.choices is not current.choices:
            held.extend(old.choices.pools)
        del old
        while held:
            del held[-SLICE:]
            yield
