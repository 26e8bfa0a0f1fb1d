"""What a line says: held against the reply itself, which dnspython reads; then one example of each kind."""

from __future__ import annotations

import json
import random
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from fuzz import fuzz_answer
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenes import build_scene, with_health
from tests.snapshots import opt_of, peer_of, query_of, subnet_of

from geodns.answer import TCP, UDP, Settings, Turn, answer
from geodns.health.state import Condition, Health, Verdict
from geodns.locate import Scene
from geodns.lookup import Client, unwrap
from geodns.metrics import new_tally
from geodns.querylog_line import Prefixes, Sampled, client_text, tell, write_line
from geodns.snapshot import Snapshot
from geodns.wire.constants import AAAA, ANY, CNAME, MX, TXT, A

USUAL = Prefixes(24, 48)
FUZZED = fuzz_answer.make_snapshot()
DOWN = Condition(Verdict.DOWN)


def turn_on(snapshot: Snapshot, transport: int = UDP, rules: Settings | None = None) -> Turn:
    return Turn(snapshot, transport, rules or Settings(), 1_795_000_000.25, new_tally(len(snapshot.zones.pools)))


def sample(turn: Turn, query: bytes, peer: bytes, draw: int) -> tuple[Sampled, bytes] | None:
    """What is kept of a query, and its reply; None where there was none."""
    reply = answer(turn, query, peer, draw)
    return None if reply is None else (Sampled(turn, query, peer, draw, reply[2] << 8 | reply[3]), reply)


# Against the reply


def find_lie(said: dict[str, Any], reply: dns.message.Message) -> str | None:
    """What a line says that its reply does not."""
    if said["rcode"] != dns.rcode.to_text(reply.rcode()).replace("BADSIG", "BADVERS"):
        return f"rcode {dns.rcode.to_text(reply.rcode())}"
    if said["truncated"] != bool(reply.flags & dns.flags.TC):
        return "truncated"
    if said["name"] is not None and reply.question:
        question = reply.question[0]
        if said["name"] != question.name.to_text().lower() and "\\" not in said["name"]:
            return "name"
        if said["type"] != dns.rdatatype.to_text(question.rdtype):
            return "type"
    scopes = [option.scopelen for option in reply.options if isinstance(option, dns.edns.ECSOption)]
    if scopes and said["scope"] != scopes[0]:
        return f"scope {scopes[0]}"
    records = [rdata.to_text() for rrset in reply.answer for rdata in rrset]
    if not said["truncated"] and not set(said["members"]) <= set(records):
        return f"members, of {records}"
    if said["members"] and len(reply.answer) == 1 and not said["truncated"] and sorted(said["members"]) != sorted(records):
        return f"members, which are {records}"
    return None


@pytest.mark.parametrize("transport", [UDP, TCP])
def test_always_says_what_the_reply_says_whatever_arrives(transport: int) -> None:
    chance = random.Random(3)
    turn, kinds = turn_on(FUZZED, transport), set()
    for packet in fuzz_answer.packets(4_000, 3):
        peer, draw = chance.randbytes(chance.choice((4, 16))), chance.getrandbits(64)
        both = sample(turn, packet, peer, draw)
        if both is None:
            continue
        sampled, reply = both
        line = write_line(sampled, USUAL)
        assert line.isascii() and line[:-1].decode().isprintable() and line.endswith(b"\n")
        said = json.loads(line)
        # other opcodes give the sections other meanings, which only dnspython would look into
        message = dns.message.from_wire(reply[:2] + bytes((reply[2] & 0x87,)) + reply[3:])
        assert find_lie(said, message) is None, (find_lie(said, message), said, packet.hex(), str(message))
        kinds.add((said["rcode"], said["service"] is None, bool(said["members"]), said["scope"] is None))
    assert {rcode for rcode, *_ in kinds} == {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS"}
    assert len(kinds) > 12, "the packets are of many kinds"


@cache
def scene() -> Scene:
    """(No fixture: hypothesis would write it out whole where an example fails.)"""
    with TemporaryDirectory() as folder:
        return build_scene(Path(folder))


LABELS = ["www", "several", "same", "cdn", "even", "odd", "shy", "loud", "alias", "away", "round", "mail", "x.apps", "a.b",
          "b", "no", "a.sub", "x.sub2"]  # fmt: skip
ADDRESSES = st.ip_addresses(v=4).map(str) | st.sampled_from(["8.1.1.1", "80.1.1.1", "80.7.0.1", "129.0.0.1", "10.0.0.1"])


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(LABELS),
    st.sampled_from([A, AAAA, CNAME, ANY, MX, TXT]),
    st.none() | st.tuples(ADDRESSES, st.integers(0, 32)),
    ADDRESSES,
    st.integers(0, 2**64 - 1),
    st.sets(st.integers(0, 40)),
)
def test_always_names_the_service_whose_members_are_in_the_reply(
    label: str, qtype: int, subnet: tuple[str, int] | None, peer: str, draw: int, down: set[int]
) -> None:
    """Whatever is down: with a datacenter there are members of that very pool, and what is in the reply has a service."""
    plans = scene().snapshot.zones.pools
    members = [(plan.service, plan.datacenter, member.text) for plan in plans for member in plan.members]
    sick = with_health(scene(), {key: DOWN for i, key in enumerate(members) if i in down})
    options = b"" if subnet is None else subnet_of(f"{subnet[0]}/{subnet[1]}")
    query = query_of(f"{label}.example.com.", qtype, opt=opt_of(options))
    both = sample(turn_on(sick.snapshot, TCP, sick.settings), query, peer_of(peer), draw)
    assert both is not None
    said, reply = tell(both[0], USUAL), dns.message.from_wire(both[1])
    assert find_lie(json.loads(json.dumps(said)), reply) is None
    if said["datacenter"] is not None:
        (plan,) = [plan for plan in plans if (plan.service, plan.datacenter) == (said["service"], said["datacenter"])]
        assert isinstance(said["members"], tuple)
        assert said["members"]
        assert set(said["members"]) <= {member.text for member in plan.members}
    addresses = {member for _, _, member in members if not member.endswith(".")}
    given = {rdata.to_text() for rrset in reply.answer for rdata in rrset} & addresses
    assert not given or said["service"] is not None


# One of each kind


def told(
    owner: str,
    qtype: int = A,
    *,
    client: str | None = "80.7.0.0/24",
    peer: str = "64.1.2.3",
    health: Health | None = None,
) -> dict[str, object]:
    turn = turn_on(with_health(scene(), health or {}).snapshot, UDP, scene().settings)
    query = query_of(owner, qtype, opt=None if client is None else opt_of(subnet_of(client)))
    both = sample(turn, query, peer_of(peer), 0)
    assert both is not None
    return tell(both[0], USUAL)


def test_a_line_has_all_that_is_known() -> None:
    assert told("WWW.Example.com.") == {
        "time": "2026-11-18T11:06:40.250Z",
        "client": "80.7.0.0/24",
        "ecs": True,
        "name": "www.example.com.",
        "type": "A",
        "service": "www",
        "datacenter": "sin",
        "members": ("203.0.113.10",),
        "scope": 16,
        "rcode": "NOERROR",
        "truncated": False,
        "transport": "udp",
    }


def test_a_type_that_the_pool_does_not_have_has_no_datacenter() -> None:
    said = told("odd.example.com.", AAAA)
    assert (said["service"], said["datacenter"], said["members"], said["rcode"]) == (None, None, (), "NOERROR")
    said = told("www.example.com.", AAAA, client="129.0.0.0/24")
    assert (said["service"], said["datacenter"], said["members"]) == ("www", None, ())


def test_static_names_have_no_service() -> None:
    said = told("mail.example.com.")
    assert (said["service"], said["members"], said["scope"]) == (None, (), 0)


def test_a_fallback_that_answers_is_the_service() -> None:
    down: Health = {("odd", "ams", "192.0.2.50"): DOWN, ("odd", "sin", "203.0.113.50"): DOWN}
    assert told("odd.example.com.", health=down)["service"] == "even"


def test_addresses_of_the_last_resort_have_a_service_and_no_datacenter() -> None:
    down: Health = {("even", "ams", "192.0.2.40"): DOWN, ("even", "nyc", "198.51.100.40"): DOWN}
    said = told("even.example.com.", health=down)
    assert (said["service"], said["datacenter"], said["members"]) == ("even", None, ("192.0.2.99",))


def test_a_service_that_fails_is_named() -> None:
    said = told("loud.example.com.", health={("loud", "ams", "192.0.2.70"): DOWN})
    assert (said["rcode"], said["service"], said["members"]) == ("SERVFAIL", "loud", ())


def test_of_a_chain_the_last_service_is_named_with_the_longest_scope() -> None:
    said = told("alias.example.com.")
    assert (said["name"], said["service"], said["datacenter"]) == ("alias.example.com.", "www", "sin")
    said = told("cdn.example.com.", client="10.0.0.0/24")
    assert (said["service"], said["datacenter"], said["members"]) == ("cdn", "ams", ("edge.cdn.example.net.",))


def test_a_subnet_that_does_not_count_leaves_the_peer_with_scope_0() -> None:
    said = told("www.example.com.", peer="8.8.8.8")
    assert (said["client"], said["ecs"], said["scope"]) == ("8.8.8.0/24", False, 0)
    assert told("www.example.com.", peer="64.1.2.3", client="0.0.0.0/0")["client"] == "64.1.2.0/24"
    assert told("www.example.com.", client=None)["scope"] is None


# How little of a client is told


def client_of(text: str, length: int | None = None) -> Client:
    """A client by its subnet, or (without *length*) by its own address."""
    address = ip_address(text)
    if length is None:
        return 0, 0, 0, address.max_prefixlen, int(address)
    network = ip_network(f"{text}/{length}", strict=False)
    return network.max_prefixlen, int(network.network_address), length, 32, 0x7F000001


@settings(deadline=None)
@given(st.ip_addresses(), st.integers(0, 128), st.booleans(), st.integers(0, 32), st.integers(0, 128))
def test_never_more_bits_of_a_client_than_allowed(address: Any, length: int, by_subnet: bool, v4: int, v6: int) -> None:
    length = min(length, address.max_prefixlen)
    shown = ip_network(client_text(client_of(str(address), length if by_subnet else None), Prefixes(v4, v6)))
    assert address in shown
    assert shown.prefixlen <= (v4 if address.version == 4 else v6)
    assert not by_subnet or shown.prefixlen <= length


@settings(deadline=None)
@given(
    st.sampled_from(["::", "::ffff:0.0.0.0", "::ffff:0:0.0.0.0", "64:ff9b::", "2002::", "2001::"]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
def test_never_more_bits_of_an_ipv4_address_inside_an_ipv6_one(form: str, hidden: int, v4: int) -> None:
    """Two clients whose IPv4 addresses share the allowed bits look the same, wherever the rest of it stands."""
    base = int(IPv6Address(form))
    offset = 16 if form == "2002::" else 96
    # Teredo hides its client by inverting all bits
    place = (hidden ^ 0xFFFFFFFF if form == "2001::" else hidden) << 128 - 32 - offset
    other = (hidden ^ ((1 << 32 - v4) - 1)) << 128 - 32 - offset
    other = (hidden ^ 0xFFFFFFFF ^ ((1 << 32 - v4) - 1)) << 128 - 32 - offset if form == "2001::" else other
    assert unwrap(base | place) == (hidden, offset)
    texts = {client_text(client_of(str(IPv6Address(base | one))), Prefixes(v4, 128)) for one in (place, other)}
    assert len(texts) == 1


def test_the_line_is_the_same_whenever_it_is_asked_for() -> None:
    turn = turn_on(scene().snapshot, UDP, scene().settings)
    both = sample(turn, query_of("several.example.com."), peer_of("80.1.2.3"), 2**63 + 12345)
    assert both is not None
    before = list(turn.tally)
    assert len({write_line(both[0], USUAL) for _ in range(20)}) == 1
    assert list(turn.tally) == before, "deciding once more counts nothing"
