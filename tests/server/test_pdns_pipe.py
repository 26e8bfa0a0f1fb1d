"""The pipe protocol: transcripts of a real PowerDNS 4.7.3, each ABI, and one block for each line, whatever it is."""

from __future__ import annotations

import dns.rdata
import dns.rdatatype
import pytest
from fuzz import fuzz_backend
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.powered import FixedLookup, power_snapshot

from geodns import __version__
from geodns.lookup import NXDOMAIN, records_at
from geodns.server.pdns_answer import parse_client
from geodns.server.pdns_pipe import PipeSession
from geodns.wire.name import name_text
from geodns.wire.rdata import rdata_of, ttl_of

BANNER = f"OK\tgeodns {__version__} ready\n".encode()
HERE = "127.0.0.1\t127.0.0.1\t127.0.0.1/32"  # resolver, local address, client
NOWHERE = "0.0.0.0\t0.0.0.0\t0.0.0.0/0"
SOA = "3600\t1\tns1.example.test. hostmaster.example.test. 2024010101 3600 600 604800 60"


def make_session(abi: int = 5) -> tuple[PipeSession, FixedLookup]:
    lookup = FixedLookup(power_snapshot())
    session = PipeSession(lookup)
    assert session.answer(f"HELO\t{abi}".encode()) == BANNER
    return session, lookup


def ask(line: str, abi: int = 5) -> str:
    return make_session(abi)[0].answer(line.encode()).decode()


@pytest.mark.parametrize(
    ("question", "block"),
    [
        # an ECS query: the search for the zone, the delegation check, the name itself
        (f"www.example.test\tIN\tSOA\t-1\t{NOWHERE}", ""),
        (f"example.test\tIN\tSOA\t-1\t{NOWHERE}", f"DATA\t0\t1\texample.test\tIN\tSOA\t{SOA}\n"),
        (
            "www.example.test\tIN\tANY\t1\t127.0.0.1\t127.0.0.1\t198.51.100.0/24",
            "DATA\t24\t1\twww.example.test\tIN\tA\t30\t1\t203.0.113.10\n",
        ),
        # the same with the recommended settings, then without ECS
        ("www.example.test\tIN\tNS\t1\t127.0.0.1\t127.0.0.1\t198.51.100.0/24", ""),
        (f"www.example.test\tIN\tANY\t1\t{HERE}", "DATA\t24\t1\twww.example.test\tIN\tA\t30\t1\t203.0.113.20\n"),
        # additional data of an MX
        (
            f"example.test\tIN\tANY\t1\t{HERE}",
            "DATA\t0\t1\texample.test\tIN\tNS\t3600\t1\tns1.example.test.\n"
            f"DATA\t0\t1\texample.test\tIN\tSOA\t{SOA}\n"
            "DATA\t0\t1\texample.test\tIN\tMX\t3600\t1\t10\tmail.example.test.\n",
        ),
        (f"mail.example.test\tIN\tANY\t1\t{HERE}", "DATA\t0\t1\tmail.example.test\tIN\tA\t3600\t1\t192.0.2.53\n"),
        # a name that does not exist
        (f"nope.example.test\tIN\tSOA\t-1\t{NOWHERE}", ""),
        (f"nope.example.test\tIN\tANY\t1\t{HERE}", ""),
        (f"*.example.test\tIN\tANY\t1\t{HERE}", ""),
        # a CNAME out of our zones, followed there up to the root
        (
            f"alias.example.test\tIN\tANY\t1\t{HERE}",
            "DATA\t0\t1\talias.example.test\tIN\tCNAME\t3600\t1\tedge.cdn.invalid.\n",
        ),
        (f"edge.cdn.invalid\tIN\tSOA\t-1\t{NOWHERE}", ""),
        (f"invalid\tIN\tSOA\t-1\t{NOWHERE}", ""),
        (f".\tIN\tSOA\t-1\t{NOWHERE}", ""),
        # what else stands in this zone
        (f"*.wild.example.test\tIN\tANY\t1\t{HERE}", "DATA\t0\t1\t*.wild.example.test\tIN\tA\t3600\t1\t192.0.2.7\n"),
        (f"b.c.example.test\tIN\tANY\t1\t{HERE}", "DATA\t0\t1\tb.c.example.test\tIN\tTYPE65280\t60\t1\t\\# 0\n"),
        (f"gone.example.test\tIN\tANY\t1\t{HERE}", "DATA\t1\t1\tgone.example.test\tIN\tTYPE65280\t60\t1\t\\# 0\n"),
        (
            f"child.example.test\tIN\tNS\t1\t{HERE}",
            "DATA\t0\t0\tchild.example.test\tIN\tNS\t3600\t1\tns.child.example.test.\n",
        ),
        (
            f"texts.example.test\tIN\tSRV\t1\t{HERE}",
            "DATA\t0\t1\ttexts.example.test\tIN\tSRV\t3600\t1\t10\t20 5060 mail.example.test.\n",
        ),
        # the case that was asked, whatever ours is
        (f"MaIl.eXample.TEST\tIN\tANY\t1\t{HERE}", "DATA\t0\t1\tMaIl.eXample.TEST\tIN\tA\t3600\t1\t192.0.2.53\n"),
        (
            f"dot\\.ted.ODD.example.test\tIN\tANY\t1\t{HERE}",
            'DATA\t0\t1\tdot\\.ted.ODD.example.test\tIN\tTXT\t3600\t1\t"tab\\009 \\"quoted\\""\n',
        ),
    ],
)
def test_transcripts(question: str, block: str) -> None:
    assert ask(f"Q\t{question}") == block + "END\n"


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5])
def test_each_abi_has_its_fields(abi: int) -> None:
    question = "\t".join(
        ["Q", "texts.example.test", "IN", "SRV", "-1", "127.0.0.1", "127.0.0.1", "198.51.100.0/24"][: 5 + min(abi, 3)]
    )
    scoped = "0\t1\t" if abi >= 3 else ""
    wanted = f"DATA\t{scoped}texts.example.test\tIN\tSRV\t3600\t1\t10\t20 5060 mail.example.test.\nEND\n"
    assert ask(question, abi) == wanted


@pytest.mark.parametrize(
    ("abi", "address"), [(1, "203.0.113.20"), (2, "203.0.113.20"), (3, "203.0.113.10"), (5, "203.0.113.10")]
)
def test_the_client_subnet_counts_from_abi_3_on(abi: int, address: str) -> None:
    """Whoever wrote more than the ABI has is read up to there."""
    line = "Q\twww.example.test\tIN\tANY\t1\t127.0.0.1\t127.0.0.1\t198.51.100.0/24\tmore"
    assert f"\t{address}\n" in ask(line, abi)


def test_a_question_without_subnet_is_the_resolvers() -> None:
    assert "\t203.0.113.20\n" in ask("Q\twww.example.test\tIN\tANY\t1\t127.0.0.1\t127.0.0.1")


@pytest.mark.parametrize("number", ["-1", "1", "77", "garbage", ""])
def test_the_id_in_a_question_says_nothing(number: str) -> None:
    assert "\t1\t192.0.2.53\n" in ask(f"Q\tmail.example.test\tIN\tANY\t{number}\t{HERE}")


@pytest.mark.parametrize("number", ["6", "0", "05", "-1", "", "five", "5 ", "²"])
def test_an_unknown_abi_fails_for_ever(number: str) -> None:
    """PowerDNS goes on asking whatever it is told, so each line must be told no, and none may be answered by guess."""
    session = PipeSession(FixedLookup(power_snapshot()))
    question = f"Q\texample.test\tIN\tSOA\t-1\t{NOWHERE}".encode()
    for line in (f"HELO\t{number}".encode(), question, b"HELO\t5", question, b"PING", b"CMD\tstatus"):
        assert session.answer(line) == b"FAIL\n"


def test_nothing_is_answered_before_the_handshake_but_a_fail() -> None:
    session = PipeSession(FixedLookup(power_snapshot()))
    assert session.answer(f"Q\texample.test\tIN\tSOA\t-1\t{NOWHERE}".encode()) == b"FAIL\n"
    assert session.answer(b"HELO\t5") == BANNER
    assert session.answer(f"Q\texample.test\tIN\tSOA\t-1\t{NOWHERE}".encode()).endswith(b"END\n")


def test_transfers_are_refused_and_pings_answered() -> None:
    assert ask("AXFR\t1\texample.test") == "FAIL\n"
    assert ask("AXFR\t1", 1) == "FAIL\n"
    assert ask("PING") == "END\n"


def test_commands() -> None:
    assert ask("CMD\tstatus") == "version: 1\nserving: nothing yet\nEND\n"
    assert ask("CMD\tdrop \x07 tables") == 'geodns does not know the command "drop \x07 tables"; it knows: status\nEND\n'
    assert ask("CMD\tété\tx") == 'geodns does not know the command "\\xc3\\xa9t\\xc3\\xa9 x"; it knows: status\nEND\n'
    assert ask("CMD") == 'geodns does not know the command ""; it knows: status\nEND\n'
    assert ask("CMD\tstatus", 4) == "FAIL\n", "PowerDNS sends it from ABI 5 on, and ends no earlier reply by END"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Q",
        "Q\texample.test",
        "Q\texample.test\tIN\tSOA\t-1",
        f"Q\texample.test\tCH\tANY\t-1\t{HERE}",
        f"Q\t\tIN\tANY\t-1\t{HERE}",
        f"Q\texample..test\tIN\tANY\t-1\t{HERE}",
        f"Q\texämple.test\tIN\tANY\t-1\t{HERE}",
        f"Q\texample.test\tIN\tA-B\t-1\t{HERE}",
        f"Q\texample.test\tIN\t\t-1\t{HERE}",
        "Q\texample.test\tIN\tANY\t-1\tnobody\t127.0.0.1\t10.0.0.0/8",
        f"Q example.test IN ANY -1 {HERE}",
        f"q\texample.test\tIN\tANY\t-1\t{HERE}",
        "END",
        "FAIL",
        "DATA\t0\t1\texample.test\tIN\tA\t1\t1\t192.0.2.1",
    ],
)
def test_garbage_fails_and_is_counted(line: str) -> None:
    session, lookup = make_session()
    assert session.answer(line.encode()) == b"FAIL\n"
    assert lookup.misreads == 1
    assert session.answer(b"PING") == b"END\n", "the next line is in step"


def test_a_line_too_long_is_one_line() -> None:
    session, lookup = make_session()
    assert session.answer(None) == b"FAIL\n"
    assert lookup.misreads == 1


def test_everything_fails_while_nothing_is_served() -> None:
    """SERVFAIL, never "no such name", which PowerDNS would remember."""
    session = PipeSession(FixedLookup(None))
    assert session.answer(b"HELO\t5") == BANNER
    for qtype in ("SOA", "NS", "ANY"):
        assert session.answer(f"Q\texample.test\tIN\t{qtype}\t-1\t{NOWHERE}".encode()) == b"FAIL\n"


PIECES = st.sampled_from(
    ["Q", "HELO", "AXFR", "CMD", "PING", "\t", "\t", "\t", "IN", "ANY", "SOA", "example.test", "www.example.test", "-1", "1",
     "127.0.0.1", "::1", "10.0.0.0/8", "0.0.0.0/0", "status", "5", " ", "\\", "\\009", ".", "\r", "\0"]
)  # fmt: skip
LINES = st.one_of(
    st.binary(max_size=60),
    st.lists(PIECES, max_size=16).map(lambda pieces: "".join(pieces).encode()),
    st.lists(PIECES, min_size=7, max_size=7).map(lambda pieces: "\t".join(["Q", *pieces]).encode()),
).filter(lambda line: b"\n" not in line)


@settings(deadline=None, max_examples=300)
@given(st.lists(LINES, max_size=8))
def test_always_one_block_or_one_fail_for_a_line(lines: list[bytes]) -> None:
    session, _ = make_session()
    for line in lines:
        check_block(session.answer(line))


def test_fuzz_for_a_moment() -> None:
    """Both protocols."""
    assert fuzz_backend.run(4_000, 1) == []


def check_block(octets: bytes) -> None:
    """Whole lines; the last one alone ends the block; what is before it is data, or text of a command."""
    *lines, rest = octets.split(b"\n")
    assert rest == b""
    assert octets.isascii()
    assert lines[-1] in {b"END", b"FAIL"} or (len(lines) == 1 and lines[0].startswith(b"OK\t"))
    assert not {b"END", b"FAIL"} & set(lines[:-1])
    assert lines[-1] != b"FAIL" or len(lines) == 1


@settings(deadline=None)
@given(st.data())
def test_always_the_records_of_records_at(data: st.DataObject) -> None:
    """Read back by dnspython, octet by octet, for every name of the world and any client."""
    snapshot, draw = power_snapshot(), data.draw(st.integers(0, 2**64 - 1))
    owner = data.draw(st.sampled_from(sorted(snapshot.zones.names)))
    resolver, subnet = data.draw(st.ip_addresses(v=4)), data.draw(st.ip_addresses())
    bits = data.draw(st.integers(0, subnet.max_prefixlen))
    session = PipeSession(FixedLookup(snapshot, draw))
    session.answer(b"HELO\t5")
    asked = name_text(owner).removesuffix(".").upper() or "."
    block = session.answer(f"Q\t{asked}\tIN\tANY\t-1\t{resolver}\t::\t{subnet}/{bits}".encode()).decode()
    status, zone, records = records_at(snapshot, owner, parse_client(str(resolver), f"{subnet}/{bits}"), draw)
    assert status != NXDOMAIN and zone is not None
    wanted = [
        (scope, mine, zone.number + 1, rtype, ttl_of(tail), rdata_of(tail))
        for rtype, tails, scope, mine in records
        for tail in tails
    ]
    assert [read_record(line, asked) for line in block.splitlines()[:-1]] == wanted


def read_record(line: str, asked: str) -> tuple[int, bool, int, int, int, bytes]:
    """Scope, authority, zone, type, TTL and rdata of a line, as PowerDNS reads it: what is left joined by spaces."""
    kind, scope, auth, qname, rclass, rtype, ttl, zone, *content = line.split("\t")
    assert (kind, qname, rclass) == ("DATA", asked, "IN")
    number = dns.rdatatype.from_text(rtype)
    rdata = dns.rdata.from_text("IN", number, " ".join(content))
    return int(scope), auth == "1", int(zone), int(number), int(ttl), rdata.to_wire() or b""
