"""The dns probe: against servers that say right, wrong and senseless things, and dnspython as an independent writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.health.probes.servers import Talk, hang, make_target, probe_once, serving, unused_port

from geodns.errors import WireError
from geodns.health.probes.dns import Answer, read_answer
from geodns.health.state import Outcome, Verdict
from geodns.wire.stream import frame

Respond = Callable[[dns.message.Message], list[bytes]]
NAME = "www.example.com."


class Server(asyncio.DatagramProtocol):
    """Sends what `respond` returns for each query."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for octets in self.respond(dns.message.from_wire(data)):
            self.transport.sendto(octets, addr)


def over_tcp(respond: Respond) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        for octets in respond(dns.message.from_wire(await reader.readexactly(size))):
            writer.write(octets)
        writer.close()

    return talk


@asynccontextmanager
async def answering(respond: Respond, tcp: Talk, address: str) -> AsyncIterator[int]:
    """The two on one port."""
    async with serving(tcp, address) as port:
        make = asyncio.get_running_loop().create_datagram_endpoint(lambda: Server(respond), (address, port))
        transport, _ = await make
        yield port
        transport.close()


def ask(respond: Respond, tcp: Talk = hang, address: str = "127.0.0.1", **check: Any) -> Outcome:
    async def run() -> Outcome:
        async with answering(respond, tcp, address) as port:
            return await probe_once(make_target(address, port, type="dns", **({"name": NAME} | check)))

    return asyncio.run(run())


def write(query: dns.message.Message, *rdatas: str, rcode: int = 0, truncated: bool = False, rtype: str = "A") -> bytes:
    found = dns.message.make_response(query)
    found.set_rcode(dns.rcode.Rcode(rcode))
    if rcode > 15:
        found.use_edns(0, ednsflags=(rcode >> 4) << 24)
    if truncated:
        found.flags |= dns.flags.TC
    if rdatas:
        found.answer.append(dns.rrset.from_text(query.question[0].name, 30, "IN", rtype, *rdatas))
    return found.to_wire()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_question_is_asked_as_a_resolver_needs_it(address: str) -> None:
    seen: list[dns.message.Message] = []

    def respond(query: dns.message.Message) -> list[bytes]:
        seen.append(query)
        return [write(query, "2001:db8::1", rtype="AAAA")]

    outcome = ask(
        respond,
        address=address,
        qtype="aaaa",
    )
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.UP, True, "NOERROR, 2001:db8::1")
    assert seen[0].flags & dns.flags.RD
    assert seen[0].question[0].to_text() == f"{NAME} IN AAAA"


CASES: list[tuple[dict[str, Any], Respond, Verdict, str]] = [
    ({}, lambda q: [write(q)], Verdict.UP, "NOERROR, 0 records"),
    ({"qtype": "TXT"}, lambda q: [write(q, '"a"', rtype="TXT")], Verdict.UP, "NOERROR, 1 record"),
    ({}, lambda q: [write(q, rcode=2)], Verdict.DOWN, "SERVFAIL, expected NOERROR"),
    ({"expect": {"rcode": "NXDOMAIN"}}, lambda q: [write(q, rcode=3)], Verdict.UP, "NXDOMAIN, 0 records"),
    ({}, lambda q: [write(q, rcode=16)], Verdict.DOWN, "RCODE16, expected NOERROR"),
    ({"expect": {"address": "192.0.2.2"}}, lambda q: [write(q, "192.0.2.1", "192.0.2.2")], Verdict.UP, ""),
    (
        {"expect": {"address": ["192.0.2.2", "2001:DB8::0"]}},
        lambda q: [write(q, "192.0.2.1")],
        Verdict.DOWN,
        "answer 192.0.2.1, expected 192.0.2.2 or 2001:db8::",
    ),
    (
        {"expect": {"address": "192.0.2.2"}},
        lambda q: [write(q)],
        Verdict.DOWN,
        "answer without an address, expected 192.0.2.2",
    ),
    ({}, lambda q: [write(q)[:-5]], Verdict.DOWN, "a reply that cannot be read: "),
]


@pytest.mark.parametrize(("check", "respond", "verdict", "text"), CASES, ids=range(len(CASES)))
def test_a_reply_is_judged(check: dict[str, Any], respond: Respond, verdict: Verdict, text: str) -> None:
    outcome = ask(respond, **check)
    assert (outcome.verdict, outcome.seen) == (verdict, True)
    assert outcome.text.startswith(text)


def test_what_belongs_to_another_question_is_passed_over() -> None:
    def respond(query: dns.message.Message) -> list[bytes]:
        right = write(query, "192.0.2.1")
        wrong_id = bytes([right[0] ^ 1]) + right[1:]
        other = write(dns.message.make_query("other.example.com", "A", id=query.id), "192.0.2.9")
        return [b"", b"x" * 11, wrong_id, query.to_wire(), other, right]

    assert ask(respond).text == "NOERROR, 192.0.2.1"


def test_a_truncated_reply_is_asked_for_again_over_tcp() -> None:
    tcp = over_tcp(lambda query: [frame(write(query, "192.0.2.1"))])
    assert ask(lambda query: [write(query, truncated=True)], tcp).text == "NOERROR, 192.0.2.1"


@pytest.mark.parametrize(
    ("tcp", "text"),
    [
        (hang, "no reply within 0.2 s"),
        (over_tcp(lambda _: []), "connection closed without a reply"),
        (over_tcp(lambda _: [b"\0\x30abc"]), "connection closed without a reply"),
        (over_tcp(lambda _: [frame(b"x" * 30)]), "the reply over TCP belongs to another question"),
    ],
    ids=["hang", "close", "half", "other"],
)
def test_bad_replies_over_tcp(tcp: Talk, text: str) -> None:
    """Whoever said by UDP that it is there was seen."""
    outcome = ask(lambda query: [write(query, truncated=True)], tcp, timeout="200ms")
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, True, text)


def test_silence_is_not_seen_and_a_refusal_is() -> None:
    outcome = ask(lambda _: [], timeout="200ms", name="www.example.com")
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, False, "no reply within 0.2 s")
    assert outcome.seconds < 1.2
    outcome = asyncio.run(probe_once(make_target("127.0.0.1", unused_port(), type="dns", name=NAME)))
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, True, "connection refused")


def test_a_question_that_cannot_be_asked_is_our_fault() -> None:
    outcome = asyncio.run(probe_once(make_target("127.0.0.1", 53, type="dns", name=NAME, qtype="NOTHING")))
    assert outcome.verdict is Verdict.UNKNOWN and "NOTHING" in outcome.text


ADDRESSES = st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), max_size=5, unique=True)


@settings(deadline=None)
@given(ADDRESSES, st.integers(0, 4095), st.booleans())
def test_a_reply_says_what_an_independent_library_wrote(addresses: list[Any], rcode: int, chain: bool) -> None:
    found = dns.message.make_response(dns.message.make_query(NAME, "A", use_edns=True))
    found.use_edns(0, ednsflags=(rcode >> 4) << 24)
    found.set_rcode(dns.rcode.Rcode(rcode))
    if chain:
        found.answer.append(dns.rrset.from_text(NAME, 30, "IN", "CNAME", "other.example.com."))
    for address in addresses:
        owner = "other.example.com." if chain else NAME
        found.answer.append(dns.rrset.from_text(owner, 30, "IN", "A" if address.version == 4 else "AAAA", str(address)))
    found.additional.append(dns.rrset.from_text("ns.example.com.", 30, "IN", "A", "192.0.2.53"))  # not an answer
    assert read_answer(found.to_wire()) == Answer(rcode, len(addresses) + chain, tuple(map(str, addresses)))


WHOLE = write(dns.message.make_query(NAME, "A"), *(f"192.0.2.{i}" for i in range(20)))


@settings(deadline=None, max_examples=500)
@given(st.one_of(st.binary(max_size=80), st.tuples(st.integers(2, len(WHOLE)), st.binary(max_size=8))))
def test_never_another_exception_for_a_senseless_reply(what: bytes | tuple[int, bytes]) -> None:
    octets = what if isinstance(what, bytes) else WHOLE[: what[0]] + what[1] + WHOLE[what[0] + len(what[1]) :]
    with suppress(WireError):
        read_answer(octets)


def test_reading_grows_with_the_length_alone() -> None:
    """Pointers behind pointers, and 65535 records that are not there."""
    with pytest.raises(WireError):
        read_answer(b"\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff" + b"\xc0\x0c" * 30000)
    header = b"\0\0\x80\0\0\0\xff\xff\0\0\0\0"
    with pytest.raises(WireError, match="runs past the end"):
        read_answer(header + b"\0\0\1\0\1\0\0\0\0\0\0" * 5000)
