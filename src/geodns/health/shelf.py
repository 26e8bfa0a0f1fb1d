"""States that nobody needs now: of the run before, and of members that a reload took away. They may be wanted again.

Knows how a state is found again, and for how long it is worth it. Knows nothing of files: times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .state import Saved, State, Verdict
from .targets import Target


class Shelf:
    """Saved states by target. Whoever is probed has its state elsewhere."""

    def __init__(self, saved: Iterable[Saved]) -> None:
        self._saved: dict[str, Saved] = {}
        self._subjects: dict[str, str] = {}  # subject to the key that was probed last
        for one in saved:
            self.put(one)

    def __len__(self) -> int:
        return len(self._saved)

    def put(self, saved: Saved) -> None:
        """Keep *saved*, unless it says nothing."""
        if saved.state.probed is None or saved.state.verdict is Verdict.UNKNOWN:
            return
        self._saved[saved.key] = saved
        other = self._saved.get(self._subjects.get(saved.subject, ""))
        if other is None or (other.state.probed or 0.0) <= saved.state.probed:
            self._subjects[saved.subject] = saved.key

    def take(self, target: Target, wall: float, limit: float) -> State | None:
        """The state of *target*, or of one that differs in its schedule alone; none that is older than *limit* seconds."""
        found = self._saved.get(target.key) or self._saved.get(self._subjects.get(target.subject, ""))
        if found is None or _age(found.state, wall) > limit:
            return None
        self._saved.pop(target.key, None)
        return found.state

    def drop_old(self, wall: float, limit: float) -> None:
        """Let go what is older than *limit* seconds."""
        old = [key for key, saved in self._saved.items() if _age(saved.state, wall) > limit]
        for key in old:
            subject = self._saved.pop(key).subject
            if self._subjects.get(subject) == key:
                del self._subjects[subject]

    def all(self) -> Iterable[Saved]:
        """Everything."""
        return self._saved.values()


def _age(state: State, wall: float) -> float:
    return wall - (state.probed or 0.0)


def list_saved(targets: Iterable[Target], states: Mapping[str, State], shelved: Iterable[Saved]) -> Iterator[Saved]:
    """What is worth saving: *states* of *targets* that have a result, and of those *shelved* who is in none of *states*."""
    yield from (one for one in shelved if one.key not in states)
    for target in targets:
        if (state := states[target.key]).probed is not None:
            yield Saved(target.key, target.subject, state)
