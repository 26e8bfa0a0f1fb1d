"""Whatever lines arrive, each protocol of PowerDNS gives one block for each: whole, in step, and such as PowerDNS reads.

    python fuzz/fuzz_backend.py --lines 200000 --seed 1

Lines are well-formed questions of every kind, and the same with octets changed, cut off, repeated or put in. Blocks are read
back field by field, JSON object by object, each record's content by dnspython. A line that breaks the invariant is printed;
the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dns.rdata
import dns.rdatatype
from fuzz.fuzz_answer import make_snapshot
from tests.server.powered import FixedLookup

from geodns.server.pdns_pipe import PipeSession
from geodns.server.pdns_remote import RemoteSession

LABELS = ["www", "WWW", "sticky", "all", "fails", "none", "other", "cdn", "w", "txt", "mx", "b", "c", "c0", "loop", "out",
          "sub", "n", "*", "x", "\\000", "a\\.b", "\\255", "y" * 60, "\\032", "q\\"]  # fmt: skip
TYPES = ["A", "AAAA", "ANY", "ANY", "ANY", "SOA", "NS", "CNAME", "MX", "TXT", "DS", "TYPE65280", "ALIAS", "ENT", "TYPE99999"]
ADDRESSES = [
    "20.1.2.3",
    "200.1.0.1",
    "10.1.0.0",
    "0.0.0.0",
    "::",
    "2001:db8::1",
    "::ffff:20.1.2.0",
    "2002:c801::",
    "fe80::1%eth0",
    "x",
]
METHODS = ["lookup"] * 6 + [
    "initialize",
    "getAllDomains",
    "getDomainInfo",
    "getAllDomainMetadata",
    "getDomainMetadata",
    "list",
]
SCOPES, TTLS = range(129), range(1 << 31)


def make_fields(chance: random.Random) -> tuple[str, str, str, str]:
    """Name, type, resolver and subnet of one question."""
    labels = [chance.choice(LABELS) for _ in range(chance.choice((0, 1, 1, 1, 2, 3)))]
    name = ".".join([*labels, chance.choice(("z.test", "n.Z.TEST", "test", ""))]).strip(".") or "."
    subnet = f"{chance.choice(ADDRESSES)}/{chance.choice((0, 8, 24, 32, 56, 120, 128, 129))}"
    return name, chance.choice(TYPES), chance.choice(ADDRESSES), subnet


def make_line(chance: random.Random, remote: bool) -> bytes:
    """One well-formed line, more or less likely."""
    name, qtype, resolver, subnet = make_fields(chance)
    if remote:
        given: dict[str, Any] = {
            "qname": f"{name}.",
            "qtype": qtype,
            "remote": resolver,
            "real-remote": subnet,
            "zone-id": 1,
        }
        return json.dumps({"method": chance.choice(METHODS), "parameters": given | {"name": name, "kind": "x"}}).encode()
    if chance.random() < 0.1:
        return chance.choice((b"HELO\t5", b"PING", b"AXFR\t1\tz.test", b"CMD\tstatus", b"CMD\tother"))
    return "\t".join(("Q", name, "IN", qtype, "-1", resolver, "127.0.0.1", subnet)).encode()


def damage(line: bytes, chance: random.Random) -> bytes:
    """The same with a few octets changed, cut off, repeated or put in."""
    octets = bytearray(line)
    for _ in range(chance.randrange(1, 4)):
        at, how = chance.randrange(len(octets) + 1), chance.randrange(4)
        if how == 0:
            octets[at : at + 1] = chance.randbytes(1)
        elif how == 1:
            del octets[at : at + chance.randrange(9)]
        elif how == 2:
            octets[at:at] = octets[: chance.randrange(len(octets) + 1)]
        else:
            octets[at:at] = chance.choice((b"\t", b"\\", b'"', b"{", b".", b" ", b"\r", b"\0", b"\xff"))
    return bytes(octets).replace(b"\n", b"")


def lines(count: int, seed: int, remote: bool) -> Iterator[bytes]:
    """*count* lines, a third of them damaged."""
    chance = random.Random(seed)
    for i in range(count):
        line = make_line(chance, remote)
        yield damage(line, chance) if i % 3 == 2 else line


def find_fault(session: PipeSession | RemoteSession, line: bytes) -> str | None:
    """What is wrong with the reply to *line*, or None."""
    try:
        reply = session.answer(line)
        octets = reply if isinstance(reply, bytes) else b"".join(reply)
        if not octets.isascii() or not octets.endswith(b"\n"):
            return "no lines of ASCII"
        return _find_in_json(octets) if isinstance(session, RemoteSession) else _find_in_block(line, octets.decode())
    except Exception as error:
        return f"raised {error!r}"


def _find_in_block(line: bytes, text: str) -> str | None:
    *records, last = text.removesuffix("\n").split("\n")
    if last not in {"END", "FAIL"} and not (line.startswith(b"HELO") and last.startswith("OK\t") and not records):
        return f"ends with {last!r}"
    if records and (last == "FAIL" or {"END", "FAIL"} & set(records)):
        return "more than one end"
    if line.startswith(b"CMD"):
        return None
    for record in records:
        kind, scope, auth, qname, rclass, rtype, ttl, zone, *content = record.split("\t")
        if (kind, rclass) != ("DATA", "IN") or auth not in {"0", "1"} or qname != line.split(b"\t")[1].decode():
            return f"a record that is none: {record!r}"
        if int(scope) not in SCOPES or int(ttl) not in TTLS or int(zone) < 1:
            return f"numbers out of range: {record!r}"
        dns.rdata.from_text("IN", dns.rdatatype.from_text(rtype), " ".join(content))
    return None


def _find_in_json(octets: bytes) -> str | None:
    if octets.count(b"\n") != 1:
        return "more than one line"
    found = json.loads(octets)
    if found.keys() != {"result"}:
        return f"keys {sorted(found)}"
    for record in found["result"] if isinstance(found["result"], list) else ():
        if "content" in record and record["qtype"] != "ENT":
            dns.rdata.from_text("IN", dns.rdatatype.from_text(record["qtype"]), record["content"])
            if record["scopeMask"] not in SCOPES or record["ttl"] not in TTLS or record["auth"] not in {0, 1}:
                return f"numbers out of range: {record}"
    return None


def run(count: int, seed: int) -> list[tuple[bytes, str]]:
    """The lines that broke the invariant, each with what was wrong; *count* of each protocol."""
    lookup, found = FixedLookup(make_snapshot(), seed), []
    for remote in (False, True):
        session = RemoteSession(lookup) if remote else PipeSession(lookup)
        session.answer(b"HELO\t5")
        for line in lines(count, seed, remote):
            if line.startswith(b"HELO") and line != b"HELO\t5":
                continue  # what is refused once is refused for ever, and nothing more would be seen
            lookup.asked.clear()
            fault = find_fault(session, line)
            if fault is not None:
                found.append((line, fault))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF_FFFF)
    options = parser.parse_args()
    found = run(options.lines, options.seed)
    for line, fault in found:
        print(f"{fault}: {line!r}")
    print(f"{options.lines} lines of each protocol, seed {options.seed}: {len(found)} broke the invariant")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
