"""Since when each pool has its rank.

Knows snapshots, one after the other as they are published. Knows nothing of why a rank changed. Time is an argument, in
seconds since 1970.
"""

from __future__ import annotations

from .snapshot import Choices, Snapshot, Zones


class Ranks:
    """What `PoolReport.since` needs to know; pools are told apart by service and datacenter, so that reloads keep it."""

    def __init__(self) -> None:
        self._zones: Zones | None = None
        self._choices: Choices | None = None
        self._since: list[float] = []  # by pool number

    def see(self, snapshot: Snapshot, now: float) -> None:
        """*snapshot* was published at *now*. Pools that it shares with the one before cost next to nothing."""
        if snapshot.zones is not self._zones:
            self._since = self._carry_over(snapshot, now)
        elif self._choices is not None:
            pairs = zip(self._choices.pools, snapshot.choices.pools, strict=True)
            for number, (old, new) in enumerate(pairs):
                if old is not new and old.rank != new.rank:
                    self._since[number] = now
        self._zones, self._choices = snapshot.zones, snapshot.choices

    def _carry_over(self, snapshot: Snapshot, now: float) -> list[float]:
        """The times of pools that were there before and have the same rank; the others begin *now*."""
        before: dict[tuple[str, str, int], float] = {}
        if self._zones is not None and self._choices is not None:
            for plan, pool, since in zip(self._zones.pools, self._choices.pools, self._since, strict=True):
                before[plan.service, plan.datacenter, pool.rank] = since
        found = zip(snapshot.zones.pools, snapshot.choices.pools, strict=True)
        return [before.get((plan.service, plan.datacenter, pool.rank), now) for plan, pool in found]

    def since(self, zones: Zones, number: int, otherwise: float) -> float:
        """When pool *number* of *zones* took the rank that it has; *otherwise* where these zones were not seen yet."""
        return self._since[number] if zones is self._zones else otherwise
