"""Names that are hard to write: PowerDNS over a real `geodns serve` answers as that daemon does, in the case asked."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import dns.edns
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import pytest
from tests.powerdns.behind import DEEP, LONG, PATIENCE, Behind, behind
from tests.powerdns.differences import find_differing, find_reasons, read_asked, read_outcome
from tests.powerdns.pdns import Pdns, needs_pdns
from tests.powerdns.transports import WAYS

pytestmark = needs_pdns("pipe", "remote")
ZONE = dns.name.from_text("example.com.")
# Labels of owners that the zone holds.
HELD = [
    (b"www",), (), (b"*", b"apps"), (b"n1", b"apps"), (b"*", b"wild"), (b"_under", b"-dash"), (b"a.dot",),
    (b"back\\slash",), (b"sp ace",), (b"at@sign",), (b"star", b"*", b"in"), (b"semi;colon",), (b"\0nul\xff",),
    (b"tab\tfeed\n",), tuple(LONG.encode().split(b".")), tuple(DEEP.encode().split(b".")),
]  # fmt: skip
# And of those that it does not hold, some of them below or beside those that it does.
MISSING = [
    (b"a", b"dot"), (b"back\\",), (b"back\\\\slash",), (b'"quoted"',), (b"$",), (b"(",), (b"\\032",), (b" ",), (b".",),
    (b"..",), (b"*", b"*"), (b"*",), (b"in",), (b"star", b"x", b"in"), (b"\xff\xfe", b"\x7f"), (b"\n",), (b"\t",), (b"\0",),
    (b"@",), (b"x" * 63, b"y" * 63, b"z" * 63, b"l" * 49), (b"l" * 48, *([b"l" * 63] * 3)), (b"e",) * 100, (b"d",) * 99,
    (b"d",) * 101, (b"m",) * 120, (b"l" * 63,) * 3,
]  # fmt: skip
TYPES = ("A", "AAAA", "TXT")


@pytest.fixture(scope="module")
def site() -> Iterator[Behind]:
    with behind() as site:
        yield site


@pytest.fixture(scope="module", params=["pipe, ABI 3", "pipe, ABI 5, tuned", "remote", "remote, tuned"])
def pdns(request: pytest.FixtureRequest, site: Behind) -> Iterator[Pdns]:
    with site.pdns(WAYS[request.param], {"8bit-dns": "yes"}) as pdns:
        yield pdns


@pytest.mark.parametrize("labels", [*HELD, *MISSING])
def test_every_name_in_every_case(labels: tuple[bytes, ...], pdns: Pdns, site: Behind) -> None:
    seed = time.time_ns() & 0xFFFF
    print(f"seed {seed}")
    chance = random.Random(seed)
    for rtype in TYPES:
        name = vary_case(dns.name.Name(labels).concatenate(ZONE), chance)
        subnet = dns.edns.ECSOption(chance.choice(["20.0.0.0", "200.0.2.0"]), 24)
        query = dns.message.make_query(name, rtype, use_edns=0, options=[subnet])
        theirs = pdns.ask(query)
        ours = dns.query.udp(query, "127.0.0.1", PATIENCE, site.port)
        outcomes = read_outcome(ours), read_outcome(theirs)
        assert find_reasons(read_asked(query, believed=True), *outcomes) is not None, find_differing(*outcomes)
        assert bool(ours.answer) == (labels in HELD and rtype == "A")
        for rrset in theirs.answer:
            assert rrset.name.labels == name.labels, "the letter case that was asked"
        assert theirs.question[0].name.labels == name.labels


def vary_case(name: dns.name.Name, chance: random.Random) -> dns.name.Name:
    """Letters of *name* in whatever case (draft-vixie-dnsext-dns0x20)."""
    return dns.name.Name([bytes(_vary(octet, chance) for octet in label) for label in name.labels])


def _vary(octet: int, chance: random.Random) -> int:
    return chance.choice((octet, octet ^ 0x20)) if bytes((octet,)).isalpha() else octet
