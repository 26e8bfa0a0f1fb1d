"""All that is known of the health of all members: states, overrides, what is probed, and what follows for each member.

Knows outcomes, plans, the guard and the clocks' readings that it is given. Knows nothing of probes, files, snapshots or
logs: what is to be logged it returns as events, which pools changed it tells when it is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ..config.model import Health as Settings
from ..report import CheckCount, ProbeReport
from ..slices import at_once
from .conditions import Conditions
from .counts import Counts
from .events import (
    Event,
    Flip,
    Moment,
    give_reason,
    tell_begun,
    tell_ended,
    tell_flip,
    tell_freeze,
    tell_idle,
    tell_jump,
    tell_old,
    tell_override,
    tell_started,
    tell_stopped,
    tell_strangers,
    tell_weight,
)
from .facts import MemberFacts, report_probe
from .guard import Freeze, Guard, Thaw
from .overrides import Override, Standing, parse_target
from .shelf import Shelf, list_saved
from .state import Health, MemberKey, Outcome, Saved, State, Verdict, note, observe, take_back
from .targets import EMPTY, Plan, Target

__all__ = ["Event", "MemberFacts", "Moment", "Roster"]  # where the daemon finds what it handles beside the roster

_SLICE = 200  # targets taken in between two yields
_PORTION = 500  # states that go, that are too old or that turn back, at one turn
_SILENCES = 3  # intervals without a result before a verdict can be too old, however short `stale_limit` is
_TIDY = 60.0  # seconds between two looks for what is too old on the shelf
_JUMP = 5.0  # seconds between the clocks that are worth a line


class Roster:
    """The owner of states and overrides. Page 5 of docs/design has the order of calls.

    One thread calls what changes something. `held`, `matched`, `health_with`, `overrides` and what makes reports only read,
    and may be called in another.
    """

    def __init__(self, saved: Iterable[Saved], overrides: Iterable[Override], now: Moment) -> None:
        """*saved* and *overrides* are those of the run before. Raises ValueError for an override whose target is none."""
        self._states: dict[str, State] = {}
        self._heard: dict[str, float] = {}  # when the last result came, monotonic
        self._targets: dict[str, Target] = {}  # of what is served and what is expected
        self._leaving: dict[str, Target] = {}  # nobody needs them any more
        self._returning: dict[str, State] = {}  # streaks that are to be taken back, to those of before
        self._shelf = Shelf(saved)
        self._untold = True  # none of the states of the run before was wanted so far, and nobody was told
        standing = Standing(overrides)
        over = standing.over(now.wall)  # while nobody was here: the first answer knows it already
        self._standing = standing.without(over)
        self._news = [tell_ended(one, now.wall, expired=True) for one in over]  # to be told at the next occasion
        self._settings = Settings()
        self._guard = Guard(self._settings.freeze_limit)
        self._counts = Counts()
        self._served = Conditions(EMPTY, self._states, self._standing)
        self._expected: Conditions | None = None
        self._missing: set[str] = set()
        self._stopped: float | None = None  # when the prober stopped, monotonic
        self._too_old = now.mono  # no verdict is too old before
        self._tidied = now.mono  # when the shelf was
        self._last = now
        self._idle: set[Override] = set()  # of those it was said that they match nothing
        self._frozen: dict[str, float] = {}  # families by name: since when, wall clock

    def expect(self, plan: Plan, settings: Settings, now: Moment) -> tuple[tuple[Target, ...], frozenset[str]]:
        """What must be probed from now on, of *plan* and of what is served, and who of *plan* has no result yet."""
        return at_once(self.expect_in_slices(plan, settings, now))

    def expect_in_slices(
        self, plan: Plan, settings: Settings, now: Moment
    ) -> Generator[None, None, tuple[tuple[Target, ...], frozenset[str]]]:
        """`expect`, with a pause after every few; outcomes and overrides may come between them."""
        self.drop_expected()
        if not self._served.plan.watched:
            self._use(settings)
        subjects = {target.subject: key for key, target in self._served.plan.targets.items()}
        self._expected = expected = Conditions(plan, self._states, self._standing)
        targets = iter(plan.targets.items())
        while some := list(islice(targets, _SLICE)):
            for key, target in some:
                self._leaving.pop(key, None)
                self._targets[key] = target
                if key not in self._states:
                    self._take_in(target, subjects.get(target.subject), settings.stale_limit, now)
                if self._states[key].probed is None:
                    self._missing.add(key)
                self._guard.add(key, target, now.mono)
            yield
        yield from expected.fill()
        for _, pattern in self._standing.patterns:
            expected.matches(pattern)  # `adopt` has no time to look
            yield
        return self.targets(), self.missing()

    def _take_in(self, target: Target, alike: str | None, limit: float, now: Moment) -> None:
        """The first state of *target*: that of the one served that differs in its schedule alone (*alike*), a saved one, or
        none."""
        if alike is not None:
            self._states[target.key], self._heard[target.key] = self._states[alike], self._heard[alike]
            return
        found = self._shelf.take(target, now.wall, limit)
        if found is None:
            self._states[target.key], self._heard[target.key] = State(since=now.wall), now.mono
            return
        self._untold = False
        age = now.wall - (found.probed or now.wall)
        self._states[target.key] = replace(found, restored=True)
        self._heard[target.key] = now.mono - max(0.0, age)

    def targets(self) -> tuple[Target, ...]:
        """All that must be probed now."""
        return tuple(self._targets.values())

    def missing(self) -> frozenset[str]:
        """Who of the expected plan has no result yet."""
        return frozenset(self._missing)

    def expected_health(self) -> Health:
        """The health of the expected plan, and of what is served where nothing is expected; as `health`.

        Pools that it touches after this call are told once the plan is adopted.
        """
        if self._expected is None:
            return self._served.known
        self._expected.touched.clear()
        return self._expected.known

    def adopt(self, plan: Plan, settings: Settings, now: Moment) -> list[Event]:
        """*plan* is served from now on. Whoever is needed no more goes, with the next ticks; its state is kept a while."""
        if self._expected is None or self._expected.plan is not plan:
            self.expect(plan, settings, now)
        assert self._expected is not None
        self._served, self._expected = self._expected, None
        self._missing.clear()
        self._use(settings)
        self._leave()
        self._counts.keep(plan.targets.values())
        self._too_old = now.mono
        self._shelf.drop_old(now.wall, settings.stale_limit)
        strange = len(self._shelf) if self._untold and plan.targets else 0
        self._untold = False
        news, self._news = self._news, []
        return [*news, *([tell_strangers(strange, settings.stale_limit)] if strange else []), *self._tell_idle()]

    def drop_expected(self) -> None:
        """What is expected will not be served: the load failed, or another one begins."""
        self._expected = None
        self._missing.clear()
        self._leave()

    def _leave(self) -> None:
        needed = self._served.plan.targets
        for key in self._targets.keys() - needed.keys():
            self._leaving[key] = self._targets.pop(key)
        self._targets.update(needed)

    def _use(self, settings: Settings) -> None:
        self._settings, self._guard.limit = settings, settings.freeze_limit

    def _tell_idle(self) -> Iterator[Event]:
        """Overrides that match nothing in what is served, each once until it matches somebody."""
        idle = {one: None for one, pattern in self._standing.patterns if not self._served.matches(pattern)}
        yield from (tell_idle(one) for one in idle if one not in self._idle)
        self._idle = set(idle)

    def observe(self, outcomes: Iterable[Outcome], now: Moment) -> list[Event]:
        """Take note of *outcomes*, which came by *now*, in their order; those of targets that nobody needs are no news."""
        events: list[Event] = []
        targets, states, guard, counts = self._targets, self._states, self._guard, self._counts
        for outcome in outcomes:
            key = outcome.key
            target = targets.get(key)
            if target is None:
                continue
            check, before = target.check, states[key]
            if guard.hear(before, outcome, now.mono):
                after = observe(before, outcome, check.rise, check.fall, now.wall)
            else:
                after = note(before, outcome, now.wall, before.verdict, before.streak, before.since)
            self._heard[key] = now.mono
            self._missing.discard(key)
            counts.add(target.name, outcome)
            if after.verdict is before.verdict and after.streak == before.streak and after.weight == before.weight:
                states[key] = after
            else:
                events += self._change(target, after)
        events += self._judge(now, thoroughly=False)
        return events

    def _change(self, target: Target, after: State, reason: str = "") -> list[Event]:
        """Put *after* in the place of the state of *target*, and tell whose verdict changes with it, and why."""
        key, before = target.key, self._states[target.key]
        if after.verdict is before.verdict:
            self._states[key] = after
            self._refresh(key)
            if after.weight == before.weight:
                return []
            return [tell_weight(member, before.weight, after.weight, target) for member in self._served.watched_by(key)]
        self._counts.turn(target.name, after.verdict)
        homes = {member: home for home in self._homes() for member in home.watched_by(key)}
        seen = {member: home.observed(member) for member, home in homes.items()}
        self._states[key] = after
        self._refresh(key)
        reason = reason or give_reason(before, after, target)
        flips = (Flip(member, seen[member], home.observed(member), _hide(home, member)) for member, home in homes.items())
        return [tell_flip(flip, target, reason) for flip in flips if flip.before is not flip.after]

    def _homes(self) -> Iterator[Conditions]:
        """Where members are: what is served last, because it is the one to be believed where both have a member."""
        if self._expected is not None:
            yield self._expected
        yield self._served

    def _refresh(self, key: str) -> None:
        for home in self._homes():
            home.refresh(key)

    def _judge(self, now: Moment, *, thoroughly: bool) -> list[Event]:
        """Freeze and thaw. What those who fell silent lost by it is given back: their facts stay, their verdicts return."""
        events: list[Event] = []
        for change in self._guard.judge(self._states, now.mono, thoroughly=thoroughly):
            events.append(tell_freeze(change, self._settings.freeze_limit))
            if isinstance(change, Thaw):
                self._frozen.pop(change.family, None)
                continue
            self._frozen[change.family] = now.wall
            events += self._take_back(change)
        events += self._return_some()
        return events

    def _take_back(self, change: Freeze) -> Iterator[Event]:
        """Whoever went down comes up at once. Streaks of the others only shorten a TTL: they follow, some at each turn."""
        for key, before in change.before.items():
            if self._states[key].verdict is before.verdict:
                self._returning[key] = before
            else:
                yield from self._turn_back(key, before)

    def _return_some(self) -> Iterator[Event]:
        for key in list(islice(self._returning, _PORTION)):
            before, state = self._returning.pop(key), self._states.get(key)
            if state is not None and state.verdict is before.verdict and state.streak > before.streak:
                yield from self._turn_back(key, before)

    def _turn_back(self, key: str, before: State) -> Iterable[Event]:
        target = self._targets.get(key) or self._leaving[key]
        return self._change(target, take_back(self._states[key], before), "taken back, this host cannot see")

    def tick(self, now: Moment) -> list[Event]:
        """Once a second: what time alone changes."""
        return at_once(self.tick_in_slices(now))

    def tick_in_slices(self, now: Moment) -> Generator[None, None, list[Event]]:
        """`tick`, with pauses while overrides end; outcomes and other overrides may come between them."""
        events = list(self._tell_jump(now))
        events += yield from self._end(self._standing.over(now.wall), now, expired=True)
        events += self._judge(now, thoroughly=True)
        events += yield from self._grow_old(now)
        for key in list(islice(self._leaving, _PORTION)):
            self._let_go(key, self._leaving.pop(key))
        if now.mono >= self._tidied + _TIDY:
            self._tidied = now.mono
            self._shelf.drop_old(now.wall, self._settings.stale_limit)
        return events

    def _let_go(self, key: str, target: Target) -> None:
        self._guard.remove(key)
        self._heard.pop(key, None)
        self._shelf.put(Saved(key, target.subject, self._states.pop(key)))

    def _tell_jump(self, now: Moment) -> Iterator[Event]:
        jump = (now.wall - self._last.wall) - (now.mono - self._last.mono)
        self._last = now
        if abs(jump) >= _JUMP:
            yield tell_jump(jump)

    def _grow_old(self, now: Moment) -> Generator[None, None, list[Event]]:
        """Verdicts without a result for `stale_limit` (three intervals at least) become unknown, some at each tick."""
        if now.mono < self._too_old:
            return []
        self._too_old = float("inf")  # unless a plan is adopted in a pause, which wants a look anew
        old, soonest = list[tuple[str, Target]](), float("inf")
        for count, (key, target) in enumerate(list(self._targets.items()), 1):
            if count % _PORTION == 0:
                yield
            if key not in self._targets or self._states[key].verdict is Verdict.UNKNOWN:
                continue
            if (end := self._stale_from(key, target)) > now.mono:
                soonest = min(soonest, end)
            elif len(old) < _PORTION:
                old.append((key, target))
            else:
                soonest = now.mono
        # Whoever has no verdict now may have one in a moment; then it holds for `stale_limit` at least.
        self._too_old = min(self._too_old, soonest, now.mono + max(1.0, self._settings.stale_limit))
        # Who went in a pause, or was heard, is none of them.
        old = [(key, target) for key, target in old if key in self._targets and self._stale_from(key, target) <= now.mono]
        for key, target in old:
            self._change(target, replace(self._states[key], verdict=Verdict.UNKNOWN, streak=0, since=now.wall))
        return [tell_old(len(old), self._settings.stale_limit)] if old else []

    def _stale_from(self, key: str, target: Target) -> float:
        """When the verdict on *target* is too old, monotonic."""
        return self._heard[key] + max(self._settings.stale_limit, _SILENCES * target.check.interval)

    def stopped(self, now: Moment) -> list[Event]:
        """Nothing is probed from now on: verdicts stay as they are, until they are too old."""
        if self._stopped is not None:
            return []
        self._stopped = now.mono
        return [tell_stopped(len(self._targets), self._settings.stale_limit)]

    def started(self, now: Moment) -> list[Event]:
        """Probes run, at first or again."""
        self._guard.resume(now.mono)
        if self._stopped is None:
            return []
        paused, self._stopped = now.mono - self._stopped, None
        return [tell_started(paused)]

    @property
    def overrides(self) -> tuple[Override, ...]:
        """All that are in force, those that match nothing too."""
        return self._standing.overrides

    def held(self, target: str, kinds: Collection[str]) -> tuple[Override, ...]:
        """Those of one of *kinds* that stand on *target* itself: what `end` would end. Raises ValueError for no target."""
        return self._standing.find(target, kinds)

    def matched(self, target: str) -> list[MemberKey]:
        """The members served whom *target* names. Raises ValueError for no target."""
        return self._served.matched(parse_target(target))

    def put(self, override: Override, now: Moment) -> list[Event]:
        """Begin *override*, in the place of what its target had on that axis. Raises ValueError: no target, too many."""
        return at_once(self.put_in_slices(override))

    def put_in_slices(self, override: Override) -> Generator[None, None, list[Event]]:
        """`put`, with a pause after every few members; outcomes and other overrides may come between them."""
        after = self._standing.put(override)
        kept = set(after.overrides)
        replaced = [one for one in self._standing.overrides if one not in kept]
        yield from self._stand(after, [override, *replaced])
        members = 0
        for portion in self._served.portions(parse_target(override.target)):
            members += len(portion)
            yield
        return [tell_begun(override, replaced, members)]

    def end(self, target: str, kinds: Collection[str], now: Moment) -> list[Event]:
        """End what stands on *target* and is of one of *kinds*. Raises ValueError for no target."""
        return at_once(self.end_in_slices(target, kinds, now))

    def end_in_slices(self, target: str, kinds: Collection[str], now: Moment) -> Generator[None, None, list[Event]]:
        """`end`, as `put_in_slices`."""
        return (yield from self._end(self.held(target, kinds), now, expired=False))

    def _end(self, ended: Sequence[Override], now: Moment, *, expired: bool) -> Generator[None, None, list[Event]]:
        if ended:
            yield from self._stand(self._standing.without(ended), ended)
        return [tell_ended(one, now.wall, expired=expired) for one in ended]

    def _stand(self, standing: Standing, changed: Sequence[Override]) -> Generator[None, None, None]:
        """*standing* counts from now on; whom *changed* name follow, each by what stands when its turn comes."""
        self._standing, homes = standing, list(self._homes())
        for home in homes:
            home.stand(standing)
        for home in homes:
            yield from home.settle(changed)

    def take_touched(self) -> set[tuple[str, str]]:
        """Pools served (service, datacenter) in which a member's condition changed since the last call."""
        touched, self._served.touched = self._served.touched, set()
        return touched

    def health(self) -> Health:
        """The health of what is served. It changes under the caller's eyes: whoever wants it to stay takes a copy."""
        return self._served.known

    def health_with(self, override: Override | None = None, without: Collection[Override] = ()) -> Health:
        """What `health` would be with *override* put and *without* those; changes nothing. Raises ValueError as `put`."""
        after = self._standing.without(without)
        after = after if override is None else after.put(override)
        before, later = set(self._standing.overrides), set(after.overrides)
        return self._served.foresee(after, before ^ later)

    def saved_states(self) -> Iterator[Saved]:
        """All that a restart should know, in no order, as it is at this call: it may be taken in another thread."""
        targets = (*self._targets.values(), *self._leaving.values())
        return list_saved(targets, self._states.copy(), tuple(self._shelf.all()))

    def member_facts(self, member: MemberKey) -> MemberFacts:
        """What was seen of *member*, what is forced on it, what counts."""
        served = self._served  # once: it may be asked for in a thread
        drain, force = served.forced(member)
        condition = served.known.get(member)
        watched = served.plan.watched.get(member)
        return MemberFacts(
            observed=str(served.observed(member)) if watched else "none",
            verdict=str(Verdict.UP if condition is None else condition.verdict),
            drain="" if drain is None else drain.target,
            forced="" if force is None else force.target,
            weight=None if condition is None else condition.weight,
            probes=self._report_probes(served.plan, member),
        )

    def probe_reports(self, member: MemberKey) -> tuple[ProbeReport, ...]:
        """One for each check of *member*, in their order."""
        return self._report_probes(self._served.plan, member)

    def _report_probes(self, plan: Plan, member: MemberKey) -> tuple[ProbeReport, ...]:
        keys = plan.watched.get(member, ())
        return tuple(report_probe(plan.targets[key], self._states.get(key) or State()) for key in keys)

    def frozen(self) -> tuple[tuple[str, float], ...]:
        """Families whose verdicts the guard holds, and since when (seconds since 1970)."""
        return tuple(self._frozen.items())

    def check_counts(self) -> tuple[CheckCount, ...]:
        """What the probes of each check that is served came to, since the daemon's start."""
        return self._counts.report()


def _hide(home: Conditions, member: MemberKey) -> str:
    """Why a flip of *member* changes nothing: an override says otherwise."""
    drain, force = home.forced(member)
    hiding = [f"{tell_override(one)} is in force" for one in (force, drain) if one is not None]
    return ", ".join(hiding)
