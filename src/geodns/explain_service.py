"""What a service says to one client, told from the same tables that serving reads.

Knows tiers, pools, the four passes and their words. The decision itself is `lookup.decide`'s: here it is asked, never
taken again. Knows nothing of names, messages or terminals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .answer import Settings
from .config.model import Address, Network
from .explanation import Candidate, Decision, Distance, Step
from .health.state import Condition, Verdict
from .locate import Scene, address_of, describe, mark_of, measure, range_round, tell_order, tell_rule, tell_scope
from .lookup import FAILED, RECORDS, Client, decide, find_service, least_scopes, read_tiers, unwrap
from .lookup import Decision as Chosen
from .odds import first_odds, reply_odds
from .pick import weights_of
from .snapshot import (
    ADDRESSES,
    ALL,
    DEAD,
    DRAINED,
    FALLBACK,
    LIVE,
    NONE,
    PEER,
    SERVFAIL,
    UNWRAP,
    UP,
    Choice,
    Member,
    Pool,
    PoolPlan,
    Service,
    Snapshot,
    Table,
)
from .wire.constants import CNAME
from .wire.rdata import rdata_of
from .words import RANK_WORDS, TYPE_WORDS

Tier = Sequence[tuple[int, int]]  # (datacenter number, weight)

TAKEN = {
    UP: ("pass 1", "the first whose pool is up"),
    LIVE: ("pass 2", "no pool is up; the first that has a live member"),
    DRAINED: ("pass 3", "nothing is live; the first that has a drained member which is not down"),
}
ALL_DOWN = {
    ALL: "every member is down: the first tier answers as if it were up",
    NONE: "every member is down, and then there is no data",
    SERVFAIL: "every member is down, and then the server fails",
    FALLBACK: "every member is down, and then another service answers",
    ADDRESSES: "every member is down, and then these addresses answer",
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as serving sees it: the client tuple, and why it is the subnet or the peer."""

    client: Client
    subnet: Network | None
    why_peer: str  # why the peer decides where the client tuple has no subnet

    @classmethod
    def of(cls, settings: Settings, subnet: Network | None, peer: Address) -> Asker:
        """The asker behind a query from *peer* with *subnet* as its client subnet, or without one."""
        alone: Client = (0, 0, 0, peer.max_prefixlen, int(peer))
        if subnet is None:
            return cls(alone, None, "the query carries no client subnet")
        if subnet.prefixlen == 0:
            return cls(alone, subnet, "a subnet of /0 asks for privacy, RFC 7871 7.1.2")
        if not settings.believes(*alone[3:]):
            return cls(alone, subnet, f"client subnets are not believed from {peer}")
        address = int(subnet.network_address)
        return cls((subnet.max_prefixlen, address, subnet.prefixlen, *alone[3:]), subnet, "")


def tell_service(scene: Scene, service: Service, rtype: int, asker: Asker, draw: int) -> Decision:
    """What *service* says of *rtype* (CNAME for ANY) to *asker*; *draw* is the word of this hop. Raises DatabaseError."""
    snapshot = scene.snapshot
    chosen = decide(snapshot, service, asker.client, draw)
    rank, datacenter, number, _, own_scope, order, bits, address = chosen
    _, tails, scope, _, ttl = find_service(snapshot, service, rtype, asker.client, draw)
    table = snapshot.maps.tables[service.table]
    tiers = list(read_tiers(table, order))
    asks_all_down = number < 0 or (rank == DEAD and service.all_down != ALL)
    shares = {} if asks_all_down else share_datacenters(snapshot, service, tiers, rank, datacenter)
    used = address_of(bits, address)
    located = describe(scene, used)
    network, why_client = _tell_client(table, asker, bits, address)
    first, last, _ = range_round(table, bits, address)
    fallback = service.fallback if asks_all_down and number >= 0 and service.all_down == FALLBACK else None
    return Decision(
        service=service.name,
        map=table.map_name,
        client=network,
        client_why=why_client,
        located=located,
        rule=tell_rule(scene, table.map_name, order, used, located),
        order=tell_order(snapshot, tiers),
        first_address=first,
        last_address=last,
        scope=scope,
        scope_why=_tell_scope(snapshot, table, service, asker, own_scope, scope),
        steps=tuple(_tell_steps(scene, service, tiers, shares, measure(scene, located))),
        taken=TAKEN[rank][0] if rank in TAKEN else "all_down" if number >= 0 else "nothing",
        taken_why=_tell_taken(snapshot, service, rank, number, shares),
        ttl=ttl,
        ttl_why=_tell_ttl(scene, service, tiers, chosen, ttl),
        pick="sticky" if service.sticky else "weighted",
        answers=service.answers,
        candidates=tuple(_tell_candidates(scene, service, shares, rtype, tails)),
        fallback=None if fallback is None else tell_service(scene, fallback, rtype, asker, draw),
    )


def tell_result(scene: Scene, status: int, word: str, decision: Decision, pool: int) -> str:
    """Why the result is what it is; *status* and *pool* as `lookup.find` gives them, *word* the type in words."""
    if pool >= 0:
        plan = scene.snapshot.zones.pools[pool]
        return f"{word} of {plan.datacenter}, service {plan.service}"
    last = decision
    while last.fallback is not None:
        last = last.fallback
    if status == RECORDS:
        return f"{word} by all_down of service {last.service}"
    if status == FAILED:
        return f"SERVFAIL by all_down of service {last.service}"
    if last.taken in {"all_down", "nothing"}:
        return f"no {word}: {last.taken_why}"
    names = " or ".join(step.datacenter for step in last.steps if step.share)
    return f"no {word}: no member of {names} is of that type; other datacenters of service {last.service} have some"


def share_datacenters(
    snapshot: Snapshot, service: Service, tiers: Sequence[Tier], rank: int, datacenter: int
) -> dict[int, Fraction]:
    """Probability of each datacenter to be chosen, given what `lookup.decide` found: its *rank* is the pass that takes it.

    A pass takes the first tier that has a pool of its rank, by weight among those; a sticky service has chosen for good.
    """
    for tier in tiers:
        pools = [(number, weight, snapshot.choices.pools[service.pool_of[number]]) for number, weight in tier]
        eligible = [(number, weight) for number, weight, pool in pools if pool.rank == rank]
        if eligible and service.sticky:
            return {datacenter: Fraction(1)}
        if eligible:
            odds = first_odds([weight for _, weight in eligible])
            return {number: share for (number, _), share in zip(eligible, odds, strict=True)}
    return {}


def _tell_client(table: Table, asker: Asker, bits: int, address: int) -> tuple[str, str]:
    """The network that was looked up, and why that one; *bits* and *address* are what `lookup.find_order` used."""
    own_bits, own_address, source, peer_bits, peer_address = asker.client
    used, peer = address_of(bits, address), address_of(peer_bits, peer_address)
    inside = "" if used == peer else f" (IPv4 inside {peer})"
    if not own_bits or asker.subnet is None:
        return str(used), f"the peer{inside}: {asker.why_peer}"
    mark = mark_of(table, own_bits, own_address)
    if mark == UNWRAP:
        embedded, offset = unwrap(own_address)
        if 0 <= offset <= source - 8 and (bits, address) == (32, embedded):
            mark = mark_of(table, 32, embedded)
            if mark != PEER:
                return f"{used}/{source - offset}", f"the IPv4 network inside {asker.subnet}"
        return str(used), f"the peer{inside}: {asker.subnet} says nothing of a place"
    if mark == PEER:
        return str(used), f"the peer{inside}: {asker.subnet} is special and says nothing of a place"
    return str(asker.subnet), "the client subnet of the query"


def _tell_scope(snapshot: Snapshot, table: Table, service: Service, asker: Asker, own: int, scope: int) -> str:
    if scope > own:
        return f"that of the services which answer when all is down; this one's would be /{own}"
    why = tell_scope(table, asker.client, least_scopes(snapshot, service), own)
    return why if asker.client[0] else f"{why}; no subnet was used, so the reply says 0 or nothing"


def _tell_taken(snapshot: Snapshot, service: Service, rank: int, number: int, shares: Mapping[int, Fraction]) -> str:
    if number < 0:
        return "the order names none of the service's datacenters: no data"
    names = " or ".join(snapshot.maps.datacenters[datacenter] for datacenter in shares)
    if rank in TAKEN:
        return f"{names}, {TAKEN[rank][1]}"
    return f"{names + ', since ' if names else ''}{ALL_DOWN[service.all_down]}"


def _tell_steps(
    scene: Scene, service: Service, tiers: Sequence[Tier], shares: Mapping[int, Fraction], distances: Sequence[Distance]
) -> Iterator[Step]:
    """Each datacenter of the order, best first."""
    far = {distance.datacenter: distance for distance in distances}
    for place, tier in enumerate(tiers, 1):
        for number, weight in tier:
            crew = crew_of(scene, service.pool_of[number])
            name = crew.plan.datacenter
            yield Step(
                datacenter=name,
                tier=place,
                weight=weight,
                km=far[name].km if name in far else None,
                ranked_km=far[name].ranked_km if name in far else None,
                pool=RANK_WORDS[crew.pool.rank],
                live=crew.live(),
                members=len(crew.plan.members),
                ttl=crew.pool.ttl,
                share=float(shares.get(number, 0)),
            )


@dataclass(frozen=True, slots=True)
class Crew:
    """A pool as somebody who explains it sees it: as configured, as it is, and its members' health."""

    plan: PoolPlan
    pool: Pool
    conditions: tuple[Condition, ...]  # of plan.members

    def live(self) -> int:
        """How many members are up or unknown, and not drained."""
        return sum(
            condition.verdict is not Verdict.DOWN and not (condition.drained or member.drained)
            for member, condition in zip(self.plan.members, self.conditions, strict=True)
        )

    def find_member(self, tail: bytes) -> tuple[Member, Condition]:
        """Whom a tail of this pool stands for; no member stands twice in a pool."""
        rtype, rdata = int.from_bytes(tail[:2], "big"), rdata_of(tail)
        found = zip(self.plan.members, self.conditions, strict=True)
        return next((member, condition) for member, condition in found if (member.rtype, member.rdata) == (rtype, rdata))


def crew_of(scene: Scene, number: int) -> Crew:
    """Pool *number* with what is known of its members; who is missing there is up."""
    plan = scene.snapshot.zones.pools[number]
    keys = ((plan.service, plan.datacenter, member.text) for member in plan.members)
    return Crew(plan, scene.snapshot.choices.pools[number], tuple(scene.health.get(key, Condition()) for key in keys))


def _tell_candidates(
    scene: Scene, service: Service, shares: Mapping[int, Fraction], rtype: int, tails: Sequence[bytes]
) -> Iterator[Candidate]:
    """Who may answer, in every datacenter that may be chosen; *tails* are the answer where nothing is drawn (sticky)."""
    for datacenter, share in shares.items():
        crew = crew_of(scene, service.pool_of[datacenter])
        choice = crew.pool.slots.get(rtype) or crew.pool.slots.get(CNAME)
        if choice is None:
            continue
        answers = 1 if CNAME in crew.pool.slots else service.answers
        weights = weights_of(choice.totals)
        inside: list[Fraction] | None
        if service.sticky:
            first, inside = sticky_odds(choice, tails)
        else:
            first, inside = first_odds(weights), reply_odds(weights, answers)
        for i, tail in enumerate(choice.tails):
            member, condition = crew.find_member(tail)
            drained = ", drained" if member.drained or condition.drained else ""
            yield Candidate(
                datacenter=crew.plan.datacenter,
                member=member.text,
                rtype=TYPE_WORDS[member.rtype],
                weight=weights[i],
                state=f"{condition.verdict}{drained}",
                first=float(first[i] * share),
                in_reply=None if inside is None else float(inside[i] * share),
            )


def sticky_odds(choice: Choice, tails: Sequence[bytes]) -> tuple[list[Fraction], list[Fraction]]:
    """Whether each member of *choice* stands first among *tails*, and whether it stands there: certainties."""
    answered = list(map(rdata_of, tails))
    offered = list(map(rdata_of, choice.tails))
    return [Fraction(rdata == answered[0]) for rdata in offered], [Fraction(rdata in answered) for rdata in offered]


def _tell_ttl(scene: Scene, service: Service, tiers: Sequence[Tier], chosen: Chosen, ttl: int) -> str:
    """Why the answer lives *ttl* seconds: the lowest of the chosen pool and those that were passed over."""
    rank, _, number = chosen[:3]
    if number < 0:
        return "ttl.min, since no datacenter answers"
    if rank == DEAD and service.all_down != ALL:
        return "the smaller one of both services" if service.all_down == FALLBACK else "ttl.min, while all is down"
    crews = [crew_of(scene, service.pool_of[n]) for n in _passed_over(scene.snapshot, service, tiers, chosen)]
    lowest = next(crew for crew in (*crews, crew_of(scene, number)) if crew.pool.ttl == ttl)
    bounds = f"{lowest.plan.ttl_min}-{lowest.plan.ttl_max}"
    if lowest.plan.ttl_min == lowest.plan.ttl_max:
        return f"service {service.name} has this one number"
    if ttl == lowest.plan.ttl_max:
        return f"the longest of {bounds}, since no member is about to change"
    return f"out of {bounds}, since {lowest.plan.datacenter} may change by then"


def _passed_over(snapshot: Snapshot, service: Service, tiers: Sequence[Tier], chosen: Chosen) -> Iterator[int]:
    """The datacenters that the client would have preferred: in better tiers, and in its own those of a worse rank."""
    for tier in tiers:
        inside = any(number == chosen[1] for number, _ in tier)
        for number, _ in tier:
            if not inside or snapshot.choices.pools[service.pool_of[number]].rank != chosen[0]:
                yield number
        if inside:
            return
