"""What `explain` says is what a client gets: a thousand random clients, the packaged database, real datagrams."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from tests.transports import OverUdp

from geodns.compiler.build import Built, assemble, build
from geodns.explain import Question, explain, parse_question
from geodns.geo.place import find_sources
from geodns.locate import Scene
from geodns.settings import make_settings

CONFIG = Path(__file__).parents[2] / "config" / "quickstart.yaml"
SEED, CLIENTS = 20260101, 1000
NAMES = ("www.example.com", "www.example.com", "example.com", "mail.example.com", "absent.example.com")
PEER = "127.0.0.1"


@pytest.fixture(scope="module")
def built() -> Built:
    """The quickstart configuration on the packaged file."""
    return build(CONFIG, None)


@pytest.fixture(scope="module")
def scene(built: Built) -> Scene:
    config = built.loaded.config
    return Scene(config, assemble(built), find_sources(config.geoip), make_settings(config.server), {})


@pytest.fixture(scope="module")
def way(built: Built, scene: Scene) -> Iterator[OverUdp]:
    """The same snapshot, served."""
    over = OverUdp()
    over.publish(built, scene.snapshot)
    yield over
    over.close()


def draw_client(chance: random.Random) -> str:
    """An address or a network; half IPv4, among IPv6 also 6to4, mapped, and what is really given out."""
    number = chance.getrandbits(32)
    if chance.random() < 0.5:
        return f"{IPv4Address(number)}/{chance.choice((8, 16, 20, 24, 24, 28, 32))}"
    top = chance.choice((0x2001_0000, 0x2400_0000, 0x2600_0000, 0x2A00_0000, 0x2002_0000, 0x0000_0000, 0xFD00_0000))
    middle = number | 0xFFFF << 32 if top == 0 else chance.getrandbits(92)
    return f"{IPv6Address(top << 96 | middle)}/{chance.choice((32, 48, 56, 64, 128))}"


def dig(way: OverUdp, question: Question) -> dns.message.Message:
    """What comes back from the socket, read by a decoder that is not ours."""
    assert question.subnet is not None
    option = dns.edns.ECSOption(str(question.subnet.network_address), question.subnet.prefixlen, 0)
    name = dns.name.from_wire(question.owner, 0)[0]
    query = dns.message.make_query(
        name, dns.rdatatype.RdataType.make(question.rtype), use_edns=0, options=[option], payload=1232
    )
    wire = way.ask(query.to_wire(), ip_address(PEER), 0)
    assert wire is not None, "no reply"
    return dns.message.from_wire(wire)


def lines_of(section: list[dns.rrset.RRset]) -> list[str]:
    """Records in presentation form."""
    return [f"{r.name} {r.ttl} IN {dns.rdatatype.to_text(r.rdtype)} {rdata}" for r in section for rdata in r]


def test_explain_agrees_with_what_is_served_for_a_thousand_clients(scene: Scene, way: OverUdp) -> None:
    """Rcode, records, authority, scope, and the datacenter whose member answers. The seed stands above."""
    chance = random.Random(SEED)
    seen: set[str] = set()
    for _ in range(CLIENTS):
        name, rtype, client = chance.choice(NAMES), chance.choice(("A", "AAAA", "MX")), draw_client(chance)
        question = parse_question(name, rtype, str(ip_network(client, strict=False)), PEER, chance.getrandbits(64))
        told, served = explain(scene, question), dig(way, question)
        what = f"seed {SEED}: {name} {rtype} for {client}"
        assert told.reply is not None, what
        assert told.certain, f"{what}: one member a pool, so nothing is left to chance"
        assert told.reply.rcode == dns.rcode.to_text(served.rcode()), what
        assert sorted(told.reply.answer) == sorted(lines_of(served.answer)), what
        assert sorted(told.reply.authority) == sorted(lines_of(served.authority)), what
        (option,) = served.options
        assert isinstance(option, dns.edns.ECSOption)
        assert told.reply.scope == option.scopelen, what
        seen.update(told.reply.answer)
    words = [line.split() for line in seen if line.startswith("www.")]
    members = {word[-1] for word in words if word[3] in ("A", "AAAA")}
    assert len(members) == 6, f"every member of every datacenter answered somebody: {sorted(members)}"
