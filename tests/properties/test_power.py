"""PowerDNS is told the same as everybody else: both protocols against `find`, for all of a small world, whoever asks.

Each test is named with the seed of its world; GEODNS_SEEDS=500 tries that many.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import cache

import dns.rdata
import dns.rdatatype
import pytest
from tests.properties.worlds import Made, make_world
from tests.server.powered import FixedLookup

from geodns.lookup import NODATA, RECORDS, Client, find, records_at
from geodns.server.pdns_answer import parse_client
from geodns.server.pdns_pipe import PipeSession
from geodns.server.pdns_remote import RemoteSession
from geodns.wire.constants import AAAA, EMPTY, NS, SOA, TXT, A
from geodns.wire.name import name_text
from geodns.wire.rdata import rdata_of, ttl_of

SEEDS = range(int(os.environ.get("GEODNS_SEEDS", "6")))
CLIENTS = 60  # for each name
TYPES = (A, AAAA, NS, SOA, TXT)
Told = tuple[int, int, int, int, bytes]  # scope, zone's id, type, TTL, rdata
Find = Callable[[int], Made]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Find:
    """The world of a seed, compiled once."""
    return cache(lambda seed: make_world(seed, tmp_path_factory.mktemp("world")))


def draw_client(chance: random.Random) -> tuple[str, str]:
    """A resolver and a subnet as PowerDNS writes them, of either family; often near a border of the world's networks."""
    addresses = []
    for _ in range(2):
        if chance.random() < 0.7:
            addresses.append((".".join(str(chance.choice((0, 1, 10, 20, 20, 127, 192, 255))) for _ in range(4)), 32))
        else:
            words = (
                chance.choice((0x2001, 0x2002, 0x2A02, 0x64, 0)),
                chance.choice((0, 0xDB8, 0xFF9B)),
                chance.getrandbits(16),
            )
            addresses.append((":".join(f"{word:x}" for word in words) + "::1", 128))
    (resolver, bits), (subnet, most) = addresses
    return resolver, chance.choice((f"{subnet}/{chance.randint(0, most)}", f"{resolver}/{bits}", f"0.0.0.0/{0}"))


def over_pipe(made: Made, owner: bytes, qtype: str, where: tuple[str, str], draw: int) -> list[Told]:
    """What the pipe says, read back by dnspython."""
    session = PipeSession(FixedLookup(made.snapshot, draw))
    session.answer(b"HELO\t3")
    block = session.answer(f"Q\t{name_text(owner)[:-1]}\tIN\t{qtype}\t-1\t{where[0]}\t::\t{where[1]}".encode()).decode()
    *lines, end = block.splitlines()
    assert end == "END"
    return [read(int(f[1]), int(f[7]), f[5], int(f[6]), " ".join(f[8:])) for f in (line.split("\t") for line in lines)]


def over_remote(made: Made, owner: bytes, qtype: str, where: tuple[str, str], draw: int) -> list[Told]:
    """What the remote backend is told, read back by dnspython."""
    session = RemoteSession(FixedLookup(made.snapshot, draw))
    given = {"qname": name_text(owner), "qtype": qtype, "remote": where[0], "real-remote": where[1]}
    reply = session.answer(json.dumps({"method": "lookup", "parameters": given}).encode())
    assert isinstance(reply, bytes)
    return [
        read(each["scopeMask"], each["domain_id"], each["qtype"], each["ttl"], each["content"])
        for each in json.loads(reply)["result"]
    ]


def read(scope: int, zone: int, rtype: str, ttl: int, content: str) -> Told:
    if rtype == "ENT":
        return scope, zone, EMPTY, ttl, b""
    number = dns.rdatatype.from_text(rtype)
    return scope, zone, int(number), ttl, dns.rdata.from_text("IN", number, content).to_wire() or b""


def asks(made: Made, seed: int) -> Iterator[tuple[bytes, tuple[str, str], Client, int]]:
    chance = random.Random(seed)
    for owner in made.snapshot.zones.names:
        for _ in range(CLIENTS):
            where = draw_client(chance)
            yield owner, where, parse_client(*where), chance.getrandbits(64)


@pytest.mark.parametrize("seed", SEEDS)
def test_always_the_records_of_records_at(seed: int, made: Find) -> None:
    found = made(seed)
    for owner, where, client, draw in asks(found, seed):
        _, zone, records = records_at(found.snapshot, owner, client, draw)
        assert zone is not None
        wanted = [
            (scope, zone.number + 1, rtype, ttl_of(tail), rdata_of(tail))
            for rtype, tails, scope, _ in records
            for tail in tails
        ]
        assert wanted
        assert over_pipe(found, owner, "ANY", where, draw) == wanted, (seed, owner, where)
        assert over_remote(found, owner, "ANY", where, draw) == wanted, (seed, owner, where)


@pytest.mark.parametrize("seed", SEEDS)
def test_always_what_a_query_gets(seed: int, made: Find) -> None:
    """Type by type: the records that `find` gives this client with this draw, with the scope or, where that is 0, a mark."""
    found = made(seed)
    for owner, where, client, draw in asks(found, seed):
        service = found.snapshot.zones.names[owner].service
        told = over_pipe(found, owner, "ANY", where, draw)
        for rtype in TYPES:
            status, _, tails, scope, _ = find(found.snapshot, owner, rtype, client, draw)
            assert status in {RECORDS, NODATA}
            mine = [record for record in told if record[2] == rtype]
            assert [record[4] for record in mine] == ([rdata_of(tail) for tail in tails] if status == RECORDS else [])
            assert {record[0] for record in mine} <= {(scope or 1) if service is not None else 0}
            assert over_pipe(found, owner, dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype)), where, draw) == mine
