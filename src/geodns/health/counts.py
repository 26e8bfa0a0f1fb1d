"""What the probes of each check came to: how many, how long they took, how often a verdict changed.

Knows counting. Knows nothing of how the numbers are shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from ..report import PROBE_BOUNDS, CheckCount
from .state import Outcome, Verdict
from .targets import Target


class _Row:
    """One check and one verdict."""

    __slots__ = ("buckets", "probes", "seconds", "transitions")

    def __init__(self) -> None:
        self.probes = self.transitions = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(PROBE_BOUNDS) + 1)


class Counts:
    """By name of check."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[Verdict, _Row]] = {}
        self._types: dict[str, str] = {}

    def keep(self, targets: Iterable[Target]) -> None:
        """Count the checks of *targets*; others are forgotten, so that reloads cannot pile them up."""
        types = {target.name: target.check.type for target in targets}
        self._types = dict[str, str](types)
        self._rows = {name: self._rows.get(name) or _new_rows() for name in types}

    def add(self, name: str, outcome: Outcome) -> None:
        """Count one probe of the check *name*."""
        rows = self._rows.get(name)
        if rows is None:
            rows = self._rows[name] = _new_rows()
        row = rows[outcome.verdict]
        row.probes += 1
        row.seconds += outcome.seconds
        row.buckets[bisect_left(PROBE_BOUNDS, outcome.seconds)] += 1

    def turn(self, name: str, verdict: Verdict) -> None:
        """Count that a target of the check *name* became *verdict*."""
        self._rows.setdefault(name, _new_rows())[verdict].transitions += 1

    def report(self) -> tuple[CheckCount, ...]:
        """All checks that are kept, with each verdict."""
        return tuple(
            CheckCount(name, kind, str(verdict), row.probes, row.seconds, tuple(row.buckets), row.transitions)
            for name, kind in self._types.items()
            for verdict, row in self._rows[name].items()
        )


def _new_rows() -> dict[Verdict, _Row]:
    return {verdict: _Row() for verdict in Verdict}
