"""Every type of record goes through a real PowerDNS and comes out as the same octets, by pipe and by remote backend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.powerdns.pdns import Pdns, needs_pdns, run_pdns
from tests.snapshots import Small
from tests.wire.shapes import SHAPES

from geodns import metrics, publish
from geodns.answer import Settings
from geodns.compiler.zones.graph import write_texts
from geodns.server.backend import BackendServer
from geodns.server.listen import bind_backend
from geodns.snapshot import Snapshot

pytestmark = needs_pdns("pipe", "remote")
# The socket itself as coprocess: PowerDNS then speaks over it as it does over stdin, and no shim stands between.
WAYS = {
    "pipe": "launch=pipe\npipe-command={}\npipe-abi-version=5\n",
    "remote": "launch=remote\nremote-connection-string=unix:path={}\n",
}
OFF = "zone-cache-refresh-interval=0\ncache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\ndistributor-threads=1\n"
NS, SOA = 2, 6  # a delegation is answered by a referral, and an apex has one SOA: both are in every other test
ASKED = {rtype: shape for rtype, shape in SHAPES.items() if rtype not in {NS, SOA}}
# Types that PowerDNS does not parse, and those whose texts the compiler writes.
FIXED = {
    10: b"\1\2", 11: b"\x0a\0\0\1\6\0\0\x40\0\0\x80", 20: b"\x03150", 55: b"\x10\2\0\2" + bytes(16) + b"\1\2", 258: b"\1a",
    260: b"\x0a\1\xcb\0\x71\x0f", 65300: b"", 65301: b"\xff" * 300,
    29: b"\0\x12\x16\x13\x8b\x3c\xf0\x18\x81\x0c\xbc\xe0\0\x98\x96\x80", 42: b"\0\1\x08\1\x0a\0\1\x10\x82\x0a\1",
    62: b"\0\0\0\x42\0\3\0\4\x60\0\0\x08",
}  # fmt: skip


@contextmanager
def serving(path: Path) -> Iterator[None]:
    """A backend socket at *path*, in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = BackendServer(Settings(), lambda: 0.0)
    asyncio.run_coroutine_threadsafe(server.start(bind_backend(path, None, 0o600)), loop).result(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module", params=WAYS)
def pdns(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pdns]:
    folder = tmp_path_factory.mktemp("pdns")
    before = publish.current
    publish.current = show({})
    with (
        serving(folder / "backend.sock"),
        run_pdns(folder, WAYS[request.param].format(folder / "backend.sock") + OFF) as pdns,
    ):
        yield pdns
    publish.current = before


def show(rdata: dict[int, bytes]) -> publish.Current:
    """One name for each type: t16.z.test. holds the TXT."""
    small = Small()
    small.zone("z.test.", {f"t{rtype}.z.test.": {rtype: [octets]} for rtype, octets in rdata.items()})
    made = small.snapshot()
    texts = write_texts(rrset for node in made.zones.names.values() for rrset in node.rrsets.values())
    made.zones.texts.update(texts)  # type: ignore[attr-defined]  # a dict, before anybody reads it
    snapshot = Snapshot(made.maps, made.zones, made.choices)
    return publish.Current(snapshot, metrics.Counters(snapshot.zones.zones, snapshot.zones.pools))


def check(pdns: Pdns, rdata: dict[int, bytes]) -> None:
    publish.current = show(rdata)
    wrong = []
    for rtype, octets in rdata.items():
        query = dns.message.make_query(f"t{rtype}.z.test.", dns.rdatatype.RdataType.make(rtype))
        reply = pdns.ask(query, tcp=True)
        found = [record.to_wire() for rrset in reply.answer for record in rrset if rrset.rdtype == rtype]
        if found != [octets] or not reply.flags & dns.flags.AA:
            wrong.append((rtype, dns.rcode.to_text(reply.rcode()), octets, found))
    assert wrong == [], pdns.log()[-500:]


# An example is a hundred queries: to shrink one would take minutes.
@settings(deadline=None, max_examples=30, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(rdata=st.fixed_dictionaries(ASKED))
def test_always_the_same_octets(pdns: Pdns, rdata: dict[int, bytes]) -> None:
    check(pdns, rdata)


def test_types_that_powerdns_does_not_parse_and_those_with_texts(pdns: Pdns) -> None:
    check(pdns, FIXED)
