"""Whatever is asked, a real PowerDNS over us answers as we do, but for the rows of one table."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import dns.edns
import dns.message
import dns.name
import pytest
from tests.powerdns.differences import (
    CONFIG,
    DIFFERENCES,
    WORLD,
    Asked,
    Difference,
    Outcome,
    find_differing,
    find_reasons,
    read_asked,
    read_outcome,
)
from tests.powerdns.pdns import needs_pdns
from tests.powerdns.transports import WAYS, ThroughPdns, open_way
from tests.replies import PEER, Surprise, build_query, read_reply, spread_draws
from tests.scenario import Lined, Scenario, build_scenario, find_health, publish, read_scenarios, take_steps
from tests.transports import InProcess

from geodns.answer import Settings
from geodns.compiler.build import Built
from geodns.compiler.choices import build_choices
from geodns.settings import make_settings
from geodns.snapshot import Snapshot, Zones
from geodns.wire.name import name_text

pytestmark = needs_pdns("pipe", "remote")
Address = IPv4Address | IPv6Address
FILES = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml"))
SCENARIOS = [scenario for path in FILES for scenario in read_scenarios(path)]
COARSE, FINE = 8, 120  # cells per half of the draw: at first, and before a reply counts as impossible
TYPES = ("A", "AAAA", "CNAME", "MX", "NS", "SOA", "TXT", "DS", "CAA", "TYPE65280", "TYPE65281")
SEED = int(os.environ.get("TWIN_SEED", time.time_ns() & 0xFFFF))
MOST, FEW = 7, 2  # of these: for names that are there, for names that are made up
CLIENTS = ("20.0.0.0/16", "200.0.2.0/24", "2a02:1234::/32", None)


class Twins:
    """The same snapshot twice: by `answer`, with every draw, and through PowerDNS."""

    exact = False

    def __init__(self, through: ThroughPdns) -> None:
        self._ours, self._theirs = InProcess(), through
        self.way = through.way
        self._settings = Settings()

    def publish(self, built: Built, snapshot: Snapshot) -> None:
        """Both answer from *snapshot* from now on."""
        self._settings = make_settings(built.loaded.config.server)
        self._ours.publish(built, snapshot)
        self._theirs.publish(built, snapshot)

    def ask(self, query: bytes, peer: Address, draw: int) -> bytes | None:
        """The reply of PowerDNS."""
        return self._theirs.ask(query, peer, draw)

    def compare(self, step: Mapping[str, str]) -> None:
        """Put the step's question to both. Raises Surprise where they differ without a reason."""
        asked, ours, theirs = self.ask_both(step)
        outcomes = []
        for one in ours:
            if find_reasons(asked, one, theirs) is not None:
                return
            outcomes.append(one)
        raise Surprise(tell(step, outcomes, theirs))

    def ask_both(self, step: Mapping[str, str], *, tcp: bool = False) -> tuple[Asked, Iterator[Outcome], Outcome]:
        """What was asked, every outcome that ours may have, and theirs."""
        query, peer = write_query(step), ip_address(step.get("peer", PEER))
        wire = query.to_wire()
        reply = self._theirs.ask_tcp(wire, peer) if tcp else self._theirs.ask(wire, peer, 0)
        theirs = read_outcome(read_reply(step, query, reply))
        return read_asked(query, self.believes(peer)), self.list_ours(step, query, peer), theirs

    def list_ours(self, step: Mapping[str, str], query: dns.message.Message, peer: Address) -> Iterator[Outcome]:
        """Every different outcome that a draw can give, likely ones first."""
        wire, known = query.to_wire(), set[bytes | None]()
        for draw in itertools.chain(spread_draws(COARSE), spread_draws(FINE)):
            reply = self._ours.ask(wire, peer, draw)
            if reply not in known:
                known.add(reply)
                yield read_outcome(read_reply(step, query, reply))

    def believes(self, peer: Address) -> bool:
        """Do this peer's client subnets count?"""
        believed = self._settings.client_subnet
        return believed if isinstance(believed, bool) else any(peer in network for network in believed)


def write_query(step: Mapping[str, str]) -> dns.message.Message:
    """The question of a step; where it says so with a client subnet of three octets that brings two."""
    query = build_query(step)
    if "malformed" in step:
        query.use_edns(0, payload=1232, options=[dns.edns.GenericOption(dns.edns.ECS, b"\0\1\x18\0\x14\0")])
    return query


def list_questions(zones: Zones, chance: random.Random) -> list[dict[str, str]]:
    """Every owner with most types; names below and beside it, existing or not, and names above all zones with a few.

    Types and clients are drawn by *chance*.
    """
    owners = [name_text(name).rstrip(".") for name in zones.names]
    apexes = {name_text(zone.apex).rstrip(".") for zone in zones.zones}
    beside = [form.format(owner) for owner in owners for form in ("x.{}", "*.{}", "x.y.{}", "x{}")]
    beside += [owner.upper() for owner in owners] + [apex.partition(".")[2] for apex in apexes]
    asked = [(name, rtype) for name in owners for rtype in chance.sample(TYPES, MOST)]
    asked += [(name, rtype) for name in dict.fromkeys(beside) for rtype in chance.sample(TYPES, FEW)]
    chance.shuffle(asked)
    clients = [chance.choice(CLIENTS) for _ in asked]
    return [
        {"query": f"{name} {rtype}"} | ({} if client is None else {"client": client})
        for (name, rtype), client in zip(asked, clients, strict=True)
    ]


def tell(step: Mapping[str, str], ours: list[Outcome], theirs: Outcome) -> str:
    """What differs, from the outcome of ours that is nearest."""
    nearest = min(ours, key=lambda one: len(find_differing(one, theirs)))
    fields = sorted(find_differing(nearest, theirs))
    found = "; ".join(f"{field}: ours {getattr(nearest, field)}, theirs {getattr(theirs, field)}" for field in fields)
    return f"{step}: of {len(ours)} outcomes none is theirs; {found}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Built, Snapshot]]:
    """What a scenario is compiled to, once for all ways."""

    @cache
    def find(number: int) -> tuple[Built, Snapshot]:
        return build_scenario(SCENARIOS[number], tmp_path_factory.mktemp("scenario"))

    return find


@pytest.fixture(scope="module", params=WAYS)
def twins(request: pytest.FixtureRequest) -> Iterator[Twins]:
    with open_way(request.param) as through:
        yield Twins(through)


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[scenario.name for scenario in SCENARIOS])
def test_scenario(number: int, twins: Twins, built: Callable[[int], tuple[Built, Snapshot]]) -> None:
    """Every step, also those whose peer only a proxy can name; those with `times` and `shares` more than once."""
    for step in take_steps(SCENARIOS[number], twins, *built(number)):
        for _ in range(min(int(step.get("times", "4" if "shares" in step else "1")), 10)):
            twins.compare(step)


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[scenario.name for scenario in SCENARIOS])
def test_names_and_types(number: int, twins: Twins, built: Callable[[int], tuple[Built, Snapshot]]) -> None:
    """What the configurations of all scenarios hold, and what they do not; each question by one way, another next time."""
    compiled = built(number)
    publish(SCENARIOS[number], twins, *compiled, SCENARIOS[number].body.get("health", {}))
    print(f"seed {SEED}")
    for question in list_questions(compiled[1].zones, random.Random(SEED))[
        list(WAYS.values()).index(twins.way) :: len(WAYS)
    ]:
        twins.compare(question)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], tuple[Built, Snapshot]]:
    """What the table's examples are asked of, by whether client subnets are believed; its failing service fails."""

    @cache
    def find(believed: bool) -> tuple[Built, Snapshot]:
        folder = tmp_path_factory.mktemp("differences")
        body = {"title": "differences", "world": WORLD, "config": CONFIG % str(believed).lower(), "steps": []}
        scenario = Scenario(Path("differences"), 0, Lined(body))
        built, healthy = build_scenario(scenario, folder)
        choices = build_choices(healthy.zones, find_health(scenario, healthy.zones, {"broken/*/*": "down"}))
        return built, replace(healthy, choices=choices)

    return find


@pytest.mark.parametrize("row", DIFFERENCES, ids=[row.title for row in DIFFERENCES])
def test_every_row_of_the_table_is_true(
    row: Difference, twins: Twins, shown: Callable[[bool], tuple[Built, Snapshot]]
) -> None:
    """Its example differs, in some of the fields that it names and no other, and for its reason alone."""
    twins.publish(*shown(row.believed))
    for tcp in (False, True):
        asked, outcomes, theirs = twins.ask_both(row.example, tcp=tcp)
        ours = next(outcomes)
        reasons = find_reasons(asked, ours, theirs)
        assert reasons == ([row] if row.shows(twins.way) else []), tell(row.example, [ours], theirs)
