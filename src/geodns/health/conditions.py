"""What each member of a plan is worth right now: what its checks say together, under what operators force.

Knows who watches whom, and keeps the condition of everybody who is not plainly up, changed one member at a time. Knows
nothing of probes, clocks or logs; states are the roster's, and it is told which of them changed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice

from .overrides import NOTHING, Forced, Override, Pattern, Standing, parse_target
from .state import Condition, MemberKey, State, Verdict, combine
from .targets import Plan

_SLICE = 200  # members taken in between two yields: under a millisecond
_POOLS = 500  # pools looked at
_PLAIN = Condition()
_NEW = State()


class Conditions:
    """The conditions of one plan."""

    def __init__(self, plan: Plan, states: Mapping[str, State], standing: Standing) -> None:
        """*states* by key of target, which change under our eyes; who has none is unknown. Nobody is in before `fill`."""
        self.plan = plan
        self.known: dict[MemberKey, Condition] = {}  # of those who are not plainly up
        self.touched: set[tuple[str, str]] = set()  # pools of members whose condition changed
        self._states, self._standing = states, standing
        self._forced: dict[MemberKey, Forced] = {}
        self._members: dict[str, list[MemberKey]] = {}  # by key of a target that watches them
        self._pools: dict[tuple[str, str], list[MemberKey]] = {}
        self._texts: dict[str, list[MemberKey]] = {}  # by the member's text as patterns compare it
        self._matches: dict[str, bool] = {}  # by text of a pattern: does it name anybody

    def fill(self) -> Generator[None, None, None]:
        """Take in all members, with a pause after every few; what changes meanwhile is seen to."""
        members = iter(self.plan.watched.items())
        while some := list(islice(members, _SLICE)):
            for member, keys in some:
                self._pools.setdefault(member[:2], []).append(member)
                self._texts.setdefault(member[2].removesuffix(".").lower(), []).append(member)
                for key in keys:
                    self._members.setdefault(key, []).append(member)
                if (forced := self._standing.forced(member)) is not NOTHING:
                    self._forced[member] = forced
                if (found := self._work_out(keys, forced)) != _PLAIN:
                    self.known[member] = found
            yield

    def watched_by(self, key: str) -> Iterable[MemberKey]:
        """The members that the target *key* watches."""
        return self._members.get(key, ())

    def observed(self, member: MemberKey) -> Verdict:
        """What the checks of *member* say together, whatever is forced."""
        return combine(self._states.get(key, _NEW).verdict for key in self.plan.watched.get(member, ()))

    def forced(self, member: MemberKey) -> Forced:
        """What operators force on *member*."""
        return self._forced.get(member, NOTHING)

    def refresh(self, key: str) -> None:
        """The state of the target *key* changed."""
        for member in self._members.get(key, ()):
            self._settle(member, self.plan.watched[member])

    def _settle(self, member: MemberKey, keys: tuple[str, ...]) -> None:
        found = self._work_out(keys, self._forced.get(member, NOTHING))
        if found == self.known.get(member, _PLAIN):
            return
        self.touched.add(member[:2])
        if found == _PLAIN:
            del self.known[member]
        else:
            self.known[member] = found

    def matched(self, pattern: Pattern) -> list[MemberKey]:
        """Those whom *pattern* names."""
        return [member for portion in self.portions(pattern) for member in portion]

    def portions(self, pattern: Pattern) -> Iterator[list[MemberKey]]:
        """Those whom *pattern* names, in lists that cost little each, some of them empty; who comes in later is missing."""
        if pattern.member is None or pattern.either:
            return self._portions_of_pools(pattern)
        if pattern.member.glob is None:
            return iter([[one for one in self._texts.get(pattern.member.text, ()) if pattern.near(*one[:2])]])
        return self._portions_of_texts(pattern, pattern.member.matches)

    def _portions_of_pools(self, pattern: Pattern) -> Iterator[list[MemberKey]]:
        pools = iter(list(self._pools.items()))
        while some := list(islice(pools, _POOLS)):
            for pool, members in some:
                if pattern.near(*pool):
                    yield members if pattern.whole else list(filter(pattern.level, members))
            yield []

    def _portions_of_texts(self, pattern: Pattern, matches: Callable[[str], bool]) -> Iterator[list[MemberKey]]:
        texts = iter(list(self._texts))
        while some := list(islice(texts, _SLICE)):
            yield [one for text in some if matches(text) for one in self._texts[text] if pattern.near(*one[:2])]

    def matches(self, pattern: Pattern) -> bool:
        """Does *pattern* name anybody? Only once all members are in; found out once."""
        if (known := self._matches.get(pattern.text)) is None:
            known = self._matches[pattern.text] = any(self.portions(pattern))
        return known

    def stand(self, standing: Standing) -> None:
        """*standing* is in force from now on; `settle` has to be told of the overrides that begin and end with it."""
        self._standing = standing

    def settle(self, changed: Iterable[Override]) -> Generator[None, None, None]:
        """Work out anew whom any of *changed* names, by what stands then, with a pause after every few."""
        for override in changed:
            for portion in self.portions(parse_target(override.target)):
                members = iter(portion)
                while some := list(islice(members, _SLICE)):
                    for member in some:
                        self._force(member, self._standing.forced(member))
                    yield

    def _force(self, member: MemberKey, forced: Forced) -> None:
        if forced is NOTHING:
            self._forced.pop(member, None)
        else:
            self._forced[member] = forced
        self._settle(member, self.plan.watched[member])

    def foresee(self, standing: Standing, changed: Iterable[Override]) -> dict[MemberKey, Condition]:
        """What `known` would be under *standing*; changes nothing."""
        after = dict(self.known)
        for member in {one: None for override in changed for one in self.matched(parse_target(override.target))}:
            found = self._work_out(self.plan.watched[member], standing.forced(member))
            if found == _PLAIN:
                after.pop(member, None)
            else:
                after[member] = found
        return after

    def _work_out(self, keys: tuple[str, ...], forced: Forced) -> Condition:
        """All checks must pass; the first to flip says how long an answer may be kept; a forced verdict does not flip."""
        verdict, until, weight = Verdict.UP, None, None
        for key in keys:
            state = self._states.get(key, _NEW)
            if state.verdict is not Verdict.UP and verdict is not Verdict.DOWN:
                verdict = state.verdict
            if state.streak:
                check = self.plan.targets[key].check
                left = (check.fall if state.verdict is Verdict.UP else check.rise) - state.streak
                wait = check.interval * max(left, 1)
                until = wait if until is None or wait < until else until
            if weight is None:
                weight = state.weight
        drain, force = forced
        if force is not None:
            verdict, until = Verdict(force.kind), None
        if verdict is Verdict.UP and drain is None and until is None and weight is None:
            return _PLAIN
        return Condition(verdict, drain is not None, until, weight)
