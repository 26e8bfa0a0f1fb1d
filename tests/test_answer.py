"""Query octets to reply octets, with dnspython as decoder: header, sections, chains, EDNS, client subnet, truncation."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
import yaml
from fuzz import fuzz_answer
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.snapshots import EMBEDDING, Small, make_pool, make_table, name, opt_of, peer_of, query_of, subnet_of

from geodns import metrics
from geodns.answer import TCP, UDP, Settings, Turn, _answer_rare, answer
from geodns.pick import hop_word, mix, pick_total
from geodns.snapshot import DEAD, SERVFAIL, Rrset, Snapshot
from geodns.wire.constants import AAAA, ANY, CNAME, MX, NS, SOA, TXT, A
from geodns.wire.message import BrokenQuery, parse_query
from geodns.wire.name import name_text
from geodns.wire.rdata import write_tail

DATA = Path(__file__).parent / "data"
NSID = b"\x00\x03\x00\x00"
Reply = dns.message.Message


def make_world() -> Snapshot:
    """The zone of the checklist's cases, and of the ones here."""
    v4 = {"128.0.0.0/1": "eu", "10.0.0.0/8": "peer"}
    table, _ = make_table(
        {"default": [0, 1], "eu": [1, 0]}, v4, {"2001:db8::/32": "eu"} | dict.fromkeys(EMBEDDING, "unwrap")
    )
    far, _ = make_table({"default": [0, 1], "eu": [1, 0]}, {"200.0.0.0/8": "eu"}, {})
    small = Small()
    www = small.service("www", table, {0: make_pool("192.0.2.1", "2001:db8::1"), 1: make_pool("192.0.2.2", "2001:db8::2")})
    two = small.service("two", table, {0: make_pool("192.0.2.1", ("192.0.2.9", 3)), 1: make_pool("192.0.2.2")}, answers=0)
    many = small.service("many", table, {i: make_pool(*(f"192.0.2.{k}" for k in range(1, 101))) for i in (0, 1)}, answers=0)
    fail = small.service("fail", table, {0: make_pool("192.0.2.1", rank=DEAD)}, all_down=SERVFAIL)
    cdn = small.service("cdn", far, {0: make_pool("www.z.test."), 1: make_pool("edge.other.test.")})
    drawn = small.service("drawn", far, {0: make_pool("h1.z.test.", "h2.z.test."), 1: make_pool("h1.z.test.")})
    four = small.service("four", far, {i: make_pool(*(f"192.0.2.{k}" for k in range(1, 5))) for i in (0, 1)})
    glue = {"ns.sub.z.test.": ["192.0.2.54", "2001:db8::54"]}
    long_glue = {f"ns{i}.{'x' * 50}.big.z.test.": [f"192.0.2.{i}", f"2001:db8::{i}"] for i in range(13)}
    zone = small.zone(
        "z.test.",
        {
            "www.z.test.": www, "two.z.test.": two, "many.z.test.": many, "fail.z.test.": fail, "cdn.z.test.": cdn,
            "drawn.z.test.": drawn, "h1.z.test.": four, "h2.z.test.": four, "*.w.z.test.": www,
            "txt.z.test.": {TXT: [b"\x01b", b"\x01a"]}, "mx.z.test.": {MX: [b"\x00\x0a" + name("www.z.test.")]},
            "alias.z.test.": {CNAME: [b"\x03CdN\x01z\x04test\x00"]}, "dead.z.test.": {CNAME: [name("no.z.test.")]},
            "nodata.z.test.": {CNAME: [name("txt.z.test.")]}, "out.z.test.": {CNAME: [name("a.other.test.")]},
            "down.z.test.": {CNAME: [name("a.sub.z.test.")]}, "a.ent.z.test.": {A: [b"\x01\x02\x03\x04"]},
            "bad.z.test.": {CNAME: [name("fail.z.test.")]}, "deep.z.test.": {CNAME: [name("no.n.z.test.")]},
            **{f"c{i}.z.test.": {CNAME: [name(f"c{i + 1}.z.test.")]} for i in range(12)},
            "c12.z.test.": {A: [b"\x01\x02\x03\x04"]},
            "l0.z.test.": {CNAME: [name("l1.z.test.")]}, "l1.z.test.": {CNAME: [name("l0.z.test.")]},
            "self.z.test.": {CNAME: [name("self.z.test.")]},
            "huge.z.test.": {TXT: [bytes((255,)) + bytes((k,)) * 255 for k in range(70)]},
            "monster.z.test.": {TXT: [bytes((255,)) + bytes((k,)) * 255 for k in range(256)]},
        },
        {"sub.z.test.": (["ns.sub.z.test.", "ns.other.test."], glue), "big.z.test.": (list(long_glue), long_glue)},
    )  # fmt: skip
    small.zone("n.z.test.", {}, parent=zone, negative_ttl=7)
    small.zone("example.test.", {"www.example.test.": www})
    return small.snapshot()


WORLD = make_world()
PEER = "20.0.0.1"


def turn_of(transport: int = UDP, **rules: Any) -> Turn:
    return turn_on(WORLD, transport, **rules)


def turn_on(snapshot: Snapshot, transport: int = UDP, **rules: Any) -> Turn:
    return Turn(snapshot, transport, Settings(**rules), 0.0, metrics.new_tally(len(snapshot.zones.pools)))


def ask(
    text: str,
    qtype: int = A,
    *,
    options: bytes | None = None,
    peer: str = PEER,
    draw: int = 0,
    turn: Turn | None = None,
    size: int = 1232,
    **rest: Any,
) -> Reply:
    """The reply, decoded; *options* not None: with an OPT."""
    opt = None if options is None else opt_of(options, size=size)
    wire = answer(turn or turn_of(), query_of(text, qtype, opt=opt, **rest), peer_of(peer), draw)
    assert wire is not None
    return dns.message.from_wire(wire)


def shown(reply: Reply) -> list[str]:
    """The answer section, a record a line."""
    return [f"{rrset.name} {rrset.ttl} {rdata.rdtype.name} {rdata}" for rrset in reply.answer for rdata in rrset]


def scope_of(reply: Reply) -> int | None:
    scopes = [option.scopelen for option in reply.options if isinstance(option, dns.edns.ECSOption)]
    assert len(scopes) <= 1
    return scopes[0] if scopes else None


# The public wire cases, in process. What may be answered in several ways is fixed here; None is silence.

EXPECTED: Mapping[str, int | None] = {
    **dict.fromkeys(("p05", "p06", "p17"), None),
    **dict.fromkeys(("p07", "p08", "p09", "p33", "p34"), dns.rcode.NOTIMP),
    **dict.fromkeys(("p10", "p11", "p12", "p13", "p14", "p15", "p16", "p18", "p19", "p20", "p21", "p22"), dns.rcode.FORMERR),
    **dict.fromkeys(("p23", "p24", "p25", "p62", "p63"), dns.rcode.NXDOMAIN),
    **dict.fromkeys(("p27", "p28", "p31", "p32", "p35", "p36"), dns.rcode.REFUSED),
    **dict.fromkeys(("p39", "p40"), dns.rcode.BADVERS),
    **dict.fromkeys(("p44", "p45", "p46", "p53", "p54", "p55", "p56", "p61"), dns.rcode.FORMERR),
}  # cookies (p57 to p60) are unknown options today, and passed over; p61 asks nothing but a cookie
CASES = yaml.safe_load((DATA / "wire-cases.yaml").read_text())["cases"]


@pytest.mark.parametrize("transport", [UDP, TCP])
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_wire_case(case: dict[str, str], transport: int) -> None:
    packet, turn = bytes.fromhex(case["packet"]), turn_of(transport)
    reply = answer(turn, packet, peer_of(PEER), 0)
    expected = EXPECTED.get(case["id"], dns.rcode.NOERROR)
    if expected is None:
        assert reply is None
        return
    assert reply is not None
    opcode = packet[2] >> 3 & 15
    message = dns.message.from_wire(reply[:2] + bytes((reply[2] & 0x87,)) + reply[3:])
    assert (message.rcode(), reply[2] >> 3 & 15) == (expected, opcode)
    assert answer(turn, bytes.fromhex(CASES[0]["packet"]), peer_of(PEER), 0) is not None


def test_wire_cases_are_all_here() -> None:
    assert len(CASES) == 63


@pytest.mark.parametrize("path", sorted((DATA / "dns-packets" / "c-ares").iterdir()), ids=lambda path: path.name[:8])
def test_packets_that_once_were_fuzzing_seeds(path: Path) -> None:
    packet, turn = path.read_bytes(), turn_of()
    if len(packet) < 12:
        assert answer(turn, packet, peer_of(PEER), 0) is None
        return
    assert answer(turn, packet[:2] + bytes((packet[2] | 0x80,)) + packet[3:], peer_of(PEER), 0) is None
    query = packet[:2] + bytes((packet[2] & 0x7F,)) + packet[3:]
    assert fuzz_answer.find_fault(turn, query, peer_of(PEER), 0) is None


def test_fuzz_for_a_moment() -> None:
    assert fuzz_answer.run(6_000, 1, Path("no corpus")) == []


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([4, 16]), st.integers(0, 2**64 - 1))
def test_the_plain_way_never_differs_from_the_full_one(seed: int, size: int, draw: int) -> None:
    """Replies and counters alike: the shortcut is only a shortcut."""
    chance = random.Random(seed)
    query, peer = fuzz_answer.make_query(chance), chance.randbytes(size)
    for transport in (UDP, TCP):
        one, other = turn_of(transport), turn_of(transport)
        assert answer(one, query, peer, draw) == _answer_rare(other, query, peer, draw)
        assert one.tally == other.tally


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**64 - 1))
def test_no_answer_ever_depends_on_how_often_it_is_asked(seed: int, draw: int) -> None:
    query, turn = fuzz_answer.make_query(random.Random(seed)), turn_of()
    first = answer(turn, query, peer_of(PEER), draw)
    for other in (query_of("www.z.test."), query_of("two.z.test."), query):
        answer(turn, other, peer_of(PEER), mix(draw))
    assert answer(turn, query, peer_of(PEER), draw) == first


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_case_never_matters_but_is_kept(seed: int, wide: bool) -> None:
    """RFC 4343: the reply is the same but for the letters of the question."""
    query = fuzz_answer.make_query(random.Random(seed))
    turn, size = turn_of(), 16 if wide else 4
    try:
        end = parse_query(query)[2]
    except BrokenQuery:
        return
    lower = query[:12] + query[12 : end - 4].lower() + query[end - 4 :]
    one, other = answer(turn, query, bytes(size), 7), answer(turn, lower, bytes(size), 7)
    if one is not None and other is not None and one[4:6] == b"\x00\x01":
        assert one[12 : end - 4] == query[12 : end - 4]
        assert one[:12] + one[end - 4 :] == other[:12] + other[end - 4 :]
    else:
        assert one == other


def test_H1_H3_id_and_rd_come_back_and_nothing_else_does() -> None:
    for flags in (0, 0x0100, 0x0130, 0x07F0):
        wire = answer(turn_of(), query_of("www.z.test.", ident=0xBEEF, flags=flags), peer_of(PEER), 0)
        assert wire is not None
        assert wire[:4] == b"\xbe\xef" + (0x8400 | flags & 0x0100).to_bytes(2, "big")


def test_H16_too_short_and_H2_replies_are_dropped() -> None:
    turn = turn_of()
    for packet in (b"", b"x" * 11, query_of("www.z.test.", flags=0x8180)):
        assert answer(turn, packet, peer_of(PEER), 0) is None
    assert (turn.tally[metrics.DROPPED_SHORT], turn.tally[metrics.DROPPED_RESPONSE]) == (2, 1)


def test_H9_other_opcodes_are_notimp_with_what_could_be_read() -> None:
    turn = turn_of()
    reply = answer(turn, query_of("www.z.test.", flags=0x4900, opt=opt_of(flags=0x8000)), peer_of(PEER), 0)
    assert reply is not None
    message = dns.message.from_wire(reply)
    assert (message.rcode(), int(message.opcode()), len(message.question), message.edns) == (4, 9, 1, 0)
    assert message.ednsflags & dns.flags.DO
    header = answer(turn, b"\x2b\x67\x60\x00" + bytes(8), peer_of(PEER), 0)
    assert header == b"\x2b\x67\xe0\x04" + bytes(8)
    cut = answer(turn, query_of("www.z.test.", flags=0x4800)[:-2], peer_of(PEER), 0)
    assert cut is not None
    assert cut[3] & 15 == 4


def test_H4_aa_for_what_is_ours_and_not_for_what_is_not() -> None:
    for text, aa in (("www", True), ("no", True), ("txt", True), ("a.sub", False), ("down", True), ("out", True)):
        assert bool(ask(text + ".z.test.").flags & dns.flags.AA) == aa, text
    assert not ask("other.test.").flags & dns.flags.AA
    assert not ask("fail.z.test.").flags & dns.flags.AA


def test_an_answer_has_the_record_and_nothing_else() -> None:
    reply = ask("www.z.test.")
    assert shown(reply) == ["www.z.test. 60 A 192.0.2.1"]
    assert (reply.authority, reply.additional) == ([], [])


def test_static_records_keep_their_order() -> None:
    wire = answer(turn_of(), query_of("txt.z.test.", TXT), peer_of(PEER), 0)
    assert wire is not None
    assert wire.index(b"\x01b") < wire.index(b"\x01a")
    assert wire.count(b"\xc0\x0c") == 2


def test_all_records_come_in_the_order_drawn() -> None:
    firsts = set()
    for draw in (0, 2**32 - 1):
        wire = answer(turn_of(), query_of("two.z.test."), peer_of(PEER), draw)
        assert wire is not None
        assert len(dns.message.from_wire(wire).answer[0]) == 2
        firsts.add(wire[wire.index(b"\xc0\x0c") + 12 :][:4])
    assert firsts == {b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x09"}


@pytest.mark.parametrize(
    ("text", "qtype", "rcode", "soa", "ttl"),
    [
        ("no.z.test.", A, 3, "z.test.", 60),
        ("x.y.no.z.test.", A, 3, "z.test.", 60),
        ("www.z.test.", TXT, 0, "z.test.", 60),
        ("ent.z.test.", A, 0, "z.test.", 60),
        ("x.w.z.test.", MX, 0, "z.test.", 60),
        ("no.n.z.test.", A, 3, "n.z.test.", 7),
        ("n.z.test.", 43, 0, "z.test.", 60),
        ("z.test.", 43, 0, "z.test.", 60),
        ("z.test.", 1234, 0, "z.test.", 60),
    ],
)
def test_negative_answers_carry_the_zones_soa(text: str, qtype: int, rcode: int, soa: str, ttl: int) -> None:
    reply = ask(text, qtype)
    assert (reply.rcode(), reply.answer, reply.additional) == (rcode, [], [])
    assert [(str(r.name), r.rdtype, r.ttl) for r in reply.authority] == [(soa, SOA, ttl)]


def test_refused_and_servfail_are_empty() -> None:
    for text, qtype, rcode in (("www.other.test.", A, 5), ("z.test.", 252, 5), ("z.test.", 251, 5), ("fail.z.test.", A, 2)):
        reply = ask(text, qtype, options=subnet_of("20.0.0.0/8"))
        assert (reply.rcode(), reply.answer, reply.authority, reply.additional) == (rcode, [], [], [])
        assert reply.edns == 0
    assert ask("www.z.test.", qclass=3).rcode() == 5


def test_a_wildcard_answers_with_the_owner_asked() -> None:
    reply = ask("A.b.W.z.test.")
    assert str(reply.answer[0].name) == "A.b.W.z.test."


def test_Z18_any_is_small() -> None:
    assert shown(ask("www.z.test.", ANY)) == ['www.z.test. 3600 HINFO "RFC8482" ""']
    assert shown(ask("cdn.z.test.", ANY)) == ["cdn.z.test. 60 CNAME www.z.test."]
    assert ask("no.z.test.", ANY).rcode() == 3


def test_Z7_a_chain_is_followed_inside_our_zones() -> None:
    assert shown(ask("alias.z.test.")) == [
        "alias.z.test. 300 CNAME CdN.z.test.",
        "CdN.z.test. 60 CNAME www.z.test.",  # a pointer to the target as it is written
        "www.z.test. 60 A 192.0.2.1",
    ]


def test_Z9_the_rcode_is_that_of_the_end() -> None:
    for text, rcode, authority in (
        ("dead", 3, ["z.test."]),
        ("nodata", 0, ["z.test."]),
        ("out", 0, []),
        ("deep", 3, ["n.z.test."]),
    ):
        reply = ask(text + ".z.test.", AAAA)
        assert (reply.rcode(), len(reply.answer)) == (rcode, 1)
        assert [str(rrset.name) for rrset in reply.authority] == authority
    assert ask("bad.z.test.").rcode() == 2


def test_Z10_loops_and_long_chains_give_what_was_collected() -> None:
    for text, links in (("self.z.test.", 1), ("l0.z.test.", 2)):
        wire = answer(turn_of(), query_of(text), peer_of(PEER), 0)
        assert wire is not None
        assert wire[4:12] == b"\x00\x01\x00" + bytes((links,)) + bytes(4)  # dnspython would hide a record that comes twice
        assert len(dns.message.from_wire(wire).answer) == links
    assert len(ask("c0.z.test.").answer) == 8  # twelve links: eight are given, no end
    assert ask("c0.z.test.").authority == []
    assert len(ask("c4.z.test.").answer) == 9  # eight links and the address


def test_a_chain_that_leads_below_a_cut_ends_in_a_referral() -> None:
    reply = ask("down.z.test.")
    assert (len(reply.answer), [str(r.name) for r in reply.authority], len(reply.additional)) == (1, ["sub.z.test."], 2)
    assert reply.flags & dns.flags.AA


def test_cname_itself_is_not_followed() -> None:
    assert shown(ask("alias.z.test.", CNAME)) == ["alias.z.test. 300 CNAME CdN.z.test."]


def test_each_hop_has_a_word_of_its_own() -> None:
    for draw in map(mix, range(40)):
        target, address = shown(ask("drawn.z.test.", draw=draw))
        assert target.endswith(f"h{pick_total((1, 2), draw & 0xFFFFFFFF) + 1}.z.test.")
        assert address.endswith(f"192.0.2.{pick_total((1, 2, 3, 4), hop_word(draw, 1) & 0xFFFFFFFF) + 1}")


def test_the_longest_scope_of_a_chain_counts() -> None:
    """cdn's table splits at 200.0.0.0/8, www's at 128.0.0.0/1."""
    assert scope_of(ask("cdn.z.test.", options=subnet_of("201.0.0.0/8"))) == 8
    assert scope_of(ask("alias.z.test.", options=subnet_of("201.0.0.0/8"))) == 8
    assert scope_of(ask("alias.z.test.", MX, options=subnet_of("201.0.0.0/8"))) == 8  # the end is negative


def test_Z11_below_a_cut_the_delegation_and_its_glue() -> None:
    for text in ("sub.z.test.", "a.b.sub.z.test.", "ns.sub.z.test."):
        reply = ask(text)
        assert (reply.rcode(), reply.answer, bool(reply.flags & dns.flags.AA)) == (0, [], False)
        assert [str(r.name) for r in reply.authority] == ["sub.z.test."]
        assert sorted(str(rdata) for rdata in reply.authority[0]) == ["ns.other.test.", "ns.sub.z.test."]
        assert [(str(r.name), str(r[0])) for r in reply.additional] == [
            ("ns.sub.z.test.", "192.0.2.54"),
            ("ns.sub.z.test.", "2001:db8::54"),
        ]


def test_Z11_glue_that_does_not_fit_sets_tc() -> None:
    reply = ask("a.big.z.test.")
    assert reply.flags & dns.flags.TC
    assert (reply.authority, reply.additional) == ([], [])
    whole = ask("a.big.z.test.", turn=turn_of(TCP))
    assert (len(whole.authority[0]), sum(map(len, whole.additional))) == (13, 26)


def test_E1_E2_opt_comes_back_only_to_those_who_sent_one() -> None:
    for text, qtype in (
        ("www.z.test.", A),
        ("no.z.test.", A),
        ("other.test.", A),
        ("a.sub.z.test.", A),
        ("many.z.test.", A),
    ):
        assert ask(text, qtype).edns < 0
        reply = ask(text, qtype, options=b"", size=512)
        assert (reply.edns, reply.payload) == (0, 1232)


def test_E3_version_1_is_badvers_before_options_are_looked_at() -> None:
    wire = answer(turn_of(), query_of("www.z.test.", opt=opt_of(b"\x00\x64\xff", flags=0x18000)), peer_of(PEER), 0)
    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert (reply.rcode(), reply.edns, reply.answer) == (dns.rcode.BADVERS, 0, [])
    assert reply.ednsflags & dns.flags.DO


def test_E6_do_is_copied_and_E5_nothing_else() -> None:
    for flags in (0x8000, 0x0000, 0x7FFF, 0xFFFF):
        wire = answer(turn_of(), query_of("no.z.test.", opt=opt_of(flags=flags)), peer_of(PEER), 0)
        assert wire is not None
        assert dns.message.from_wire(wire).ednsflags == flags & 0x8000


def test_E8_a_broken_opt_is_formerr_with_opt() -> None:
    reply = ask("www.z.test.", options=b"\x00\x03\x00\x10\xaa")
    assert (reply.rcode(), reply.edns, len(reply.question)) == (1, 0, 1)


def test_E16_nsid_only_when_asked_and_only_if_there_is_one() -> None:
    def nsids(reply: Reply) -> list[Any]:
        return [option.to_wire() for option in reply.options]

    assert nsids(ask("www.z.test.", options=NSID, turn=turn_of(nsid=b"ams1"))) == [b"ams1"]
    assert nsids(ask("www.z.test.", options=b"\x00\x03\x00\x02xy", turn=turn_of(nsid=b"ams1"))) == [b"ams1"]
    assert nsids(ask("www.z.test.", options=b"", turn=turn_of(nsid=b"ams1"))) == []
    assert nsids(ask("www.z.test.", options=NSID)) == []


def test_options_come_back_in_a_fixed_order() -> None:
    for options in (NSID + subnet_of("20.0.0.0/8"), subnet_of("20.0.0.0/8") + NSID):
        reply = ask("www.z.test.", options=options, turn=turn_of(nsid=b"ams1"))
        assert [int(option.otype) for option in reply.options] == [8, 3]


@pytest.mark.parametrize(("size", "limit"), [(None, 512), (0, 512), (100, 512), (512, 512), (1000, 1000), (4096, 1232)])
def test_E10_E11_E13_udp_replies_fit_or_are_emptied(size: int | None, limit: int) -> None:
    for text, qtype in (("many.z.test.", A), ("huge.z.test.", TXT)):
        opt = None if size is None else opt_of(size=size)
        wire = answer(turn_of(), query_of(text, qtype, opt=opt), peer_of(PEER), 0)
        assert wire is not None
        assert len(wire) <= limit
        reply = dns.message.from_wire(wire)
        assert reply.flags & dns.flags.TC
        assert (reply.answer, reply.authority, len(reply.question)) == ([], [], 1)
        assert (reply.edns < 0) == (size is None)


def test_E15_over_tcp_the_size_limits_nothing() -> None:
    turn = turn_of(TCP)
    assert len(ask("many.z.test.", turn=turn, options=b"", size=512).answer[0]) == 100
    assert len(ask("huge.z.test.", TXT, turn=turn).answer[0]) == 70
    assert ask("monster.z.test.", TXT, turn=turn).flags & dns.flags.TC  # more than 65,535 octets fit nowhere


def test_what_just_fits_is_not_truncated() -> None:
    wire = answer(turn_of(TCP), query_of("many.z.test.", opt=opt_of()), peer_of(PEER), 0)
    assert wire is not None
    for size, whole in ((len(wire), True), (len(wire) - 1, False)):
        reply = ask("many.z.test.", options=b"", size=size, turn=turn_of(udp_size=4096))
        assert bool(reply.flags & dns.flags.TC) != whole


def test_E10_a_size_below_512_leaves_room_for_what_512_has_room_for() -> None:
    reply = ask("many.z.test.", options=NSID, size=100, turn=turn_of(nsid=b"n" * 90))
    assert (len(reply.options), bool(reply.flags & dns.flags.TC)) == (1, True)


def test_an_nsid_that_does_not_fit_is_left_out() -> None:
    text = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 53]) + ".z.test."
    reply = ask(text, options=NSID, size=512, turn=turn_of(nsid=b"n" * 250))
    assert reply.flags & dns.flags.TC
    assert (reply.edns, len(reply.options), reply.rcode()) == (0, 0, 3)


@pytest.mark.parametrize(
    ("text", "qtype", "subnet", "scope"),
    [
        ("www.z.test.", A, "20.1.0.0/16", 4),
        ("www.z.test.", A, "200.1.0.0/16", 1),
        ("www.z.test.", A, "10.1.0.0/16", 8),
        ("www.z.test.", A, "2001:db8:1::/48", 32),
        ("www.z.test.", A, "2002:c801::/32", 17),
        ("www.z.test.", TXT, "20.1.0.0/16", 0),
        ("txt.z.test.", TXT, "20.1.0.0/16", 0),
        ("mx.z.test.", MX, "20.1.0.0/16", 0),
        ("no.z.test.", A, "20.1.0.0/16", 0),
        ("a.sub.z.test.", A, "20.1.0.0/16", 0),
        ("other.test.", A, "20.1.0.0/16", 0),
        ("x.w.z.test.", A, "20.1.0.0/16", 4),
        ("fail.z.test.", A, "20.1.0.0/16", 4),
    ],
)
def test_S2_the_subnet_comes_back_with_its_scope(text: str, qtype: int, subnet: str, scope: int) -> None:
    reply = ask(text, qtype, options=subnet_of(subnet))
    option = next(option for option in reply.options if isinstance(option, dns.edns.ECSOption))
    assert (ip_network((option.address, option.srclen)), option.scopelen) == (ip_network(subnet), scope)


def test_S1_no_subnet_in_none_out() -> None:
    assert scope_of(ask("www.z.test.", options=b"")) is None
    assert shown(ask("www.z.test.", peer="200.0.0.1")) == ["www.z.test. 60 A 192.0.2.2"]


def test_S5_privacy_the_peer_decides_and_the_scope_is_0() -> None:
    for subnet in ("0.0.0.0/0", "::/0"):
        reply = ask("www.z.test.", options=subnet_of(subnet), peer="200.0.0.1")
        assert (shown(reply), scope_of(reply)) == (["www.z.test. 60 A 192.0.2.2"], 0)
        assert scope_of(ask("cdn.z.test.", options=subnet_of(subnet))) == 0


@pytest.mark.parametrize(
    ("believed", "peer", "scope"),
    [
        (True, "20.0.0.1", 1),
        (False, "20.0.0.1", 0),
        ((ip_network("20.0.0.0/8"), ip_network("2001:db8::/32")), "20.255.0.1", 1),
        ((ip_network("20.0.0.0/8"), ip_network("2001:db8::/32")), "2001:db8::1", 1),
        ((ip_network("20.0.0.0/8"), ip_network("2001:db8::/32")), "21.0.0.1", 0),
        ((ip_network("20.0.0.0/8"),), "::1", 0),
        ((ip_network("0.0.0.0/0"),), "1.2.3.4", 1),
        ((ip_network("0.0.0.0/0"),), "::1", 0),
    ],
)
def test_S14_only_those_who_are_believed_may_speak_for_others(
    believed: bool | tuple[IPv4Network | IPv6Network, ...], peer: str, scope: int
) -> None:
    reply = ask("www.z.test.", options=subnet_of("200.0.0.0/8"), peer=peer, turn=turn_of(client_subnet=believed))
    assert scope_of(reply) == scope
    assert shown(reply) == [f"www.z.test. 60 A 192.0.2.{2 if scope else 1}"]


def test_a_malformed_subnet_is_formerr_whoever_sends_it() -> None:
    for rules in ({}, {"client_subnet": False}):
        reply = ask("www.z.test.", options=subnet_of("20.0.0.0/8")[:-1] + b"\x00\x00", turn=turn_of(**rules))
        assert (reply.rcode(), reply.edns, len(reply.options)) == (1, 0, 0)


def octets_of(text: str, qtype: int = A, transport: int = UDP) -> bytes:
    wire = answer(turn_of(transport), query_of(text, qtype), peer_of(PEER), 0)
    assert wire is not None
    return wire[12 + len(name(text)) + 4 :]


def test_the_owners_of_a_chain_point_at_the_target_before() -> None:
    rest = octets_of("alias.z.test.")
    first = 12 + len(name("alias.z.test.")) + 4 + 12  # header, question, owner and tail up to the rdata
    second = first + len(name("cdn.z.test.")) + 12
    assert rest.startswith(b"\xc0\x0c\x00\x05")
    assert rest.count((0xC000 | first).to_bytes(2, "big") + b"\x00\x05") == 1
    assert rest.count((0xC000 | second).to_bytes(2, "big") + b"\x00\x01") == 1


def test_the_owner_of_an_soa_points_at_the_suffix_of_the_name() -> None:
    assert octets_of("no.z.test.").startswith(b"\xc0\x0f\x00\x06")
    dead = octets_of("dead.z.test.")
    target = 12 + len(name("dead.z.test.")) + 4 + 12
    assert (0xC000 | target + 3).to_bytes(2, "big") + b"\x00\x06" in dead


def test_the_owners_of_glue_point_at_the_name_server() -> None:
    rest = octets_of("a.sub.z.test.")
    at = 12 + len(name("a.sub.z.test.")) + 4 + 12
    assert rest.startswith(b"\xc0\x0e\x00\x02")
    assert rest.count((0xC000 | at).to_bytes(2, "big") + b"\x00\x01") == 1
    assert rest.count((0xC000 | at).to_bytes(2, "big") + b"\x00\x1c") == 1


def test_glue_points_at_a_name_server_however_it_is_spelt() -> None:
    small = Small()
    small.zone("z.test.", {}, {"sub.z.test.": (["ns.sub.z.test."], {"ns.sub.z.test.": ["192.0.2.54"]})})
    for owner, node in list(small.nodes.items()):
        if node.cut is not None:
            ns = Rrset(NS, (write_tail(NS, 300, b"\x02Ns\x03SUB\x01z\x04test\x00"),))
            small.nodes[owner] = replace(node, cut=replace(node.cut, ns=ns))
    turn = turn_on(small.snapshot())
    wire = answer(turn, query_of("sub.z.test."), peer_of(PEER), 0)
    assert wire is not None
    assert wire.count(b"\x02ns\x03sub") == 0
    assert str(dns.message.from_wire(wire).additional[0].name) == "Ns.SUB.z.test."


def test_names_beyond_the_reach_of_a_pointer_are_written_in_full() -> None:
    servers = [f"ns{i}." + ".".join(["x" * 60] * 3) + ".big.z.test." for i in range(100)]
    small = Small()
    small.zone("z.test.", {}, {"big.z.test.": (servers, {server: ["192.0.2.1"] for server in servers})})
    turn = turn_on(small.snapshot(), TCP)
    wire = answer(turn, query_of("a.big.z.test."), peer_of(PEER), 0)
    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert sorted(str(r.name) for r in reply.additional) == sorted(servers)
    assert wire.count(name(servers[-1])) == 2  # once as rdata, once as owner
    assert wire.count(name(servers[0])) == 1


def test_the_root_is_written_as_it_is() -> None:
    small = Small()
    small.zone(".", {"www.": {A: [b"\x01\x02\x03\x04"]}})
    turn = turn_on(small.snapshot())
    for text, qtype, rcode in (("no.", A, 3), (".", A, 0), ("www.", TXT, 0), (".", NS, 0)):
        wire = answer(turn, query_of(text, qtype), peer_of(PEER), 0)
        assert wire is not None
        reply = dns.message.from_wire(wire)
        assert reply.rcode() == rcode
        assert [str(r.name) for r in reply.authority] == ([] if qtype == NS else ["."])


def counted(turn: Turn) -> dict[tuple[str, str, str, str, str], int]:
    """What the blocks hold: (zone, transport, family, subnet, rcode) to how many."""
    blocks = {"none": metrics.NO_ZONE, "other": metrics.OTHER_ZONES}
    blocks |= {name_text(zone.apex): metrics.ZONES + zone.number * metrics.BLOCK for zone in turn.snapshot.zones.zones}
    return {
        (zone, *labels): count
        for zone, first in blocks.items()
        for labels, count in zip(metrics.LABELS, turn.tally[first : first + metrics.BLOCK], strict=True)
        if count
    }


def chosen(turn: Turn) -> dict[int, int]:
    """How often each pool was counted."""
    return {number: count for number, count in enumerate(turn.tally[metrics.POOLS :]) if count}


def test_every_reply_is_counted_once() -> None:
    turn, replies, rng = turn_of(), 0, random.Random(3)
    for packet in fuzz_answer.packets(2_000, 5):
        replies += answer(turn, packet, peer_of(PEER), rng.getrandbits(64)) is not None
    dropped = turn.tally[metrics.DROPPED_SHORT] + turn.tally[metrics.DROPPED_RESPONSE]
    assert (sum(counted(turn).values()), replies + dropped) == (replies, 2_000)
    assert replies > 1000


@pytest.mark.parametrize(
    ("transport", "qname", "qtype", "options", "labels"),
    [
        (UDP, "no.z.test.", A, None, ("z.test.", "udp", "A", "none", "NXDOMAIN")),
        (TCP, "no.n.z.test.", AAAA, b"", ("n.z.test.", "tcp", "AAAA", "none", "NXDOMAIN")),
        (UDP, "no.z.test.", MX, subnet_of("20.0.0.0/8"), ("z.test.", "udp", "other", "used", "NXDOMAIN")),
        (TCP, "www.z.test.", A, subnet_of("0.0.0.0/0"), ("z.test.", "tcp", "A", "unused", "NOERROR")),
        (UDP, "www.example.test.", A, None, ("example.test.", "udp", "A", "none", "NOERROR")),
        (UDP, "txt.z.test.", A, None, ("z.test.", "udp", "A", "none", "NOERROR")),  # NODATA
        (UDP, "a.sub.z.test.", A, None, ("z.test.", "udp", "A", "none", "NOERROR")),  # a referral
        (UDP, "fail.z.test.", A, None, ("z.test.", "udp", "A", "none", "SERVFAIL")),
        (UDP, "bad.z.test.", A, None, ("z.test.", "udp", "A", "none", "SERVFAIL")),  # at the end of a chain
        (UDP, "deep.z.test.", A, None, ("z.test.", "udp", "A", "none", "NXDOMAIN")),  # which lies in n.z.test
        (UDP, "out.z.test.", AAAA, None, ("z.test.", "udp", "AAAA", "none", "NOERROR")),
        (UDP, "elsewhere.test.", A, subnet_of("20.0.0.0/8"), ("none", "udp", "A", "used", "REFUSED")),
        (TCP, "z.test.", 252, None, ("none", "tcp", "other", "none", "REFUSED")),  # AXFR
    ],
)
def test_replies_are_counted_by_zone_transport_type_subnet_and_rcode(
    transport: int, qname: str, qtype: int, options: bytes | None, labels: tuple[str, ...]
) -> None:
    """The zone is that of the name asked, also where a chain leads out of it."""
    turn = turn_of(transport)
    ask(qname, qtype, options=options, turn=turn)
    assert counted(turn) == {labels: 1}


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (query_of("www.z.test.", opt=opt_of(flags=0x10000)), "BADVERS"),
        (query_of("www.z.test.", flags=0x2000), "NOTIMP"),
        (query_of("www.z.test.") + b"?", "FORMERR"),
    ],
    ids=["BADVERS", "NOTIMP", "FORMERR"],
)
def test_errors_are_counted_with_no_zone(packet: bytes, rcode: str) -> None:
    turn = turn_of()
    answer(turn, packet, peer_of(PEER), 0)
    assert counted(turn) == {("none", "udp", "other", "none", rcode): 1}


def test_truncation_is_counted() -> None:
    turn = turn_of()
    answer(turn, query_of("many.z.test."), peer_of(PEER), 0)
    answer(turn, query_of("www.z.test."), peer_of(PEER), 0)
    assert turn.tally[metrics.TRUNCATED] == 1


def test_every_pool_with_a_record_in_the_reply_is_counted() -> None:
    turn, services = turn_of(), {service.name: service for service in WORLD.zones.services}

    def pool(service: str, datacenter: int) -> int:
        return services[service].pool_of[datacenter]

    ask("www.z.test.", peer=PEER, turn=turn)
    ask("txt.z.test.", TXT, turn=turn)
    assert chosen(turn) == {pool("www", 0): 1}, "static records come from no pool"
    ask("www.z.test.", peer="200.0.0.1", turn=turn)
    assert chosen(turn) == {pool("www", 0): 1, pool("www", 1): 1}
    before = turn_of()
    ask("cdn.z.test.", peer=PEER, turn=before)
    assert chosen(before) == {pool("cdn", 0): 1, pool("www", 0): 1}, "a target of ours: both have a record in the reply"
    alias = turn_of()
    ask("alias.z.test.", peer="200.0.0.1", turn=alias)
    assert chosen(alias) == {pool("cdn", 1): 1}, "a target elsewhere"
    failed = turn_of()
    ask("fail.z.test.", turn=failed)
    ask("www.z.test.", MX, turn=failed)
    assert chosen(failed) == {}


def test_zones_beyond_the_named_ones_are_counted_together() -> None:
    small = Small()
    for i in range(metrics.NAMED_ZONES + 3):
        small.zone(f"z{i}.test.", {})
    turn = turn_on(small.snapshot())
    for i in (0, metrics.NAMED_ZONES - 1, metrics.NAMED_ZONES, metrics.NAMED_ZONES + 2):
        ask(f"z{i}.test.", SOA, turn=turn)
    blocks = {metrics.ZONES: 1, metrics.ZONES + (metrics.NAMED_ZONES - 1) * metrics.BLOCK: 1, metrics.OTHER_ZONES: 2}
    for first, count in blocks.items():
        assert sum(turn.tally[first : first + metrics.BLOCK]) == count
    assert sum(turn.tally) == 4


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=8), st.sampled_from(["z.test.", "www.z.test.", "a.ent.z.test.", "other.test."]), st.integers(0, 255)
)
def test_the_short_way_round_names_is_no_other_way(label: bytes, parent: str, length: int) -> None:
    """What stands before a name that exists is looked at no further; the reply is the careful reader's all the same."""
    owner = bytes((length,)) + label + name(parent)
    for query in (query_of(owner), query_of(bytes((len(label),)) + label + name(parent))):
        one, other = turn_of(), turn_of()
        assert answer(one, query, peer_of(PEER), 1) == _answer_rare(other, query, peer_of(PEER), 1)
        assert one.tally == other.tally


def test_labels_and_names_that_are_too_long_are_refused_also_before_a_name_that_exists() -> None:
    long = ".".join(["x" * 63] * 3) + "." + "y" * 46 + ".z.test."  # 247 octets
    small = Small()
    small.zone("z.test.", {long: {A: [b"\x01\x02\x03\x04"]}})
    world = small.snapshot()
    for parent in (name(long), name("z.test.")):
        for size in range(1, 200):
            query, one, other = query_of(bytes((size,)) + b"a" * size + parent), turn_on(world), turn_on(world)
            assert answer(one, query, peer_of(PEER), 1) == _answer_rare(other, query, peer_of(PEER), 1)
            expected = "NXDOMAIN" if size <= 63 and 1 + size + len(parent) <= 255 else "FORMERR"
            assert [labels[-1] for labels in counted(one)] == [expected]
