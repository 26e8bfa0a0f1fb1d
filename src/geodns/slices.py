"""Long work in slices: a generator that pauses after every few, for others to have their turn.

Knows how such work is run to its end at once; `pacing` runs it beside queries. Knows nothing of the work or of event loops.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def at_once(work: Generator[None, None, T]) -> T:
    """What *work* comes to, without its pauses."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: T = end.value
            return found
