"""What one zone holds: its master file, and over it what YAML says.

Knows which of two sources wins, TTLs, the SOA and its serial. Knows nothing of other zones or of delegations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dns.name
import dns.rdtypes.ANY.SOA

from ...config.files import Disk, Files
from ...config.model import Owner, Zone
from ...errors import Complaint
from ...wire.name import is_below, name_text, parse_name_text
from .master import DEFAULT_TTL, MasterFile, read_master
from .presentation import type_text
from .records import (
    NS,
    REPLACED_BY_SERVICE,
    SOA,
    Record,
    Written,
    ends_with_dot,
    parse_name,
    parse_owner,
    repeats_text,
    repeats_zone,
    written_absolute,
)
from .values import parse_rtype, parse_value

Where = Callable[..., Written]  # the position of a key below `zones.<zone>`

# SOA fields where neither YAML nor the file gives them, in seconds; docs/reference/configuration.md has the same.
REFRESH, RETRY, EXPIRE, NEGATIVE_TTL = 3600, 900, 14 * 86400, 60
HIGH_NEGATIVE_TTL = 300


@dataclass(frozen=True, slots=True)
class ServiceUse:
    """A service at an owner, and where that was written."""

    service: str
    written: Written


@dataclass(slots=True)
class Draft:
    """One zone before it is seen beside the others. Rrsets are unique, of one TTL, by owner and type."""

    apex: bytes
    written: Written
    whole: bool = True  # False: parts of it are broken in YAML and left out, so nothing can be said of what is missing
    ttl: int = DEFAULT_TTL
    rrsets: dict[bytes, dict[int, list[Record]]] = field(default_factory=dict)
    services: dict[bytes, ServiceUse] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    reader: Files = field(default_factory=Disk)  # what they were read from
    complaints: list[Complaint] = field(default_factory=list)


def build_draft(
    apex_text: str, zone: Zone, where: Where, last_serial: int | None, whole: bool = True, reader: Files | None = None
) -> Draft:
    """The draft of a zone, complaints included; master files are read from *reader* (default: the disk)."""
    apex = parse_name_text(apex_text).lower()
    origin = dns.name.from_wire(apex, 0)[0]
    draft = Draft(apex, where(), whole, reader=Disk() if reader is None else reader)
    master = MasterFile()
    if zone.file is not None:
        master = read_master(zone.file, origin, zone.ttl, where("file"), draft.reader)
    draft.files = master.files
    draft.complaints += master.complaints
    draft.ttl = next(ttl for ttl in (master.ttl, zone.ttl, DEFAULT_TTL) if ttl is not None)
    _take_file(draft, master.records)
    _take_yaml(draft, zone, where, origin)
    _take_ns(draft, zone, where)
    for rrsets in draft.rrsets.values():
        for rtype, records in rrsets.items():
            if len(records) > 1:
                rrsets[rtype] = _unique(draft, records)
    _take_soa(draft, zone, where, last_serial)
    return draft


def _take_file(draft: Draft, records: Iterable[Record]) -> None:
    for record in records:
        owner, written = record.owner, record.written
        if not is_below(owner, draft.apex):
            text = f"{name_text(owner)} is outside of the zone {name_text(draft.apex)}"
            draft.complaints.append(written.error(text))
        elif repeats_zone(owner, draft.apex) and not _owner_absolute(record):
            draft.complaints.append(written.error(f'"{record.text.split()[0]}" {repeats_text(owner, draft.apex)}'))
        else:
            draft.rrsets.setdefault(owner, {}).setdefault(record.rtype, []).append(record)


def _owner_absolute(record: Record) -> bool:
    """Was the owner written with its final dot? One that was left out is that of a record before, and judged there."""
    text = record.text
    if text[:1].isspace():
        return True
    return written_absolute(text if text.startswith("$") else text.split()[0], record.owner)


def _take_yaml(draft: Draft, zone: Zone, where: Where, origin: dns.name.Name) -> None:
    seen: dict[bytes, str] = {}
    for text, entry in zone.records.items():
        written = where("records", text)
        try:
            owner = parse_owner(text, draft.apex)
        except ValueError as error:
            draft.complaints.append(written.error(str(error)))
            continue
        if owner in seen:
            draft.complaints.append(written.error(f'"{seen[owner]}" and "{text}" are the same owner, {name_text(owner)}'))
            continue
        seen[owner] = text
        _take_owner(draft, owner, entry, lambda *path, text=text: where("records", text, *path), origin)


def _take_owner(draft: Draft, owner: bytes, entry: Owner, where: Where, origin: dns.name.Name) -> None:
    if entry.service is not None:
        draft.services[owner] = ServiceUse(entry.service, where("service"))
        for rtype in REPLACED_BY_SERVICE & draft.rrsets.get(owner, {}).keys():
            del draft.rrsets[owner][rtype]
    for mnemonic, rrset in entry.rrsets.items():
        written = where("rrsets", mnemonic)
        try:
            rtype = parse_rtype(mnemonic)
        except ValueError as error:
            draft.complaints.append(written.error(str(error)))
            continue
        if entry.service is not None and rtype in REPLACED_BY_SERVICE:
            text = f"the service {entry.service} answers A, AAAA and CNAME here: leave out {mnemonic} or the service"
            draft.complaints.append(written.error(text))
        ttl = next(ttl for ttl in (rrset.ttl, entry.ttl, draft.ttl) if ttl is not None)
        records = []
        for number, text in enumerate(rrset.values):
            at = where("rrsets", mnemonic, "values", number) if len(rrset.values) > 1 else written
            try:
                records.append(Record(owner, rtype, ttl, parse_value(rtype, text, origin), at, text))
            except ValueError as error:
                draft.complaints.append(at.error(str(error)))
        draft.rrsets.setdefault(owner, {})[rtype] = records  # replaces that of the master file


def _take_ns(draft: Draft, zone: Zone, where: Where) -> None:
    rrsets = draft.rrsets.setdefault(draft.apex, {})
    if not zone.ns:
        if not rrsets.get(NS) and draft.whole:
            draft.complaints.append(draft.written.error('no name servers: write "ns: [...]"'))
        return
    if any(record.written.path for record in rrsets.get(NS, ())):
        draft.complaints.append(where("ns").error('name servers stand in "ns" and as NS in "records": keep one of them'))
    records = []
    for number, text in enumerate(zone.ns):
        written = where("ns", number)
        try:
            name = dns.name.from_wire(parse_name(text, draft.apex), 0)[0]
        except ValueError as error:
            draft.complaints.append(written.error(str(error)))
            continue
        rdata = parse_value(NS, name.to_text(), dns.name.root)
        records.append(Record(draft.apex, NS, draft.ttl, rdata, written, text))
    rrsets[NS] = records


def _unique(draft: Draft, records: list[Record]) -> list[Record]:
    """The rrset without duplicates and with one TTL (RFC 2181 5, 5.2)."""
    found: dict[bytes, Record] = {}
    for record in records:
        first = found.setdefault(record.rdata.to_digestable(), record)
        if first is not record:
            text = f"{_label(record)} stands twice, first at {first.written.place}"
            draft.complaints.append(record.written.warning(text))
    lowest = min(record.ttl for record in found.values())
    different = [record for record in found.values() if record.ttl != lowest]
    if different:
        text = f"{_label(different[0])} has records with different TTLs, the lowest ({lowest}) counts for all"
        draft.complaints.append(different[0].written.warning(text))
    return [
        record
        if record.ttl == lowest
        else Record(record.owner, record.rtype, lowest, record.rdata, record.written, record.text)
        for record in found.values()
    ]


def _label(record: Record) -> str:
    return f"{name_text(record.owner)} {type_text(record.rtype)}"


def _take_soa(draft: Draft, zone: Zone, where: Where, last_serial: int | None) -> None:
    """The SOA of the file (or of `records`), each field of `soa` over it, defaults for the rest."""
    rrsets = draft.rrsets[draft.apex]
    written_soas = rrsets.get(SOA, [])
    if len(written_soas) > 1:
        text = f"two SOA records, the first is at {written_soas[0].written.place}"
        draft.complaints.append(written_soas[1].written.error(text))
    base = written_soas[0] if written_soas else None
    old = base.rdata if base is not None and isinstance(base.rdata, dns.rdtypes.ANY.SOA.SOA) else None
    servers = rrsets.get(NS)
    mname = dns.name.from_wire(servers[0].target, 0)[0] if servers else dns.name.root
    rname = dns.name.from_wire(_fit(b"\x0ahostmaster" + draft.apex, draft.apex), 0)[0]
    given = zone.soa
    try:
        mname = old.mname if old else mname
        mname = dns.name.from_wire(parse_name(given.mname, draft.apex), 0)[0] if given.mname is not None else mname
    except ValueError as error:
        draft.complaints.append(where("soa", "mname").error(str(error)))
    try:
        rname = old.rname if old else rname
        rname = dns.name.from_wire(parse_mailbox(given.rname, draft.apex), 0)[0] if given.rname is not None else rname
    except ValueError as error:
        draft.complaints.append(where("soa", "rname").error(str(error)))
    serial, stays = pick_serial(given.serial, old.serial if old else None, last_serial, _newest(draft))
    if stays and (given.serial is not None or base is not None):
        at = where("soa", "serial") if given.serial is not None or base is None else base.written
        draft.complaints.append(at.warning(f"the serial is lower than {last_serial}, which was served before and stays"))
    fields = (
        serial,
        _first(given.refresh, old.refresh if old else None, REFRESH),
        _first(given.retry, old.retry if old else None, RETRY),
        _first(given.expire, old.expire if old else None, EXPIRE),
        _first(given.negative_ttl, old.minimum if old else None, NEGATIVE_TTL),
    )
    rdata = parse_value(SOA, f"{mname} {rname} {' '.join(map(str, fields))}", dns.name.root)
    ttl = _first(given.ttl, base.ttl if base else None, draft.ttl)
    if base is not None and old is not None and given.negative_ttl is None:
        _check_negative(draft, base, min(ttl, old.minimum))
    source = " ".join(filter(None, (given.mname, given.rname, base.text if base else None)))
    at = where("soa", "mname") if given.mname is not None or base is None else base.written
    rrsets[SOA] = [Record(draft.apex, SOA, ttl, rdata, at, source)]


def _check_negative(draft: Draft, base: Record, lowest: int) -> None:
    """RFC 2308 5: a negative answer is kept for min(SOA TTL, MINIMUM); a service that comes back would wait as long."""
    if draft.services and lowest > HIGH_NEGATIVE_TTL:
        text = f"negative answers live {lowest} s beside services, above {HIGH_NEGATIVE_TTL}: set soa.negative_ttl"
        draft.complaints.append(base.written.warning(text))


def _fit(name: bytes, otherwise: bytes) -> bytes:
    return name if len(name) <= 255 else otherwise


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def parse_mailbox(text: str, apex: bytes) -> bytes:
    """The name of a mailbox, written `user@example.com` or as RFC 1035 5.3 has it: `user.example.com.`

    Dots before the `@` belong to the one label of the user. Raises ValueError with the words for the operator.
    """
    user, at, domain = text.partition("@")
    if not at:
        return parse_name(text, apex)
    if not user or not domain:
        raise ValueError(f'"{text}" is not a mailbox, expected user@example.com')
    label = user if "\\" in user else user.replace(".", "\\.")
    return parse_name(f"{label}.{domain}" + ("" if ends_with_dot(domain) else "."), apex)


def _newest(draft: Draft) -> int:
    """Newest modification time, in seconds since 1970, of the files that the zone is written in; 1 where none is there."""
    written_in = (Path(draft.written.place.file), *draft.files)
    times = [changed for path in written_in if (changed := draft.reader.changed(path)) is not None]
    return max(times, default=1) & 0xFFFF_FFFF


def pick_serial(given: int | None, in_file: int | None, last: int | None, newest: int) -> tuple[int, bool]:
    """The serial, and whether the *last* one served stays because the new one would be lower.

    Lower as RFC 1982 3.2 has it: serials count modulo 2^32.
    """
    serial = _first(given, in_file, newest)
    if last is not None and serial != last and (serial - last) & 0xFFFF_FFFF >= 1 << 31:
        return last, True
    return serial, False


def drafts_by_apex(drafts: Iterable[Draft]) -> Mapping[bytes, Draft]:
    """By apex, parents before children."""
    return {draft.apex: draft for draft in sorted(drafts, key=lambda draft: (len(draft.apex), draft.apex))}
