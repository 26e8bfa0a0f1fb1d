"""What a zone checker would say: errors cannot be served coherently, warnings are served as written.

Knows all zones at once (`view`) and which services answer CNAMEs. Knows nothing of how a record was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ...errors import Complaint
from ...wire.name import is_below, name_text
from .drafts import Draft
from .presentation import type_text
from .records import (
    ADDRESS_TYPES,
    CNAME,
    DNAME,
    DS,
    MX,
    NS,
    SOA,
    SRV,
    WILDCARD,
    Record,
    Written,
    rdata_names,
    repeats_zone,
    suggest_absolute,
    wire_of,
    written_absolute,
)
from .view import Standing, View, find_cut, find_glue, find_parent, find_records, find_zone, kept_at_cut, locate, served

Targets = Mapping[str, frozenset[bytes]]  # service -> the CNAME targets that it can answer, empty for addresses alone

MOST_HIDDEN = 10  # complaints about one delegation or inner zone; more are counted
MESSAGE_ROOM = 65535 - 1024  # octets of one answer section, after header, question, a long owner and OPT


def check_view(view: View, targets: Targets) -> Iterator[Complaint]:
    """Every complaint about the zones as a whole."""
    for draft in view.drafts.values():
        yield from _check_hidden(view, draft)
        yield from _check_soa(view, draft)
        for owner, rrsets in served(view, draft):
            yield from _check_owner(view, draft, owner, rrsets, targets)
        for cut in sorted(view.cuts[draft.apex]):
            yield from _check_cut(view, draft, cut, targets)


def _check_owner(
    view: View, draft: Draft, owner: bytes, rrsets: Mapping[int, list[Record]], targets: Targets
) -> Iterator[Complaint]:
    use = draft.services.get(owner)
    if CNAME in rrsets or DNAME in rrsets:
        yield from _check_alias(view, draft, owner, rrsets)
    if use is not None and targets.get(use.service):
        yield from _check_service_alias(draft, owner, rrsets)
    if owner == draft.apex and DS in rrsets:
        parent = find_parent(view.drafts, draft)
        whose = f"the zone {name_text(parent.apex)} above" if parent else "the parent zone"
        yield from (record.written.error(f"DS of {name_text(owner)} belongs to {whose}") for record in rrsets[DS][:1])
    elif DS in rrsets:
        yield from (
            record.written.warning(f"DS at {name_text(owner)} without NS: nobody asks for it") for record in rrsets[DS][:1]
        )
    if owner.startswith(WILDCARD) and NS in rrsets:
        text = f"NS at the wildcard {name_text(owner)}: what it delegates is undefined (RFC 4592 4.2)"
        yield from (record.written.error(text) for record in rrsets[NS][:1])
    for rtype, records in rrsets.items():
        if owner == draft.apex and rtype == NS:
            for record in records:
                yield from _check_server(view, draft, record, None, targets)
        for record in records:
            yield from _check_names(view, record, targets)
        yield from _check_size(records)


def _check_size(records: list[Record]) -> Iterator[Complaint]:
    if len(records) > 100 or sum(len(record.text) for record in records) > 10_000:  # the rest is small enough
        size = sum(12 + len(record.rdata.to_wire() or b"") for record in records)
        if size > MESSAGE_ROOM:
            text = f"{size} octets of {type_text(records[0].rtype)} do not fit into one message, at most {MESSAGE_ROOM} do"
            yield records[0].written.error(text)


def _check_alias(view: View, draft: Draft, owner: bytes, rrsets: Mapping[int, list[Record]]) -> Iterator[Complaint]:
    """RFC 2181 10.1: "An alias name (label of a CNAME record) may, if DNSSEC is in use, have SIG, NXT, and KEY RRs, but
    may have no other data"; RFC 6672 2.4: no CNAME beside a DNAME, nothing below it, and one of each.
    """
    label = name_text(owner)
    for rtype in (CNAME, DNAME):
        for record in rrsets.get(rtype, ())[1:2]:
            yield record.written.error(f"{label} has {len(rrsets[rtype])} {type_text(rtype)} records, one is possible")
    if rrsets.get(CNAME):
        others = sorted(type_text(rtype) for rtype in rrsets if rtype != CNAME)
        if others:
            text = f"{label} has CNAME and other data ({', '.join(others)})"
            yield rrsets[CNAME][0].written.error(text)
    if rrsets.get(DNAME):
        written = rrsets[DNAME][0].written
        names = view.existing[draft.apex] | view.drafts.keys()
        below = min((name for name in names if name != owner and is_below(name, owner)), default=None)
        if below is not None:
            yield written.error(f"{name_text(below)} stands below the DNAME at {label}, which covers all names there")
        yield written.warning(f"DNAME at {label} is answered as it stands: names below it are not redirected")


def _check_service_alias(draft: Draft, owner: bytes, rrsets: Mapping[int, list[Record]]) -> Iterator[Complaint]:
    """Design section 3, "Members and CNAMEs": no other data, and not at an apex."""
    use = draft.services[owner]
    if owner == draft.apex:
        yield use.written.error(f"the service {use.service} can answer a CNAME, which cannot stand at the apex of a zone")
    elif rrsets:
        others = ", ".join(sorted(map(type_text, rrsets)))
        yield use.written.error(f"the service {use.service} can answer a CNAME, but {name_text(owner)} has {others} too")


def _check_names(view: View, record: Record, targets: Targets) -> Iterator[Complaint]:
    """A relative name that exists nowhere is an error; so may an absolute one be for those that somebody looks up."""
    if record.rtype in (NS, SOA):
        return  # _check_server and _check_soa say more
    for found in rdata_names(record.rdata):
        name = wire_of(found)
        if len(name) == 1:
            continue  # the root: "none" in MX, SRV, NAPTR and SVCB
        standing, where, node = locate(view, name)
        label = f"{type_text(record.rtype)} target {name_text(name)}"
        if standing is Standing.MISSING and where is not None:
            if not written_absolute(record.text, name):
                suggestion = suggest_absolute(record.text, name, where.apex)
                yield record.written.error(f"{label} does not exist{suggestion}")
            elif record.rtype in (CNAME, MX, SRV):
                yield record.written.warning(f"{label} does not exist")
        elif standing is Standing.EXISTS and where is not None and record.rtype in (MX, SRV):
            yield from _check_host(where, node, record, label, targets)


def _check_host(where: Draft, node: bytes, record: Record, label: str, targets: Targets) -> Iterator[Complaint]:
    """RFC 2181 10.3: the value of an MX must not be an alias; RFC 2782 says the same of SRV."""
    rrsets, use = find_records(where, node), where.services.get(node)
    if CNAME in rrsets:
        yield record.written.warning(f"{label} is a CNAME, expected a name with addresses (RFC 2181 10.3)")
    elif use is not None and targets.get(use.service):
        yield record.written.error(f"{label} is the service {use.service}, which answers CNAMEs: expected one of addresses")
    elif use is None and not ADDRESS_TYPES & rrsets.keys() and where.whole:
        yield record.written.warning(f"{label} has no address")


def _check_cut(view: View, draft: Draft, cut: bytes, targets: Targets) -> Iterator[Complaint]:
    for record in draft.rrsets[cut][NS]:
        yield from _check_server(view, draft, record, cut, targets)


def _check_server(view: View, draft: Draft, record: Record, cut: bytes | None, targets: Targets) -> Iterator[Complaint]:
    """RFC 2181 10.3: a name server is no alias; and it needs an address wherever we are the ones to give it."""
    name = record.target
    standing, where, node = locate(view, name)
    label = f"name server {name_text(name)}"
    rrsets = find_records(where, node)
    if standing is Standing.MISSING:
        relative = not written_absolute(record.text, name)
        suggestion = suggest_absolute(record.text, name, draft.apex) if relative and is_below(name, draft.apex) else ""
        yield record.written.error(f"{label} is inside our zones and does not exist{suggestion}")
    elif standing is Standing.DELEGATED and where is not None and where.whole and not ADDRESS_TYPES & rrsets.keys():
        if cut is not None and is_below(name, cut):
            text = f"{label} is inside the zone that it serves and has no address here: nobody could reach it (glue)"
            yield record.written.error(text)
        else:
            yield record.written.warning(f"{label} is below another delegation and has no address here (glue)")
    elif standing is Standing.EXISTS and where is not None:
        use = where.services.get(node)
        if use is not None:
            yield record.written.error(f"{label} is the service {use.service}: a name server needs addresses of its own")
        elif CNAME in rrsets:
            yield record.written.error(f"{label} is a CNAME, expected a name with addresses (RFC 2181 10.3)")
        elif not ADDRESS_TYPES & rrsets.keys() and where.whole:
            yield record.written.error(f"{label} is inside our zones and has no address")


def _check_soa(view: View, draft: Draft) -> Iterator[Complaint]:
    for owner, rrsets in draft.rrsets.items():
        if owner != draft.apex and SOA in rrsets:
            text = f"SOA at {name_text(owner)}: it belongs to the apex {name_text(draft.apex)} alone"
            yield from (record.written.error(text) for record in rrsets[SOA][:1])
    for record in draft.rrsets[draft.apex].get(SOA, ()):
        mname, rname = wire_of(record.rdata.mname), wire_of(record.rdata.rname)  # type: ignore[attr-defined]
        if record.text and locate(view, mname)[0] is Standing.MISSING and not written_absolute(record.text, mname):
            suggestion = suggest_absolute(record.text, mname, draft.apex)
            yield record.written.error(f"SOA mname {name_text(mname)} does not exist{suggestion}")
        if record.text and repeats_zone(rname, draft.apex) and not written_absolute(record.text, rname):
            suggestion = suggest_absolute(record.text, rname, draft.apex)
            yield record.written.error(f"SOA rname {name_text(rname)} repeats the zone{suggestion}")


def _check_hidden(view: View, draft: Draft) -> Iterator[Complaint]:
    """What nobody will ever be answered: below a delegation, or where another zone of ours begins."""
    glue = find_glue(view, draft)
    told: Counter[str] = Counter()
    for owner in dict.fromkeys((*draft.rrsets, *draft.services)):
        inner, cut = find_zone(view.drafts, owner), find_cut(view, draft, owner)
        if inner is not None and inner is not draft:
            servers = {record.target for record in find_records(draft, inner.apex).get(NS, ())}
            kept = kept_at_cut(owner, inner.apex, frozenset(servers))
            reason = f"the zone {name_text(inner.apex)} answers there"
        elif cut is not None:
            kept = kept_at_cut(owner, cut, glue)
            reason = f"{name_text(cut)} is delegated"
        else:
            continue
        for complaint in _hidden(draft, owner, kept, reason):
            told[reason] += 1
            if told[reason] <= MOST_HIDDEN:
                yield complaint
    for reason, count in told.items():
        if count > MOST_HIDDEN:
            yield draft.written.warning(f"{count - MOST_HIDDEN} more rrsets and services are not served: {reason}")


def _hidden(draft: Draft, owner: bytes, kept: frozenset[int], reason: str) -> Iterator[Complaint]:
    for rtype, records in find_records(draft, owner).items():
        if rtype not in kept and records:
            yield records[0].written.warning(f"{type_text(rtype)} of {name_text(owner)} is not served: {reason}")
    if owner in draft.services:
        use = draft.services[owner]
        yield use.written.warning(f"the service {use.service} at {name_text(owner)} is not served: {reason}")


def check_loops(view: View, targets: Targets, longest: int = 8) -> Iterator[Complaint]:
    """CNAMEs that lead back to themselves, and chains longer than are followed."""
    edges: dict[bytes, set[bytes]] = {}
    places: dict[bytes, Written] = {}
    for draft in view.drafts.values():
        for owner, rrsets in served(view, draft):
            use, aliases = draft.services.get(owner), rrsets.get(CNAME, [])
            names = {record.target for record in aliases}
            if use is not None:
                names |= targets.get(use.service, frozenset())
            if names:
                edges[owner] = {locate(view, name)[2] for name in names}
                places[owner] = aliases[0].written if aliases or use is None else use.written
    depths = _depths(edges)
    for owner, written in places.items():
        if owner not in depths:
            yield written.warning(f"the CNAME at {name_text(owner)} leads into a loop")
        elif depths[owner] == longest + 1:
            text = f"the chain of CNAMEs from {name_text(owner)} is longer than {longest}: its end is not answered"
            yield written.warning(text)


def _depths(edges: Mapping[bytes, set[bytes]]) -> dict[bytes, int]:
    """The longest chain from each alias; those that lead into a loop have none."""
    waiting = {owner: len([name for name in names if name in edges]) for owner, names in edges.items()}
    users: dict[bytes, list[bytes]] = {}
    for owner, names in edges.items():
        for name in names:
            users.setdefault(name, []).append(owner)
    ready = [owner for owner, count in waiting.items() if not count]
    depths: dict[bytes, int] = {}
    while ready:
        owner = ready.pop()
        depths[owner] = 1 + max((depths.get(name, 0) for name in edges[owner]), default=0)
        for user in users.get(owner, ()):
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    return depths
