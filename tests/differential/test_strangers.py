"""What a stranger may send, in order rather than at random: the packets that the protocol tests use, whole, cut and changed;
client subnets of every family and length; nothing, and as much as fits into a datagram.

The reference decides what is right. Packets and replies stand in memory of exactly their size; `make sanitize` watches that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.differential.engines import ROOM, SETTINGS, Engines
from tests.protocol.zone import write_config
from tests.snapshots import opt_of, peer_of, query_of

from geodns.answer import TCP, UDP
from geodns.compiler.build import assemble, build

DATA = Path(__file__).parents[1] / "data"
CASES: list[dict[str, Any]] = yaml.safe_load((DATA / "wire-cases.yaml").read_text())["cases"]
SEEDS = sorted((DATA / "dns-packets" / "c-ares").iterdir())
PEERS = tuple(map(peer_of, ("127.0.0.1", "20.1.2.3", "2001:db8::1", "2a02::1", "::ffff:200.1.2.3")))


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """The zone of the protocol tests; in the end nothing was declined, and both engines have counted the same."""
    folder = tmp_path_factory.mktemp("strangers")
    found = Engines(assemble(build(write_config(folder, 5353), None)), SETTINGS[1])
    yield found
    assert found.asked
    assert found.declined == 0
    found.check_tallies()


def ask(engines: Engines, packets: Iterator[bytes]) -> int:
    """Each of *packets* over both transports, from one peer after another; how many there were."""
    count = 0
    for count, packet in enumerate(packets, 1):
        for transport in (UDP, TCP):
            engines.compare(packet, PEERS[count % len(PEERS)], count * 0x9E3779B97F4A7C15 % 2**64, transport)
    return count


def cut_and_change(packet: bytes) -> Iterator[bytes]:
    """*packet*, every beginning of it, and it with each octet changed in a few ways, or doubled."""
    yield packet
    for at, octet in enumerate(packet):
        yield packet[:at]
        for other in (0, 1, 0xC0, 0xFF, octet ^ 0x80, octet ^ 1, octet + 1 & 0xFF):
            yield packet[:at] + bytes((other,)) + packet[at + 1 :]
        yield packet[:at] + packet[at : at + 1] + packet[at:]
    yield packet + b"\0"


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_the_wire_cases_cut_and_changed_everywhere(case: dict[str, Any], engines: Engines) -> None:
    packet = bytes.fromhex(case["packet"])
    assert ask(engines, cut_and_change(packet)) == 2 + 9 * len(packet)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: str(path.name)[:12])
def test_packets_that_once_were_seeds(seed: Path, engines: Engines) -> None:
    """As they are and as queries; then every beginning of them, as far as a name could reach."""
    packet = seed.read_bytes()
    query = packet[:2] + bytes((packet[2] & 0x7F,)) + packet[3:] if len(packet) > 2 else packet
    assert ask(engines, iter((packet, query, *(query[:at] for at in range(min(len(query), 400)))))) >= 2


def list_subnets() -> Iterator[bytes]:
    """Options of every family and source length, with as many octets as they need, and with one more or less."""
    for family in (0, 1, 2, 3, 255, 65535):
        for source in (*range(131), 255):
            for octets in {0, (source + 7) // 8 - 1, (source + 7) // 8, (source + 7) // 8 + 1, 16, 17} - {-1}:
                for fill, scope in ((b"\0", 0), (b"\xff", 0), (b"\x20", 0), (b"\x20", 24)):
                    body = family.to_bytes(2, "big") + bytes((source, scope)) + fill * octets
                    yield b"\0\x08" + len(body).to_bytes(2, "big") + body


def test_client_subnets_of_every_family_and_length(engines: Engines) -> None:
    assert ask(engines, (query_of("www.example.test.", opt=opt_of(option)) for option in list_subnets())) > 15_000


def list_options() -> Iterator[bytes]:
    """A subnet whose own length, and a record whose length, say more or less than there is."""
    subnet = b"\0\1\x18\0\x14\1\2"
    for said in (*range(16), 255, 65535):
        option = b"\0\x08" + said.to_bytes(2, "big") + subnet
        yield query_of("www.example.test.", opt=opt_of(option))
        for size in (*range(16), 65535):
            yield query_of("www.example.test.", opt=opt_of()[:-2] + size.to_bytes(2, "big") + option)
    for cut in range(len(subnet) + 4):
        yield query_of("www.example.test.", opt=opt_of((b"\0\x08\0\7" + subnet)[:cut]))


def test_options_that_lie_about_their_length(engines: Engines) -> None:
    assert ask(engines, list_options()) > 300


def test_from_nothing_to_all_that_fits_into_a_datagram(engines: Engines) -> None:
    """Octets of one kind, padding, options without end, labels up to the longest name and beyond, counts that lie."""
    sizes = (*range(30), 511, 512, 513, 1232, 4096, 65507, 65535)
    noise = (bytes((octet,)) * size for octet in (0, 0x01, 0xC0, 0xFF) for size in sizes)
    padded = (
        query_of("www.example.test.", opt=opt_of(b"\0\x0c" + n.to_bytes(2, "big") + bytes(n))) for n in sizes if n < 65460
    )
    crowded = (query_of("www.example.test.", opt=opt_of(b"\x12\x67\0\0" * n)) for n in (1, 100, 16370))
    names = (query_of(b"\1a" * n + b"\x07example\x04test\0") for n in range(140))
    counts = (
        query_of("www.example.test.")[:at] + bytes((high, low)) + query_of("www.example.test.")[at + 2 :] + bytes(rest)
        for at in (4, 6, 8, 10) for high, low in ((0, 0), (0, 2), (0, 255), (255, 255)) for rest in (0, 11, 5000)
    )  # fmt: skip
    for packets in (noise, padded, crowded, names, counts):
        assert ask(engines, packets) > 2


@pytest.mark.parametrize(
    "name", ["www", "pair", "mail", "large", "huge", "static", "x.wild", "a.sub", "broad.sub", "none", "round"]
)
@pytest.mark.parametrize("transport", [UDP, TCP], ids=["udp", "tcp"])
def test_never_is_the_room_for_a_reply_left(name: str, transport: int, engines: Engines) -> None:
    """Whatever the room: the whole reply, or it is left to Python; the room is allocated to the octet."""
    fits = 0
    for qtype in (1, 16, 15, 255):
        packet = query_of(f"{name}.example.test.", qtype, opt=opt_of(b"\0\x08\0\7\0\1\x18\0\x14\1\2", size=4096))
        for room in (*range(0, 1300, 1 if qtype == 1 else 13), *range(1300, 30_000, 1999), ROOM):
            before, asked = engines.declined, engines.asked
            fits += not engines.compare(packet, PEERS[0], room, transport, room)
            engines.declined, engines.asked = before, asked  # for want of room, which is no fault of the packet
    assert fits > 100
