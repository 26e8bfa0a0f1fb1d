"""Where an answer through PowerDNS differs from ours, and must: one table, each row with its reason and an example.

Knows which parts of two replies differ, and for which questions that is PowerDNS's doing and not ours. Knows nothing of how
the replies were had. docs/guide/powerdns.md tells operators the same rows by the same titles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from tests.powerdns.transports import Way
from tests.replies import find_ecs, find_scope

NOERROR, NXDOMAIN, SERVFAIL, FORMERR = "NOERROR", "NXDOMAIN", "SERVFAIL", "FORMERR"
OF_NAMES = frozenset({"CNAME", "NS", "SOA", "MX", "SRV", "PTR"})


class Record(NamedTuple):
    """One record of a section."""

    owner: str
    rtype: str
    rdata: str
    ttl: int


class Outcome(NamedTuple):
    """What a reply says, without what chance orders. A section is sorted."""

    rcode: str
    aa: bool
    tc: bool
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    scope: int | None


class Asked(NamedTuple):
    """What was asked, as far as a difference depends on it. *believed*: this peer's client subnets count."""

    name: str
    rtype: str
    source: int | None
    believed: bool


def read_outcome(reply: dns.message.Message) -> Outcome:
    """What *reply* says."""
    sections = [tuple(sorted(_list(section))) for section in (reply.answer, reply.authority, reply.additional)]
    aa, tc = (bool(reply.flags & flag) for flag in (dns.flags.AA, dns.flags.TC))
    return Outcome(dns.rcode.to_text(reply.rcode()), aa, tc, sections[0], sections[1], sections[2], find_scope(reply))


def _list(section: Sequence[dns.rrset.RRset]) -> list[Record]:
    return [_read_record(rrset, rdata) for rrset in section for rdata in rrset]


def _read_record(rrset: dns.rrset.RRset, rdata: dns.rdata.Rdata) -> Record:
    """Names in lower case: either server compresses them onto names of another case, which means the same (RFC 4343 3)."""
    rtype, text = dns.rdatatype.to_text(rrset.rdtype), str(rdata)
    return Record(str(rrset.name).lower(), rtype, text.lower() if rtype in OF_NAMES else text, rrset.ttl)


def read_asked(query: dns.message.Message, believed: bool) -> Asked:
    """What *query* asks."""
    (question,), subnet = query.question, find_ecs(query)
    rtype = dns.rdatatype.to_text(question.rdtype)
    return Asked(str(question.name), rtype, None if subnet is None else subnet.srclen, believed)


@dataclass(frozen=True, slots=True)
class Difference:
    """One row: *fields* of an outcome may differ where *holds* (asked, ours, theirs).

    *example* is a step over CONFIG that shows it, with client subnets *believed* or not, in all ways that *shows*.
    """

    title: str  # as in the guide
    reason: str
    fields: frozenset[str]
    holds: Callable[[Asked, Outcome, Outcome], bool]
    example: Mapping[str, str]
    believed: bool = True
    shows: Callable[[Way], bool] = lambda way: True


def find_differing(ours: Outcome, theirs: Outcome) -> frozenset[str]:
    """The names of the fields that differ."""
    return frozenset(name for name, a, b in zip(Outcome._fields, ours, theirs, strict=True) if a != b)


def find_reasons(asked: Asked, ours: Outcome, theirs: Outcome) -> list[Difference] | None:
    """The rows that explain all that differs, none where nothing does; None where something has no reason."""
    differing = find_differing(ours, theirs)
    reasons = [row for row in DIFFERENCES if row.fields & differing and row.holds(asked, ours, theirs)]
    explained = frozenset[str]().union(*(row.fields for row in reasons))
    return reasons if differing <= explained else None


def _is_negative(outcome: Outcome) -> bool:
    """An SOA in the authority section is what makes an answer negative (RFC 2308 2)."""
    return [record.rtype for record in outcome.authority] == ["SOA"]


def _same_answer(ours: Outcome, theirs: Outcome) -> bool:
    return ours[:4] == theirs[:4]


def _negative_scope(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    """The records of a chain before the end keep their scope; the end itself has none."""
    if not (_same_answer(ours, theirs) and _is_negative(ours) and ours.scope is not None and theirs.scope is not None):
        return False
    return theirs.scope < ours.scope and (bool(theirs.answer) or theirs.scope == 0)


def _negative_ttl(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    """The same SOA; ours lasts no longer than the service's answers do."""
    if not (_is_negative(ours) and _is_negative(theirs)):
        return False
    (mine,), (other,) = ours.authority, theirs.authority
    return mine[:3] == other[:3] and mine.ttl < other.ttl


def _one_for_zero(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    return _same_answer(ours, theirs) and (ours.scope, theirs.scope) == (0, 1) and not _is_negative(theirs)


def _source_zero(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    return _same_answer(ours, theirs) and asked.source == 0 and ours.scope == 0


def _disbelieved(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    return _same_answer(ours, theirs) and not asked.believed and ours.scope == 0


def _more_addresses(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    """PowerDNS adds addresses of names in the answer; the scope of what it adds counts too."""
    added = set(theirs.additional) - set(ours.additional)
    return _same_answer(ours, theirs) and bool(added) and {record.rtype for record in added} <= {"A", "AAAA"}


def _loop(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    """We answer what we have collected; the chain came back to a name it had already left."""
    owners, targets = ([getattr(r, field).lower() for r in ours.answer] for field in ("owner", "rdata"))
    aliases = bool(ours.answer) and {record.rtype for record in ours.answer} == {"CNAME"}
    return aliases and set(targets) <= set(owners) and theirs.rcode == SERVFAIL and not theirs.answer


def _long_chain(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    aliases = [record for record in ours.answer if record.rtype == "CNAME"]
    return len(aliases) == len(ours.answer) == LONGEST_CHAIN and set(ours.answer) < set(theirs.answer)


def _any(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    if asked.rtype != "ANY" or [record.rtype for record in ours.answer] != ["HINFO"]:
        return False
    return (theirs.tc and not theirs.answer) or (not theirs.tc and bool(theirs.answer))


def _failure(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    return ours.rcode == theirs.rcode == SERVFAIL and not ours.answer and not theirs.answer and theirs.scope in {None, 0}


def _below_failure(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    return ours.rcode == NXDOMAIN and theirs.rcode == SERVFAIL and not theirs.answer


def _substitute(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    """Nothing ours; theirs what we gave it for nothing."""
    added = [(record.rtype, record.rdata.strip()) for record in set(theirs.answer) - set(ours.answer)]
    return asked.rtype == "TYPE65280" and _is_negative(ours) and added == [("TYPE65280", "\\# 0")]


def _wild_alias(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    alone = [record.rtype for record in ours.answer] == ["CNAME"]
    return asked.rtype == "CNAME" and alone and not ours.authority and _is_negative(theirs)


def _malformed(asked: Asked, ours: Outcome, theirs: Outcome) -> bool:
    return ours.rcode == FORMERR and theirs.rcode == NOERROR and bool(theirs.answer)


LONGEST_CHAIN = 8  # CNAMEs that we follow
DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "Scope of negative answers",
        "PowerDNS makes NODATA and NXDOMAIN from its SOA lookup, which has no client, and says scope 0; after a CNAME, the "
        "CNAME's scope. Ours is the scope of the order that decided.",
        frozenset({"scope"}),
        _negative_scope,
        {"query": "lasting.example.com A", "client": "20.0.0.0/16"},
    ),
    Difference(
        "TTL of negative answers",
        "The SOA that PowerDNS adds has the zone's negative TTL; ours has at most the TTL of the service that had nothing "
        "for this client at this moment.",
        frozenset({"authority"}),
        _negative_ttl,
        {"query": "mixed.example.com A"},
    ),
    Difference(
        "Scope 0 shown as 1",
        "What health or chance can change must not enter PowerDNS's caches, and only a scope other than 0 keeps it out.",
        frozenset({"scope"}),
        _one_for_zero,
        {"query": "pinned.example.com A", "client": "20.0.0.0/16"},
    ),
    Difference(
        "Scope for source 0",
        "To a query that hides its client behind a subnet of length 0 we say scope 0. PowerDNS says the scope of the "
        "records, which must not be 0.",
        frozenset({"scope"}),
        _source_zero,
        {"query": "www.example.com A", "client": "0.0.0.0/0"},
    ),
    Difference(
        "Scope for resolvers that are not believed",
        "Where `server.client_subnet` does not believe a resolver, we answer by its own address and say scope 0. PowerDNS "
        "says the scope of the records, which is that of the resolver's address.",
        frozenset({"scope"}),
        _disbelieved,
        {"query": "www.example.com A", "client": "20.0.0.0/16"},
        believed=False,
    ),
    Difference(
        "Additional addresses",
        "PowerDNS adds the addresses of name, mail and other servers that stand in the answer, and their scope counts for "
        "all of it. We add nothing but glue.",
        frozenset({"additional", "scope"}),
        _more_addresses,
        {"query": "example.com MX", "client": "20.0.0.0/16"},
    ),
    Difference(
        "CNAME loops",
        "PowerDNS gives up after ten steps with SERVFAIL. We answer the CNAMEs of one round.",
        frozenset({"rcode", "aa", "answer", "scope"}),
        _loop,
        {"query": "loop.example.com A"},
    ),
    Difference(
        "CNAME chains longer than eight",
        "We stop after eight CNAMEs and leave the rest to the resolver; PowerDNS follows ten.",
        frozenset({"answer", "scope", "rcode", "authority"}),
        _long_chain,
        {"query": "c1.example.com A"},
    ),
    Difference(
        "ANY",
        "PowerDNS sends ANY to TCP (`any-to-tcp`) and there gives all records. We give one HINFO (RFC 8482) by either.",
        frozenset({"answer", "authority", "additional", "scope", "tc"}),
        _any,
        {"query": "static.example.com ANY"},
    ),
    Difference(
        "AA and scope of SERVFAIL",
        "PowerDNS sets AA before its backend fails, and has no scope to tell. We leave AA out and tell the order's scope.",
        frozenset({"aa", "scope"}),
        _failure,
        {"query": "broken.example.com A", "client": "20.0.0.0/16"},
    ),
    Difference(
        "Names below a service that fails",
        "Where a name is missing, PowerDNS asks for everything at the names above it, and gives up where a service fails "
        "(`all_down: servfail`). We say NXDOMAIN for names below it.",
        frozenset({"rcode", "aa", "authority", "scope"}),
        _below_failure,
        {"query": "x.broken.example.com A"},
    ),
    Difference(
        "TYPE65280 at empty names",
        "The pipe of PowerDNS below 5.1 has no word for a name that exists and holds nothing, so we give it an empty record "
        "of a private type. Who asks for that type sees it.",
        frozenset({"answer", "authority", "scope"}),
        _substitute,
        {"query": "b.example.com TYPE65280"},
        shows=lambda way: way.abi > 0,
    ),
    Difference(
        "SOA beside a wildcard's CNAME",
        "PowerDNS adds its SOA to the CNAME of a wildcard where that is what was asked for.",
        frozenset({"authority"}),
        _wild_alias,
        {"query": "x.wild.example.com CNAME"},
    ),
    Difference(
        "Malformed client subnets",
        "RFC 7871 7.1.2 wants FORMERR for an option that cannot be right, and gets it from us. PowerDNS ignores the option "
        "and answers by the resolver's address.",
        frozenset({"rcode", "aa", "answer", "scope"}),
        _malformed,
        {"query": "www.example.com A", "malformed": "yes"},
    ),
)
WORLD = {
    "0.0.0.0/1": {"country": "US", "continent": "NA", "coordinates": [40, -75]},
    "128.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48, 2]},
}
CONFIG = """
server: {client_subnet: %s}
datacenters: {nyc: {coordinates: [40, -74]}, ams: {coordinates: [52, 5]}}
services:
  www: {check: off, pools: {nyc: [192.0.2.1], ams: [192.0.2.11]}}
  mixed: {check: off, ttl: 20, pools: {nyc: ["2001:db8::1"], ams: [192.0.2.12]}}
  lasting: {check: off, ttl: 60, pools: {nyc: ["2001:db8::1"], ams: [192.0.2.12]}}
  pinned: {check: off, pools: {nyc: [192.0.2.2]}}
  broken: {check: off, all_down: servfail, pools: {nyc: [192.0.2.3], ams: [192.0.2.13]}}
zones:
  example.com:
    ns: [ns1.example.com.]
    records:
      "@": {MX: ["10 www"]}
      ns1: {A: 192.0.2.53}
      www: {service: www}
      mixed: {service: mixed}
      lasting: {service: lasting}
      pinned: {service: pinned}
      broken: {service: broken}
      static: {A: 192.0.2.99, TXT: here}
      a.b: {TXT: here}
      "*.wild": {CNAME: static}
      loop: {CNAME: pool}
      pool: {CNAME: loop}
      c1: {CNAME: c2}
      c2: {CNAME: c3}
      c3: {CNAME: c4}
      c4: {CNAME: c5}
      c5: {CNAME: c6}
      c6: {CNAME: c7}
      c7: {CNAME: c8}
      c8: {CNAME: c9}
      c9: {CNAME: static}
"""
