"""All that decides a client's order, as one value: the state, interned and numbered.

Knows places, rules, special blocks and what a correction does. Knows nothing of trees and ranges (`rangebuild`), or of
which order a state gets (`orders`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import loops
from ..geo.distance import Site, rank_sites
from ..geo.place import NOWHERE, Facts, complete, correct
from .orders import Rules
from .segments import Segment

UNPLACED = ""
NAMELESS = "??"  # placed by coordinates, but nobody says in which country


class State(NamedTuple):
    """All that decides a client's order, in every table."""

    country: str = UNPLACED  # two letters, NAMELESS or UNPLACED
    ranking: tuple[int, ...] = ()  # all datacenters by distance; () without coordinates
    rules: int = 0  # those that match
    mark: int = 0  # PEER or UNWRAP, for maps of which no rule matches
    asn_known: bool = False  # the condition on AS numbers has been applied to `rules`


class States:
    """Numbers for states, in the order of appearance; 0 is an address that nobody knows."""

    def __init__(self, rules: Rules, sites: tuple[Site, ...], datacenters: dict[str, tuple[float, float]]) -> None:
        self.rules = rules
        self.datacenters = datacenters
        self.found: list[State] = []
        self._sites = sites
        self.shadow = _shadow(sites)  # the same natively, which ranks as they do; None without
        self._numbers: dict[State, int] = {}
        self._rankings: dict[tuple[float, float], tuple[int, ...]] = {}
        self._distinct: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._areas: dict[tuple[str | None, ...], int] = {}
        self.of_facts(NOWHERE)

    def intern(self, state: State) -> int:
        """The number of *state*."""
        number = self._numbers.setdefault(state, len(self.found))
        if number == len(self.found):
            self.found.append(state)
        return number

    def of_facts(self, facts: Facts) -> int:
        """The state of a place, before networks and AS numbers are looked at."""
        facts, _ = complete(facts)
        ranking: tuple[int, ...] = ()
        if facts.latitude is not None and facts.longitude is not None and self._sites:
            here = (facts.latitude, facts.longitude)
            if here not in self._rankings:
                ranking = self.shadow.rank(*here) if self.shadow else rank_sites(*here, self._sites)
                # Few are distinct: keep each once, not per coordinates.
                self._rankings[here] = self._distinct.setdefault(ranking, ranking)
            ranking = self._rankings[here]
        area = facts[:3]
        if area not in self._areas:
            self._areas[area] = self.rules.by_place(*area)
        country = facts.country or (UNPLACED if facts.latitude is None else NAMELESS)
        return self.intern(State(country, ranking, self._areas[area]))

    def in_segment(self, number: int, segment: Segment) -> int:
        """The state of an ordinary address of *segment* whose place has state *number*."""
        state = self.found[number]
        return self.intern(state._replace(rules=state.rules & segment.rules))

    def of_mark(self, segment: Segment) -> int:
        """The state of a special block: no database is asked, only rules that name the network match."""
        rules = self.found[0].rules & segment.rules & self.rules.by_asn(None) & self.rules.with_network
        return self.intern(State(rules=rules, mark=segment.mark, asn_known=True))

    def corrected(self, facts: Facts, segment: Segment) -> int:
        """The state of an address of *segment*, which has a correction, of which databases say *facts*."""
        correction = segment.correction
        assert correction is not None
        number = self.of_facts(correct(facts, correction, self.datacenters))
        number = self.in_segment(number, segment)
        return self.with_asn(number, correction.asn) if correction.asn is not None or segment.mark else number

    def with_asn(self, number: int, asn: int | None) -> int:
        """State *number* with the condition on AS numbers applied, unless it already was."""
        state = self.found[number]
        if state.asn_known:
            return number
        return self.intern(state._replace(rules=state.rules & self.rules.by_asn(asn), asn_known=True))


def _shadow(sites: tuple[Site, ...]) -> loops.distance.Sites | None:
    if not loops.are_native() or not sites:
        return None
    return loops.distance.Sites(
        [site.point for site in sites], [site.factor for site in sites], [site.number for site in sites]
    )


class Memo(dict[int, int]):
    """A mapping that computes what it does not have yet."""

    def __init__(self, compute: Callable[[int], int]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, key: int) -> int:
        self[key] = value = self._compute(key)
        return value
