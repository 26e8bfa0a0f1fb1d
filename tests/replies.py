"""What a reply owes its query, and what a scenario's step expects of it, checked by an independent decoder.

Knows `query`, `client`, `expect` and `shares` of a step (docs/design/0001, "Tests") and dnspython. None of our own code
judges itself here. Knows nothing of files, configurations or how a transport carries a packet.
"""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Any, Protocol

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

GRID = 60  # cells per half of the draw; every total of weights in a step with `shares` must divide it
MASK = (1 << 64) - 1
HOP = 0xD1B54A32D192ED03  # added to the draw once per CNAME hop
PEER = "127.0.0.1"  # who asks where a step does not say


class Surprise(AssertionError):
    """Something else than the scenario expects."""


class Asker(Protocol):
    """One way to put a question."""

    exact: bool  # the draw and the peer are ours to choose

    def ask(self, query: bytes, peer: IPv4Address | IPv6Address, draw: int) -> bytes | None:
        """The reply to *query*; *draw* counts only where the transport is exact."""


def is_reachable(step: Mapping[str, Any]) -> bool:
    """Only loopback addresses can send a packet here, and only chance chooses the draw."""
    peer = ip_address(step.get("peer", PEER))
    return "draw" not in step and peer.is_loopback and (peer.version == 4 or speaks_ipv6())


@cache
def speaks_ipv6() -> bool:
    """Has this machine an IPv6 loopback? Some containers have none."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def ask(step: Mapping[str, Any], transport: Asker, draw: int) -> tuple[dns.message.Message, dns.message.Message]:
    """Put the step's question; returns (query, reply) after checking what every reply owes its query."""
    query = build_query(step)
    return query, read_reply(step, query, send(step, query.to_wire(), transport, draw))


def build_query(step: Mapping[str, Any]) -> dns.message.Message:
    """The question of a step."""
    name, rtype = step["query"].split()
    query = dns.message.make_query(name, rtype, use_edns=False, id=0x2B67)
    options: list[dns.edns.Option] = []
    if "client" in step:
        subnet = ip_interface(step["client"])
        options.append(dns.edns.ECSOption(str(subnet.ip), subnet.network.prefixlen, 0))
    if options or step.get("edns") == "yes":
        query.use_edns(0, payload=1232, options=options)
    return query


def send(step: Mapping[str, Any], query: bytes, transport: Asker, draw: int) -> bytes | None:
    """The octets that come back for *query* from the step's peer."""
    return transport.ask(query, ip_address(step.get("peer", PEER)), draw)


def read_reply(step: Mapping[str, Any], query: dns.message.Message, wire: bytes | None) -> dns.message.Message:
    """*wire* decoded, after checking what every reply owes its query."""
    if wire is None:
        raise Surprise(f"{step['query']}: no reply")
    reply = dns.message.from_wire(wire)
    _check_debts(query, reply)
    return reply


def _check_debts(query: dns.message.Message, reply: dns.message.Message) -> None:
    """RFC 1035 4.1.1, 6891 6.1.1 and 7, 7871 7.2.1: id, question, flags, OPT and ECS of any reply to *query*."""
    if reply.id != query.id or reply.question != query.question:
        raise Surprise(f"the reply answers another question: {reply.question}")
    if not reply.flags & dns.flags.QR or reply.flags & (dns.flags.RA | dns.flags.AD | dns.flags.CD):
        raise Surprise(f"flags {dns.flags.to_text(reply.flags)}")
    if (query.edns < 0) != (reply.edns < 0):
        raise Surprise("OPT only in " + ("the query" if reply.edns < 0 else "the reply"))
    asked, got = find_ecs(query), find_ecs(reply)
    if (asked is None) != (got is None):
        raise Surprise("client subnet only in " + ("the query" if got is None else "the reply"))
    if asked and got and (asked.family, asked.srclen, asked.addrdata) != (got.family, got.srclen, got.addrdata):
        raise Surprise(f"client subnet {got.to_text()} for {asked.to_text()}")
    for rrset in reply.answer:
        if rrset.rdtype in (dns.rdatatype.CNAME, dns.rdatatype.SOA) and len(rrset) > 1:
            raise Surprise(f"two {dns.rdatatype.to_text(rrset.rdtype)} at {rrset.name}")


def find_ecs(message: dns.message.Message) -> dns.edns.ECSOption | None:
    """The client subnet option of *message*; more than one is a Surprise."""
    found = [option for option in message.options if isinstance(option, dns.edns.ECSOption)]
    if len(found) > 1:
        raise Surprise("two client subnets")
    return found[0] if found else None


def list_records(section: list[dns.rrset.RRset]) -> list[str]:
    """Every record of *section* as ``owner TYPE rdata``, in the order of the message."""
    return [f"{r.name} {dns.rdatatype.to_text(r.rdtype)} {rdata}" for r in section for rdata in r]


def _full(items: list[str], owner: str) -> list[str]:
    """Items of an expectation as ``owner TYPE rdata``; ``rdata`` alone leaves owner and type open."""
    return [item if _is_full(item) else f"{owner} * {item}" for item in items]


def _is_full(item: str) -> bool:
    words = item.split()
    return len(words) > 2 and words[0].endswith(".") and words[1].isupper()


def _same(found: list[str], expected: list[str], owner: str) -> bool:
    """Do both hold the same records, in whatever order?"""
    wanted = Counter(_full(expected, owner))
    for record in found:
        name, _, rdata = record.split(" ", 2)
        keys = (record, f"{owner} * {rdata}" if name == owner else "")
        key = next((key for key in keys if wanted[key]), None)
        if key is None:
            return False
        wanted[key] -= 1
    return not +wanted


def check_reply(step: Mapping[str, Any], talk: tuple[dns.message.Message, dns.message.Message]) -> None:
    """Compare a reply with the step's `expect`."""
    query, reply = talk
    expect: Mapping[str, Any] = step["expect"]
    what = f"{step['query']} for {step.get('client', step.get('peer', 'anyone'))}"
    owner = query.question[0].name.to_text()
    rcode, found = dns.rcode.to_text(reply.rcode()), list_records(reply.answer)
    if rcode != expect.get("rcode", "NOERROR"):
        raise Surprise(f"{what}: {rcode}, expected {expect.get('rcode', 'NOERROR')}")
    if "answer" not in expect and "one_of" not in expect and "count" not in expect and rcode == "NOERROR":
        raise Surprise(f"{what}: the step does not say which answer it expects")
    if "answer" in expect and not _same(found, expect["answer"], owner):
        raise Surprise(f"{what}: answer {found}, expected {expect['answer']}")
    if "one_of" in expect and not any(_same(found, [item], owner) for item in expect["one_of"]):
        raise Surprise(f"{what}: answer {found}, expected one of {expect['one_of']}")
    if "count" in expect and (len(found), len(set(found))) != (int(expect["count"]),) * 2:
        raise Surprise(f"{what}: answer {found}, expected {expect['count']} different records")
    for label, value in (("aa", bool(reply.flags & dns.flags.AA)), ("scope", find_scope(reply))):
        if label in expect and str(value).lower() != expect[label]:
            raise Surprise(f"{what}: {label} {value}, expected {expect[label]}; answer {found}")
    _check_sections(what, expect, reply, owner)


def _check_sections(what: str, expect: Mapping[str, Any], reply: dns.message.Message, owner: str) -> None:
    """Authority, additional and TTLs. Without a word in *expect*: an SOA where there is no answer, else nothing."""
    authority, additional = list_records(reply.authority), list_records(reply.additional)
    if "authority" in expect:
        if not _same(authority, expect["authority"], owner):
            raise Surprise(f"{what}: authority {authority}, expected {expect['authority']}")
    else:
        final = reply.answer[-1].rdtype if reply.answer else None
        negative = reply.rcode() == dns.rcode.NXDOMAIN or (not reply.answer and reply.rcode() == dns.rcode.NOERROR)
        types = [rrset.rdtype for rrset in reply.authority]
        if types != ([dns.rdatatype.SOA] if negative else []) and not (final == dns.rdatatype.CNAME and types == [6]):
            raise Surprise(f"{what}: authority {authority} beside {dns.rcode.to_text(reply.rcode())} and {reply.answer}")
    if not _same(additional, expect.get("additional", []), owner):
        raise Surprise(f"{what}: additional {additional}, expected {expect.get('additional', [])}")
    for label, section in (("ttl", reply.answer), ("soa_ttl", reply.authority)):
        ttls = sorted({rrset.ttl for rrset in section})
        if label in expect and ttls != [int(expect[label])]:
            raise Surprise(f"{what}: {label} {ttls}, expected {expect[label]}")


def find_scope(reply: dns.message.Message) -> int | None:
    """The scope prefix length of *reply*; None without ECS."""
    ecs = find_ecs(reply)
    return None if ecs is None else ecs.scopelen


def check_shares(step: Mapping[str, Any], transport: Asker) -> None:
    """Compare the probability of each first record with the step's `shares`.

    Where the draw is ours, all cells of a grid over both halves of it are asked, so that the shares are exact as long as
    every total of weights divides the grid. Elsewhere only the set of records that may come is checked.
    """
    wanted = {record: Fraction(share).limit_denominator(100_000) for record, share in step["shares"].items()}
    found: Counter[str] = Counter()
    known: dict[bytes | None, str] = {}  # thousands of draws give a handful of replies: each is decoded once
    query = build_query(step)
    octets = query.to_wire()
    if not transport.exact:
        if not is_reachable(step):
            return
        draws: Iterator[int] = iter(range(8))
    else:
        draws = spread_draws(int(step.get("grid", GRID)), int(step.get("hop", "0")))
    for draw in draws:
        wire = send(step, octets, transport, draw)
        if wire not in known:
            known[wire] = find_drawn(read_reply(step, query, wire))
        found[known[wire]] += 1
    total = found.total()
    shares = {record: Fraction(count, total) for record, count in found.items()}
    if transport.exact and shares != wanted:
        text = {record: str(share) for record, share in shares.items()}
        raise Surprise(f"{step['query']}: shares {text}, expected { {r: str(s) for r, s in wanted.items()} }")
    if not set(shares) <= set(wanted):
        raise Surprise(f"{step['query']}: answers {sorted(shares)}, expected only {sorted(wanted)}")


def find_drawn(reply: dns.message.Message) -> str:
    """The rdata of the first record at the end of the chain: what the draw chose; ``nothing`` without an answer."""
    records = list_records(reply.answer)
    last = [record for record in records if record.split()[0] == records[-1].split()[0]]
    return last[0].split(" ", 2)[2] if last else "nothing"


def spread_draws(grid: int, hop: int = 0) -> Iterator[int]:
    """A draw from the middle of each of *grid* x *grid* cells of the word that CNAME hop *hop* sees."""
    half = [(2 * i + 1) * (1 << 32) // (2 * grid) for i in range(grid)]
    for high, low in itertools.product(half, half):
        word = high << 32 | low
        yield word if not hop else (unmix(word) - hop * HOP) & MASK


def unmix(word: int) -> int:
    """The number whose splitmix64 finaliser is *word*."""
    word = _unshift(word, 31)
    word = word * pow(0x94D049BB133111EB, -1, 1 << 64) & MASK
    word = _unshift(word, 27)
    word = word * pow(0xBF58476D1CE4E5B9, -1, 1 << 64) & MASK
    return _unshift(word, 30)


def _unshift(word: int, bits: int) -> int:
    """Undo x ^= x >> bits."""
    found = word
    for _ in range(64 // bits):
        found = word ^ (found >> bits)
    return found
