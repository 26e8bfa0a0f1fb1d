"""How a name is found among those that exist, and why it holds what was asked for, or does not.

Knows exact names, wildcards, empty non-terminals, cuts and negative answers, and their words. Which of them it is, and what
is answered, `lookup` says. Knows nothing of what services decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .compiler.zones.presentation import record_text, type_text
from .explanation import Match
from .lookup import ALIAS, NODATA, NXDOMAIN, RECORDS, REFERRAL, REFUSED, find_closest, offers
from .snapshot import Node, Zone, Zones
from .wire.constants import ANY, CNAME
from .wire.name import name_text
from .wire.rdata import ttl_of


def trace_name(zones: Zones, owner: bytes) -> tuple[Match, Node | None]:
    """How *owner* is found, and the node that speaks for it: its own, the wildcard's, or else the closest that exists.

    RFC 1034 4.3.2: match down label by label, delegation before wildcard; RFC 4592 2.2.1: the wildcard is the child of the
    closest encloser, and a name that exists is its own, even where it holds nothing.
    """
    node = zones.names.get(owner)
    if node is None:
        closest = find_closest(zones, owner)
        if closest is None:
            return Match.OUTSIDE, None
        if closest.cut is not None:
            return Match.DELEGATED, closest
        return (Match.MISSING, closest) if closest.wildcard is None else (Match.WILDCARD, closest.wildcard)
    if node.cut is not None:
        return Match.DELEGATED, node
    return (Match.EXACT if node.rrsets or node.service else Match.EMPTY), node


def is_ours(zones: Zones, owner: bytes) -> bool:
    """Is *owner* in one of our zones?"""
    return owner in zones.names or find_closest(zones, owner) is not None


def asked_of_service(match: Match, node: Node | None, rtype: int) -> int | None:
    """The type that the service at *node* is asked for; None where it has no say.

    Records that stand there by themselves come first; RFC 8482 4.2 answers ANY with the CNAME, where there can be one.
    """
    if node is None or node.service is None or match not in {Match.EXACT, Match.WILDCARD} or rtype in node.rrsets:
        return None
    asked = CNAME if rtype == ANY else rtype
    return asked if offers(node.service, asked) else None


def tell_match(zones: Zones, match: Match, node: Node | None, zone: Zone | None) -> str:
    """Where the name stands, in words; *zone* is the one that answers."""
    if node is None or zone is None:
        return f"in none of our zones ({', '.join(name_text(one.apex) for one in zones.zones)})"
    inside = f"in zone {name_text(zone.apex)}"
    match match:
        case Match.WILDCARD:
            return f"{inside}, by the wildcard {name_text(node.name)}, since the name itself does not exist"
        case Match.DELEGATED:
            return f"{inside}, at or below the delegation of {name_text(node.cut.name if node.cut else node.name)}"
        case Match.EMPTY:
            return f"{inside}, holds nothing: it exists because names below it do"
        case Match.MISSING:
            return f"{inside}, does not exist; {name_text(node.name)} does, and has no wildcard"
    return inside


def tell_static(status: int, rtype: int, node: Node | None, found: Any) -> str:
    """Why the result is what it is where no service has a say; *found* as `lookup.find` gives it with *status*."""
    word = type_text(rtype)
    if status == RECORDS:
        if rtype == ANY and (node is None or CNAME not in node.rrsets):
            return "ANY is answered with one HINFO, RFC 8482 4.2"
        return f"{word} as written in the zone, ttl {ttl_of(found[0])}, the same for everybody"
    if status == NXDOMAIN:
        return f"nothing of any type; resolvers remember that for {ttl_of(found)} s"
    if status == REFERRAL:
        return f"the name servers of {name_text(found.name)} know more"
    if status == REFUSED:
        return "we answer for our own zones only"
    return f"no {word}: {_tell_held(node)}; resolvers remember that for {ttl_of(found)} s"


def _tell_held(node: Node | None) -> str:
    held = [type_text(rtype) for rtype in sorted(node.rrsets)] if node is not None else []
    if node is not None and node.service is not None:
        held.append(f"service {node.service.name}, which has members of other types only")
    return f"the name has {', '.join(held)}" if held else "the name holds nothing"


def tell_records(owner: bytes, zone: Zone | None, status: int, found: Any) -> Iterator[str]:
    """The records of one hop; a negative answer's SOA stands at the zone's apex, a referral's NS at the cut."""
    if status in {RECORDS, ALIAS}:
        yield from (record_text(owner, tail) for tail in found)
    elif status in {NODATA, NXDOMAIN} and zone is not None:
        yield record_text(zone.apex, found)
    elif status == REFERRAL:
        yield from (record_text(found.name, tail) for tail in found.ns.tails)
