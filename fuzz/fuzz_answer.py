"""Whatever arrives, `answer` returns None or a message that parses, with the same id and question, not too long.

    python fuzz/fuzz_answer.py --packets 200000 --seed 1 [--corpus fuzz/corpus/answer]

Packets are well-formed queries of every kind, and the same with octets changed, cut off, repeated or glued together.
dnspython decodes what comes back. A packet that breaks the invariant is written to the corpus, which every run begins
with, and named on standard output; the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dns.edns
import dns.flags
import dns.message
import dns.rcode
from tests.snapshots import EMBEDDING, Small, Tier, make_pool, make_table, name, opt_of, query_of, subnet_of

from geodns.answer import TCP, UDP, Settings, Turn, answer
from geodns.errors import WireError
from geodns.metrics import new_tally
from geodns.snapshot import DEAD, FALLBACK, LIVE, NONE, SERVFAIL, Snapshot
from geodns.wire.constants import AAAA, CNAME, MX, TXT, A
from geodns.wire.message import BrokenQuery, parse_query
from geodns.wire.name import skip_name

CORPUS = Path(__file__).resolve().parent / "corpus" / "answer"
UDP_SIZE = 1232


def make_snapshot() -> Snapshot:
    """A little of everything that can be in a zone."""
    orders: dict[str, list[Tier]] = {"default": [0, 1, 2], "eu": [1, 0], "tier": [{0: 3, 1: 1}, 2], "none": []}
    v4 = {"128.0.0.0/1": "eu", "20.0.0.0/8": "tier", "10.0.0.0/8": "peer", "30.0.0.0/8": "none"}
    table, _ = make_table(orders, v4, {"2001:db8::/32": "eu", "fc00::/7": "peer"} | dict.fromkeys(EMBEDDING, "unwrap"))
    small = Small()
    many = [f"192.0.2.{i}" for i in range(1, 120)]
    www = small.service(
        "www", table, {0: make_pool("192.0.2.1", "2001:db8::1"), 1: make_pool("192.0.2.2"), 2: make_pool("a.test.")}
    )
    sticky = small.service("sticky", table, {i: make_pool(*many[i::3]) for i in range(3)}, sticky=True, answers=3)
    all_of_them = small.service("all", table, {i: make_pool(*many, rank=LIVE) for i in range(3)}, answers=0)
    fails = small.service("fails", table, {i: make_pool("192.0.2.9", rank=DEAD) for i in range(2)}, all_down=SERVFAIL)
    none = small.service("none", table, {i: make_pool("192.0.2.9", rank=DEAD) for i in range(2)}, all_down=NONE)
    other = small.service("other", table, {0: make_pool("192.0.2.9", rank=DEAD)}, all_down=FALLBACK, fallback=www)
    cdn = small.service("cdn", table, {0: make_pool("www.z.test."), 1: make_pool("edge.other.test.", "all.z.test.")})
    alias = {f"c{i}.z.test.": {CNAME: [name(f"c{i + 1}.z.test.")]} for i in range(12)}
    zone = small.zone(
        "z.test.",
        {
            "www.z.test.": www, "sticky.z.test.": sticky, "all.z.test.": all_of_them, "fails.z.test.": fails,
            "none.z.test.": none, "other.z.test.": other, "cdn.z.test.": cdn, "*.w.z.test.": www,
            "txt.z.test.": {TXT: [b"\xff" + b"x" * 255] * 6}, "mx.z.test.": {MX: [b"\x00\x0a" + name("www.z.test.")]},
            "a.b.c.z.test.": {A: [b"\x01\x02\x03\x04"]}, "loop.z.test.": {CNAME: [name("loop.z.test.")]},
            "dead.z.test.": {CNAME: [name("no.z.test.")]}, "out.z.test.": {CNAME: [name("a.sub.z.test.")]}, **alias,
        },
        {"sub.z.test.": (["ns.sub.z.test.", "ns.test."], {"ns.sub.z.test.": ["192.0.2.54", "2001:db8::54"]})},
    )  # fmt: skip
    small.zone("n.z.test.", {"www.n.z.test.": www}, parent=zone, ds=b"\x30\x39\x0d\x02" + bytes(range(32)))
    return small.snapshot()


LABELS = [b"www", b"WWW", b"sticky", b"all", b"fails", b"none", b"other", b"cdn", b"w", b"txt", b"mx", b"b", b"c",
          b"c0", b"c5", b"loop", b"dead", b"out", b"sub", b"n", b"*", b"x", b"\x00", b"a.b", b"\xff" * 63,
          b"y" * 60]  # fmt: skip
TYPES = [A, A, A, AAAA, CNAME, MX, TXT, 2, 6, 13, 43, 65, 255, 252, 251, 41, 250, 1234]
OPTIONS = [
    b"",
    b"\x00\x03\x00\x00",
    b"\x00\x0b\x00\x00",
    b"\x00\x0a\x00\x08abcdefgh",
    b"\x12\x67\x00\x03abc",
    b"\x00\x08\x00\x04\x00\x01\x00\x00",
]
SUBNETS = [
    "20.1.2.0/24",
    "200.1.0.0/16",
    "10.1.0.0/16",
    "30.0.0.0/8",
    "2001:db8::/56",
    "2002:c801::/32",
    "::ffff:20.1.2.0/120",
    "::/0",
]


def make_query(chance: random.Random) -> bytes:
    """One well-formed query, more or less likely."""
    labels = [chance.choice(LABELS) for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 6)))]
    suffix = chance.choice((b"\x01z\x04test\x00", b"\x01n\x01Z\x04TEST\x00", b"\x04test\x00", b"\x00"))
    qname = b"".join(bytes((len(label),)) + label for label in labels) + suffix
    opt = None
    if chance.random() < 0.6:
        options = b"".join(
            chance.choice((chance.choice(OPTIONS), subnet_of(chance.choice(SUBNETS)))) for _ in range(chance.randrange(3))
        )
        opt = opt_of(
            options,
            size=chance.choice((0, 512, 600, 1232, 4096, 65535)),
            flags=chance.choice((0, 0, 0x8000, 0x1234, 0x10000)),
        )
    flags = chance.choice((0x0100, 0x0100, 0x0000, 0x0130, 0x07F0, 0x2800, 0x8100))
    return query_of(
        qname,
        chance.choice(TYPES),
        flags=flags,
        ident=chance.getrandbits(16),
        opt=opt,
        qclass=chance.choice((1, 1, 1, 3, 255)),
    )


def damage(query: bytes, chance: random.Random) -> bytes:
    """The same with a few octets changed, cut off, repeated or put in."""
    packet = bytearray(query)
    for _ in range(chance.randrange(1, 4)):
        if not packet:
            break
        at = chance.randrange(len(packet))
        how = chance.randrange(5)
        if how == 0:
            packet[at] = chance.getrandbits(8)
        elif how == 1:
            packet[at] ^= 1 << chance.randrange(8)
        elif how == 2:
            del packet[at:]
        elif how == 3:
            packet[at:at] = packet[: chance.randrange(len(packet))]
        else:
            packet[at:at] = bytes((0xC0 | chance.getrandbits(2), chance.getrandbits(6)))
    return bytes(packet)


def packets(count: int, seed: int) -> Iterator[bytes]:
    """*count* packets, a third of them damaged, a few of them noise."""
    chance = random.Random(seed)
    for i in range(count):
        if i % 50 == 49:
            yield chance.randbytes(chance.randrange(80))
        elif i % 3 == 2:
            yield damage(make_query(chance), chance)
        else:
            yield make_query(chance)


def find_fault(turn: Turn, packet: bytes, peer: bytes, draw: int) -> str | None:
    """What is wrong with the reply to *packet*, or None."""
    try:
        reply = answer(turn, packet, peer, draw)
    except Exception as error:
        return f"answer raised {error!r}"
    if len(packet) < 12 or packet[2] & 0x80:
        return None if reply is None else "a reply where silence was right"
    if reply is None:
        return "silence"
    try:
        # other opcodes give the sections other meanings, which only dnspython would look into
        message = dns.message.from_wire(reply[:2] + bytes((reply[2] & 0x87,)) + reply[3:])
    except Exception as error:
        return f"the reply does not parse: {error!r}: {reply.hex()}"
    return _find_lie(turn, packet, reply, message)


def _find_lie(turn: Turn, packet: bytes, reply: bytes, message: dns.message.Message) -> str | None:
    """What a parsed reply owes its query: header, question, EDNS, size."""
    flags = packet[2] << 8 | packet[3]
    if reply[:2] != packet[:2] or (reply[2] ^ packet[2]) & 0x78 or not message.flags & dns.flags.QR:
        return "id, opcode or QR"
    if message.flags & (dns.flags.RA | dns.flags.AD | dns.flags.CD) or reply[3] & 0x40:
        return "RA, Z, AD or CD"
    if (message.flags ^ flags) & dns.flags.RD:
        return "RD"
    try:
        _, _, end, _, _, edns = parse_query(packet)
    except BrokenQuery:
        if message.rcode() not in {dns.rcode.FORMERR, dns.rcode.NOTIMP} or message.answer or message.authority:
            return f"rcode {message.rcode()} for a broken query"
        if message.question and reply[12 : skip_name(reply, 12) + 4] != packet[12 : skip_name(packet, 12) + 4]:
            return "another question"
        return None if len(reply) <= len(packet) + 11 else "a FORMERR longer than its query"
    if reply[12:end] != packet[12:end] or len(message.question) != 1:
        return "another question"
    if (edns is None) != (message.edns < 0):
        return "OPT in one of query and reply"
    limit = 512 if edns is None else min(max(edns[0], 512), UDP_SIZE)
    if len(reply) > (limit if turn.transport == UDP else 65535):
        return f"{len(reply)} octets, {limit} are allowed"
    return _find_edns_lie(message, edns)


def _find_edns_lie(message: dns.message.Message, edns: tuple[int, int, bool, object, bool] | None) -> str | None:
    if edns is None:
        return None
    subnets = [option for option in message.options if isinstance(option, dns.edns.ECSOption)]
    if message.edns != 0 or bool(message.ednsflags & dns.flags.DO) != edns[2] or message.ednsflags & 0x7FFF:
        return "EDNS version or flags"
    asked = isinstance(edns[3], tuple) and message.rcode() not in {dns.rcode.BADVERS, dns.rcode.NOTIMP}
    if len(subnets) != asked:
        return "client subnet in one of query and reply"
    if asked and isinstance(edns[3], tuple):
        _, bits, _, source = edns[3]
        if (subnets[0].family == 1) != (bits == 32) or subnets[0].srclen != source or subnets[0].scopelen > bits:
            return "client subnet changed"
        if not source and subnets[0].scopelen:
            return "a scope for a client that wants privacy"
    return None


def run(count: int, seed: int, corpus: Path) -> list[tuple[bytes, str]]:
    """The packets that broke the invariant, each with what was wrong."""
    snapshot, chance = make_snapshot(), random.Random(seed + 1)
    settings, pools = Settings(UDP_SIZE, b"fuzz"), len(snapshot.zones.pools)
    turns = [Turn(snapshot, transport, settings, 0.0, new_tally(pools)) for transport in (UDP, TCP)]
    known = [path.read_bytes() for path in sorted(corpus.glob("*"))] if corpus.is_dir() else []
    found = []
    for i, packet in enumerate((*known, *packets(count, seed))):
        peer = chance.randbytes(4 if i % 2 else 16)
        try:
            fault = find_fault(turns[i % 5 == 0], packet, peer, chance.getrandbits(64))
        except WireError as error:
            fault = f"our own reply or the packet's question cannot be read: {error}"
        if fault is not None:
            found.append((packet, fault))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF_FFFF)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    options = parser.parse_args()
    found = run(options.packets, options.seed, options.corpus)
    for packet, fault in found:
        options.corpus.mkdir(parents=True, exist_ok=True)
        path = options.corpus / hashlib.sha256(packet).hexdigest()[:12]
        path.write_bytes(packet)
        print(f"{fault}: {packet.hex()}, kept as {path}")
    print(f"{options.packets} packets, seed {options.seed}: {len(found)} broke the invariant")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
