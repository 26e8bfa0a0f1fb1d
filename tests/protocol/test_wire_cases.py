"""The public wire cases (tests/data/wire-cases.yaml), each over the transports that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
import yaml
from tests.protocol.packets import COOKIE, ECS, Daemon, find_options, parse

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[1] / "data" / "wire-cases.yaml").read_text())["cases"]
COOKIES = {"p57", "p58", "p59", "p60", "p61"}  # wait for their feature
RUNS = [
    pytest.param(case, transport, id=f"{case['id']}-{transport}")
    for case in CASES
    for transport in ("udp", "tcp")
    if case["transport"] in ("any", transport)
]
RCODES = {"NOERROR", "FORMERR", "NXDOMAIN", "NOTIMP", "REFUSED", "NOTAUTH", "BADVERS", "BADCOOKIE"}


def allowed_rcodes(expect: str) -> set[str]:
    """The rcodes that the words of a case allow."""
    return RCODES.intersection(re.findall(r"\b[A-Z]+\b", expect))


@pytest.mark.parametrize(("case", "transport"), RUNS)
def test_wire_case(daemon: Daemon, case: dict[str, Any], transport: str) -> None:
    if case["id"] in COOKIES:
        pytest.skip("cookies are not built yet")
    packet = bytes.fromhex(case["packet"])
    check_case(case["expect"], packet, daemon.exchange(packet, transport))  # which also asks an ordinary question


def check_case(expect: str, packet: bytes, reply: bytes | None) -> None:
    """Compare *reply* with the words of a case."""
    if expect == "drop":
        assert reply is None
        return
    if reply is None:
        assert "drop" in expect
        return
    assert reply[:2] == packet[:2]
    assert reply[2] & 0x80
    assert reply[2] >> 3 & 15 == packet[2] >> 3 & 15
    message = parse(reply)
    assert dns.rcode.to_text(message.rcode()) in allowed_rcodes(expect)
    assert not message.flags & (dns.flags.AD | dns.flags.RA | 0x40)
    _check_words(expect, packet, message, reply)


def _check_words(expect: str, packet: bytes, message: dns.message.Message, reply: bytes) -> None:
    if "RD=1" in expect:
        assert message.flags & dns.flags.RD
    if " AA" in expect:
        assert message.flags & dns.flags.AA
    if "SOA" in expect:
        assert [rrset.rdtype for rrset in message.authority] == [6]
        assert message.authority[0].ttl <= message.authority[0][0].minimum
    if "no answer" in expect or "NXDOMAIN" in expect or message.rcode():
        assert not message.answer
    elif "NOERROR" in expect:
        assert message.answer
    if "all other sections empty" in expect:
        assert not message.authority
        assert not message.additional
    if "question intact" in expect:
        assert reply[12 : len(packet)] == packet[12:]
    if "no OPT" in expect:
        assert message.edns == -1
    elif "OPT" in expect.split("(", maxsplit=1)[0]:
        assert message.edns == 0
    if "DO=1" in expect:
        assert message.ednsflags & 0x8000
    if "flags 0" in expect:
        assert message.ednsflags & 0xFFFF == 0
    if "not sent back" in expect or "no keepalive" in expect:
        assert not message.options
    if "ECS with same" in expect:
        (sent,), (found,) = find_options(parse(packet), ECS), find_options(message, ECS)
        asked, got = sent.to_wire() or b"", found.to_wire() or b""
        assert got[:3] + got[4:] == asked[:3] + asked[4:]
    if "scope 0" in expect:
        (found,) = find_options(message, ECS)
        assert (found.to_wire() or b"")[3] == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("case", [case for case in CASES if case["id"] in {"p57", "p60"}], ids=lambda case: str(case["id"]))
def test_until_cookies_are_built_the_option_is_unknown(daemon: Daemon, case: dict[str, Any], transport: str) -> None:
    """RFC 7873 5.1: a server without cookies ignores the option, like any that it does not know."""
    reply = parse(daemon.exchange(bytes.fromhex(case["packet"]), transport))
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.answer
    assert not find_options(reply, COOKIE)


def test_every_case_is_run() -> None:
    assert len(CASES) == 63
    assert {case["id"] for case in CASES} == {f"p{number:02}" for number in range(1, 64)}
    assert all(allowed_rcodes(case["expect"]) or case["expect"] == "drop" for case in CASES)
