"""The blind-checker guard: when most of what was up falls silent at once, it is our own eyes that failed.

Knows, per address family, who was up, who gave a reply lately and who did not. Knows nothing of services, overrides, clocks
or logs: times are monotonic seconds, given by the caller, and what it decides it returns.

A family is frozen when within one interval more than half of its targets that were up began to fail without any reply, two
of them at least, in at least two datacenters. While it is frozen its failures do not count, and those of the episode are
taken back. It thaws when half of those that fell silent give a reply again (a refusal is one), or after the limit; after the
limit it does not freeze again before half of them have given one, so that a real outage is believed in the end.

A target whose host is a name counts for both families and is frozen with either: nobody knows beforehand which one its
probes take. `exec` and `file` never count: what they say is not seen through our network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .state import Outcome, State, Verdict
from .targets import Target

FAMILIES = ("IPv4", "IPv6")
NEVER = frozenset({"exec", "file"})  # types of checks that do not look through the network
LATE = 1.2  # intervals between two results at most: probes have a jitter, and the last one waited for its time-out
_PATIENCE = 50  # so many judgements at most while a whole family falls silent: each looks at all of its targets


@dataclass(frozen=True, slots=True)
class Freeze:
    """Verdicts of a family are held from now on. `before` has the states that those had who fell silent."""

    family: str
    silent: int
    up: int  # of so many that were up and had a result
    datacenters: tuple[str, ...]
    before: Mapping[str, State]  # by key


@dataclass(frozen=True, slots=True)
class Thaw:
    """Verdicts of a family follow the probes again."""

    family: str
    seen: bool  # because there are replies again; else because the limit is over
    lasted: float  # seconds


class _Watch:
    """One target: when it was heard of last, and since when it is silent."""

    __slots__ = ("before", "datacenters", "families", "fell", "last", "reach", "silent")

    def __init__(self, target: Target, mono: float) -> None:
        self.families = find_families(target)
        self.datacenters = target.datacenters
        self.reach = target.check.interval * LATE + target.check.timeout
        self.last = mono  # of the last result; at first of the beginning: it is not due yet
        self.silent = False  # its last result was a failure without a reply
        self.fell = 0.0  # when that began
        self.before: State | None = None  # what it was then, if it was up and that is not long ago


class _Family:
    """One address family."""

    __slots__ = ("back", "frozen", "judged", "limit_over", "lost", "silent", "since")

    def __init__(self) -> None:
        self.frozen = False
        self.since = 0.0
        self.limit_over = False  # frozen for so long that it was given up: not again before there are replies
        self.lost: set[str] = set()  # who fell silent, while frozen and until replies come after the limit
        self.back: set[str] = set()  # of those, who gave a reply
        self.silent: set[str] = set()  # whose `before` is known
        self.judged = 0  # how many were silent at the last judgement


class Guard:
    """The guard of all families."""

    def __init__(self, limit: float) -> None:
        """*limit*: seconds after which a freeze ends in any case; 0: never freeze."""
        self.limit = limit
        self._watches: dict[str, _Watch] = {}
        self._families = {name: _Family() for name in FAMILIES}

    def add(self, key: str, target: Target, mono: float) -> None:
        """Look at *target* too. Whoever is known already keeps what is known of it."""
        watch = self._watches.get(key)
        if watch is not None:
            watch.datacenters = target.datacenters
        elif target.check.type not in NEVER:
            self._watches[key] = _Watch(target, mono)

    def remove(self, key: str) -> None:
        """Look at the target *key* no more."""
        if self._watches.pop(key, None) is not None:
            for family in self._families.values():
                for some in (family.lost, family.back, family.silent):
                    some.discard(key)

    def resume(self, mono: float) -> None:
        """Probes begin again after a pause: nobody is due before *mono*."""
        for watch in self._watches.values():
            watch.last = max(watch.last, mono)

    def hear(self, state: State, outcome: Outcome, mono: float) -> bool:
        """Take note of *outcome*, of the target that was in *state*. May it count? Failures of a frozen family may not."""
        watch = self._watches.get(outcome.key)
        if watch is None:
            return True
        watch.last = mono
        if outcome.verdict is Verdict.UNKNOWN:  # it could not look: neither a reply nor its absence
            self._end_silence(outcome.key, watch)
        elif outcome.seen or outcome.verdict is Verdict.UP:
            self._end_silence(outcome.key, watch)
            for name in watch.families:
                family = self._families[name]
                if outcome.key in family.lost:
                    family.back.add(outcome.key)
        else:
            self._fall(outcome.key, watch, state, mono)
        return outcome.verdict is not Verdict.DOWN or not any(self._families[name].frozen for name in watch.families)

    def _fall(self, key: str, watch: _Watch, state: State, mono: float) -> None:
        for name in watch.families:
            self._families[name].back.discard(key)
        if not watch.silent and state.verdict is Verdict.UP:
            watch.before, watch.fell = state, mono
            for name in watch.families:
                self._families[name].silent.add(key)
        watch.silent = True

    def _end_silence(self, key: str, watch: _Watch) -> None:
        if watch.silent:
            watch.silent = False
            self._settle(key, watch)

    def _settle(self, key: str, watch: _Watch) -> None:
        """That it fell silent says nothing any more of our eyes: it gave a reply, or it was too long ago."""
        watch.before = None
        for name in watch.families:
            self._families[name].silent.discard(key)

    def judge(self, states: Mapping[str, State], mono: float, *, thoroughly: bool = False) -> list[Freeze | Thaw]:
        """What is to be frozen or thawed now. After every portion of outcomes, and once a second *thoroughly*.

        *states* are those of all targets, by key. The caller takes back what `Freeze.before` says.
        """
        found: list[Freeze | Thaw] = []
        for name, family in self._families.items():
            if family.frozen or family.limit_over:
                found += self._judge_frozen(name, family, mono)
            elif self.limit and len(family.silent) > 1:
                patience = 0 if thoroughly else len(self._watches) // _PATIENCE
                if thoroughly or not family.judged <= len(family.silent) <= family.judged + patience:
                    found += self._judge_silence(name, family, states, mono)
                    family.judged = len(family.silent)
            else:
                family.judged = 0
        return found

    def _judge_frozen(self, name: str, family: _Family, mono: float) -> Iterable[Thaw]:
        lasted = mono - family.since
        if 2 * len(family.back) >= len(family.lost):
            was_frozen = family.frozen
            self._families[name] = _Family()
            self._let_silence_begin_anew(name)
            return [Thaw(name, True, lasted)] if was_frozen else []
        if family.frozen and lasted >= self.limit:
            family.frozen, family.limit_over = False, True
            return [Thaw(name, False, lasted)]
        return []

    def _let_silence_begin_anew(self, name: str) -> None:
        """Who is still silent after a thaw may be down for real, and begins to fail now."""
        for watch in self._watches.values():
            if name in watch.families:
                watch.silent, watch.before = False, None
        for family in self._families.values():
            family.silent = {key for key in family.silent if self._watches[key].before is not None}

    def _judge_silence(self, name: str, family: _Family, states: Mapping[str, State], mono: float) -> Iterable[Freeze]:
        """Each length of an interval that targets have is a window, the shortest first: who is probed more often is
        believed earlier, but of the others those count that had a result inside the window."""
        mine = [(key, watch) for key, watch in self._watches.items() if name in watch.families]
        reaches = sorted({watch.reach for _, watch in mine})
        for key in [key for key in family.silent if self._watches[key].fell < mono - reaches[-1]]:
            self._settle(key, self._watches[key])
        for reach in reaches:
            since = mono - reach
            heard = [
                (key, watch)
                for key, watch in mine
                if watch.last >= since and (watch.before is not None or states[key].verdict is Verdict.UP)
            ]
            fell = {key: watch.before for key, watch in heard if watch.before is not None and watch.fell >= since}
            datacenters = dict.fromkeys(where for key in fell for where in self._watches[key].datacenters)
            if len(fell) > 1 and 2 * len(fell) > len(heard) and len(datacenters) > 1:
                family.frozen, family.since, family.lost = True, mono, set(fell)
                return [Freeze(name, len(fell), len(heard), tuple(datacenters), fell)]
        return []


def find_families(target: Target) -> tuple[str, ...]:
    """The families that *target* counts for: that of its address; both for a name."""
    if ":" in target.host:
        return FAMILIES[1:]
    # A name of digits and dots alone would be an address; 10,000 targets are told apart at a reload.
    return FAMILIES[:1] if target.host.replace(".", "").isdigit() else FAMILIES
