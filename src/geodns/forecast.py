"""What a change of health moves: pools that change rank, and clients that get another datacenter.

Knows the four passes over an order (design section "The datacenter"), counted over the IPv4 addresses that the databases
can place. Knows nothing of overrides or operators. All that goes in is immutable, so it may run in a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .compiler.choices import build_pool
from .compiler.diff import moved_shares
from .compiler.shares import NOBODY, Head
from .health.state import Condition, Health, MemberKey, Verdict
from .image_maps import NO_COUNTRIES, Countries, read_countries
from .lookup import read_tiers
from .present import show_percent
from .report import Move, PoolChange
from .snapshot import ADDRESSES, ALL, DEAD, DRAINED, FALLBACK, LIVE, UP, Maps, Pool, PoolPlan, Service, Snapshot, Table
from .words import RANK_WORDS, TYPE_WORDS

UNITS = 1 << 32  # IPv4 addresses
PIECES = 1000  # of the address space, counted between two pauses: about half a millisecond
PAUSE = 0.0005  # seconds that counting leaves to whoever waits for the interpreter
MOST_NAMES = 6  # in one warning

Counts = Sequence[int]  # by order number of a table: so many placed IPv4 addresses have it
Ranks = Mapping[int, int]  # by datacenter number: the rank of the service's pool there
Pair = tuple[str | None, str | None]  # from, to
Pools = Mapping[int, Pool]  # by number


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a change of health means."""

    pools: tuple[PoolChange, ...]
    moves: tuple[Move, ...]  # the largest first
    horizon: float  # seconds
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """What happens to the clients of one table between two sets of ranks; counted in addresses."""

    placed: int
    moves: Mapping[Pair, Fraction]
    before: Mapping[int, int]  # by rank: the clients whom that pass serves
    after: Mapping[int, int]


def count_orders(table: Table, countries: Countries) -> Generator[None, None, list[int]]:
    """How many placed IPv4 addresses have each order of *table*; a pause after every `PIECES` pieces of the space."""
    counts = [0] * (len(table.rows) - 1)
    starts, orders = table.v4.starts, table.v4.orders
    borders, codes = countries.starts, countries.codes
    here, there, first, pieces = 0, 0, 0, 0
    while first < UNITS:
        range_end = starts[here + 1] if here + 1 < len(starts) else UNITS
        country_end = borders[there + 1] if there + 1 < len(borders) else UNITS
        end = min(range_end, country_end)
        if codes[there]:
            counts[orders[here]] += end - first
        here += end == range_end
        there += end == country_end
        first = end
        pieces += 1
        if pieces % PIECES == 0:
            yield
    return counts


def countries_of(maps: Maps) -> Countries:
    """The countries beside *maps*, whose arrays are views into one block; none for maps that were made by hand.

    It verifies the block once more: 30 ms for the full GeoLite2 City, most of it without the interpreter.
    """
    return read_countries(maps.block, "maps block") if maps.block else NO_COUNTRIES


class OrderCounts:
    """`count_orders` of the tables that are served, each counted once; for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digest = b""
        self._found: dict[int, Counts] = {}

    def find(self, maps: Maps, number: int) -> Counts:
        """The counts of table *number*. Blocks its thread: half a second for a million ranges, and as much in pauses."""
        with self._lock:
            if maps.digest != self._digest:
                self._digest, self._found = maps.digest, {}
            if number not in self._found:  # countries are not kept: they would hold on to the block after a reload
                self._found[number] = _with_pauses(count_orders(maps.tables[number], countries_of(maps)))
            return self._found[number]


def _with_pauses(slices: Generator[None, None, list[int]]) -> Counts:
    while True:
        try:
            next(slices)
        except StopIteration as end:
            counts: Counts = end.value
            return counts
        time.sleep(PAUSE)


def foresee(snapshot: Snapshot, after: Health, touched: Iterable[MemberKey], count: Callable[[int], Counts]) -> Outlook:
    """What it means if the members *touched* are as *after* says; all others are taken as they are published.

    *count* gives the counts of a table by its number. Who is sent to a fallback service counts as sent there, wherever that
    one sends them.
    """
    names = {(member[0], member[1]) for member in touched}
    numbers = [i for i, plan in enumerate(snapshot.zones.pools) if (plan.service, plan.datacenter) in names]
    changed = {number: build_pool(snapshot.zones.pools[number], after) for number in numbers}
    services = {snapshot.zones.pools[number].service for number in numbers}
    plans = [snapshot.zones.pools[number] for number in numbers]
    shifts = dict(_find_shifts(snapshot, changed, services, count))
    return Outlook(
        pools=tuple(_find_changes(snapshot, changed)),
        moves=tuple(_list_moves(shifts)),
        horizon=float(max((plan.ttl_max for plan in plans), default=0)),
        warnings=(*_warn_of_pools(snapshot, changed, after), *_warn_of_passes(snapshot, shifts)),
    )


def _find_changes(snapshot: Snapshot, changed: Pools) -> Iterator[PoolChange]:
    for number, pool in changed.items():
        plan, before = snapshot.zones.pools[number], snapshot.choices.pools[number]
        if pool.rank != before.rank:
            yield PoolChange(plan.service, plan.datacenter, RANK_WORDS[before.rank], RANK_WORDS[pool.rank])


def _find_shifts(
    snapshot: Snapshot, changed: Pools, services: set[str], count: Callable[[int], Counts]
) -> Iterator[tuple[str, Shift]]:
    """The shift of each of *services* that has a pool of another rank. Services that are alike are worked out once."""
    found: dict[tuple[object, ...], Shift] = {}
    pools = snapshot.choices.pools
    for service in snapshot.zones.services:
        if service.name not in services:
            continue
        mine = [(datacenter, number) for datacenter, number in enumerate(service.pool_of) if number >= 0]
        before = {datacenter: pools[number].rank for datacenter, number in mine}
        after = {datacenter: changed.get(number, pools[number]).rank for datacenter, number in mine}
        if before == after:
            continue
        resort = _last_resort(service)
        key = (service.table, resort, tuple(before.items()), tuple(after.items()))
        if key not in found:
            table = snapshot.maps.tables[service.table]
            found[key] = find_shift(table, snapshot.maps.datacenters, count(service.table), before, after, resort)
        yield service.name, found[key]


def _last_resort(service: Service) -> Head | None:
    """Who answers when everything is dead; None: the first tier, as if it were up."""
    if service.all_down == ALL:
        return None
    if service.all_down == FALLBACK and service.fallback is not None:
        return ((f"service {service.fallback.name}", Fraction(1)),)
    return (("all_down addresses", Fraction(1)),) if service.all_down == ADDRESSES else NOBODY


def find_shift(
    table: Table, datacenters: Sequence[str], counts: Counts, before: Ranks, after: Ranks, resort: Head | None
) -> Shift:
    """Who goes where when the pools of one service had the ranks *before*, and have *after*."""
    moves: dict[Pair, Fraction] = {}
    served: tuple[dict[int, int], dict[int, int]] = {}, {}
    for order, addresses in enumerate(counts):
        if not addresses:
            continue
        tiers = list(read_tiers(table, order))
        (old_rank, old), (new_rank, new) = (divide(tiers, datacenters, ranks, resort) for ranks in (before, after))
        served[0][old_rank] = served[0].get(old_rank, 0) + addresses
        served[1][new_rank] = served[1].get(new_rank, 0) + addresses
        if old != new:
            for pair, share in moved_shares(old, new).items():
                moves[pair] = moves.get(pair, Fraction()) + share * addresses
    return Shift(sum(counts), moves, *served)


def divide(
    tiers: Iterable[Sequence[tuple[int, int]]], datacenters: Sequence[str], ranks: Ranks, resort: Head | None
) -> tuple[int, Head]:
    """Which pass serves the clients of an order, as its rank, and which share of them each datacenter gets.

    The lowest rank wins, then the first tier that has it, there by weight: what `lookup.decide` does with each client.
    """
    best, eligible = DEAD + 1, list[tuple[int, int]]()
    for tier in tiers:
        rank = min((ranks[datacenter] for datacenter, _ in tier if datacenter in ranks), default=best)
        if rank < best:
            best, eligible = rank, [(datacenter, weight) for datacenter, weight in tier if ranks.get(datacenter) == rank]
            if rank == UP:
                break
    if not eligible:
        return DEAD, NOBODY
    if best == DEAD and resort is not None:
        return DEAD, resort
    total = sum(weight for _, weight in eligible)
    return best, tuple((datacenters[datacenter], Fraction(weight, total)) for datacenter, weight in sorted(eligible))


def _list_moves(shifts: Mapping[str, Shift]) -> list[Move]:
    moves = [
        Move(service, source, target, float(addresses / shift.placed))
        for service, shift in shifts.items()
        for (source, target), addresses in shift.moves.items()
    ]
    return sorted(moves, key=lambda move: (-move.share, move.service, str(move.source), str(move.target)))


def _warn_of_pools(snapshot: Snapshot, changed: Pools, after: Health) -> Iterator[str]:
    """What becomes of pools that have served so far and do so no longer."""
    emptied, types, weakened = list[str](), dict[str, list[str]](), list[str]()
    for number, pool in changed.items():
        plan, before = snapshot.zones.pools[number], snapshot.choices.pools[number].rank
        name = f"{plan.service}/{plan.datacenter}"
        if before <= LIVE < pool.rank:
            emptied.append(name)
        elif before == UP and pool.rank == LIVE:
            gone = _find_type_without_weight(plan, after)
            (weakened if gone is None else types.setdefault(gone, [])).append(name)
    if emptied:
        yield f"takes the last live member of {name_some(emptied)} out"
    for word, names in types.items():
        yield f"takes the last live {word} member of {name_some(names)} out, so that the whole pool is no longer up"
    if weakened:
        yield f"leaves too little of {name_some(weakened)}: what is live has less weight than up_threshold asks for"


def _find_type_without_weight(plan: PoolPlan, health: Health) -> str | None:
    """A record type of the pool whose live members have no weight left; None where each has some."""
    weights: dict[int, int] = {}
    for member in plan.members:
        condition = health.get((plan.service, plan.datacenter, member.text), Condition())
        live = not (member.drained or condition.drained or condition.verdict is Verdict.DOWN)
        weight = member.weight if condition.weight is None else condition.weight
        weights[member.rtype] = weights.get(member.rtype, 0) + live * weight
    return next((TYPE_WORDS[rtype] for rtype, weight in weights.items() if not weight), None)


def _warn_of_passes(snapshot: Snapshot, shifts: Mapping[str, Shift]) -> Iterator[str]:
    """Which clients come to be served by a worse pass than the first, by more of them than before."""
    kinds = {service.name: service.all_down for service in snapshot.zones.services}
    told: dict[tuple[int, int, str], list[str]] = {}
    for service, shift in shifts.items():
        for rank in (LIVE, DRAINED, DEAD):
            addresses = shift.after.get(rank, 0)
            if addresses > shift.before.get(rank, 0):
                share = show_percent(addresses / shift.placed)
                told.setdefault((rank, kinds[service] if rank == DEAD else ALL, share), []).append(service)
    for (rank, kind, share), services in told.items():
        yield f"{name_some(services)}: nothing is up for {share} of the addresses, {_pass_words(rank, kind)}"
    if any(not shift.placed for shift in shifts.values()):
        yield "the databases place no IPv4 address, so that nobody can say which share moves"


def _pass_words(rank: int, all_down: int) -> str:
    if rank == LIVE:
        return "pools below their up_threshold answer (pass 2)"
    if rank == DRAINED:
        return "drained members answer (pass 3)"
    return "members that are down answer (all_down)" if all_down == ALL else "all_down decides"


def name_some(names: Sequence[str]) -> str:
    """``a, b and c``; where there are many, the first and how many more."""
    shown = list(names[:MOST_NAMES])
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
