"""Master files (RFC 1035 5): their records, each with file and line, and every mistake in them at once.

Knows entries, `$INCLUDE` relative to the file that names it, and how much `$GENERATE` may make. dnspython reads each
entry. Knows nothing of what YAML says about the same zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.name
import dns.rdataclass
import dns.tokenizer
import dns.transaction
import dns.zonefile

from ...config.files import Disk, Files
from ...errors import Complaint, Place
from .presentation import type_text
from .records import Record, RefusesUnicode, Written, wire_of
from .values import SIGNED_TYPES, check_rtype, reason

DEFAULT_TTL = 300  # where neither the file nor the configuration says anything
MAX_TTL = (1 << 31) - 1  # RFC 2181 8
MOST_GENERATED = 65536  # records of one $GENERATE
MOST_INCLUDES = 1000  # files of one zone
LARGEST = 1 << 30  # octets in one file
MOST_COMPLAINTS = 100  # of one zone's files; more are counted

_DIRECTIVES = ("GENERATE", "ORIGIN", "TTL")
_INCLUDE = re.compile(r'\$INCLUDE[ \t]+(?:"([^"]*)"|([^\s;"]+))(?:[ \t]+([^\s;]+))?[ \t]*(?:;.*)?', re.IGNORECASE)
_GENERATE = re.compile(r"\$GENERATE[ \t]+([0-9]{1,10})-([0-9]{1,10})(?:/([0-9]{1,10}))?[ \t]", re.IGNORECASE)
_MARKS = re.compile(r'\\.|["();]')  # what decides where an entry ends
_MALFORMED = "malformed, expected: $GENERATE first-last[/step] owner [ttl] [class] type rdata"
# What dnspython may raise at a bad entry; the last ones are its conversions of hostile numbers and names
_BAD_ENTRY = (dns.exception.DNSException, ValueError, ArithmeticError, LookupError, TypeError, AssertionError)


@dataclass(slots=True)
class MasterFile:
    """What a master file and its includes hold. *ttl* is the first `$TTL`, None without."""

    records: list[Record] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    ttl: int | None = None


class _Collector(dns.transaction.Transaction):
    """Takes each record from dnspython's reader as it comes: no rrsets, no opinions."""

    def __init__(self, found: MasterFile, files: Files) -> None:
        super().__init__(dns.zonefile.RRSetsReaderManager(dns.name.root), True, False)
        self.found, self.files = found, files
        self.signed: list[tuple[int, Written]] = []
        self.entry = ""
        self.written = Written(Place(""))

    def add(self, *args: Any) -> None:
        name, ttl, rdata = args
        if rdata.rdtype in SIGNED_TYPES:
            self.signed.append((rdata.rdtype, self.written))
            return
        try:
            check_rtype(rdata.rdtype)
            if ttl > MAX_TTL:
                raise ValueError(f"TTL {ttl} is out of range, expected 0..{MAX_TTL}")
            owner = wire_of(name)
            rdata.to_wire()
        except (dns.exception.DNSException, ValueError) as error:
            self.found.complaints.append(self.written.error(reason(error)))
            return
        self.found.records.append(Record(owner, rdata.rdtype, ttl, rdata, self.written, self.entry))

    def _set_origin(self, origin: dns.name.Name | None) -> None:
        """`$ORIGIN` belongs to the reader alone."""


def read_master(
    path: Path, apex: dns.name.Name, ttl: int | None, written: Written, files: Files | None = None
) -> MasterFile:
    """All records of the file at *path*; *ttl* is the zone's own, for records without, None if it has none.

    *written* is where the file was named: there a file that cannot be read is complained of. *files* is what it is read
    from (default: the disk). Raises nothing.
    """
    found = MasterFile()
    collector = _Collector(found, Disk() if files is None else files)
    reader = dns.zonefile.Reader(
        dns.tokenizer.Tokenizer("", ""), dns.rdataclass.IN, collector, allow_directives=_DIRECTIVES, default_ttl=ttl
    )
    # The reader drops owners outside its zone without a word. Below the root it shows them all.
    reader.current_origin = reader.last_name = apex
    # RFC 1035 5.1: "Omitted class and TTL values are default to the last explicitly stated values"; before the first of
    # them it is ours. (SOA MINIMUM is no default any more: RFC 2308 4.)
    reader.last_ttl, reader.last_ttl_known = DEFAULT_TTL, True
    _read_file(reader, collector, path, written, ())
    if collector.signed:
        types = ", ".join(sorted({type_text(rtype) for rtype, _ in collector.signed}))
        text = (
            f"{len(collector.signed)} records of a signed zone ({types}): give the unsigned file, nothing is served signed"
        )
        found.complaints.append(collector.signed[0][1].error(text))
    if len(found.complaints) > MOST_COMPLAINTS:
        more = len(found.complaints) - MOST_COMPLAINTS
        found.complaints[MOST_COMPLAINTS:] = [Written(Place(str(path))).error(f"and {more} more mistakes in this file")]
    return found


def _read_file(
    reader: dns.zonefile.Reader, collector: _Collector, path: Path, written: Written, within: tuple[Path, ...]
) -> None:
    found = collector.found
    if path in within:
        found.complaints.append(written.error(f"{path} includes itself"))
        return
    if len(found.files) == MOST_INCLUDES:
        found.complaints.append(written.error(f"{path} is one file too many, at most {MOST_INCLUDES} belong to a zone"))
        return
    try:
        # Comments in old files are not always UTF-8, and are nobody's business; other octets fail where they stand.
        text = collector.files.read(path, LARGEST).decode("utf-8-sig", "surrogateescape")
    except (OSError, ValueError) as error:  # ValueError also: a name with NUL in it
        why = error.strerror if isinstance(error, OSError) else error
        found.complaints.append(written.error(f"{path} cannot be read: {why}"))
        return
    found.files.append(path)
    for line, entry, closed in split_entries(text):
        collector.entry, collector.written = entry, Written(Place(str(path), line))
        include = _INCLUDE.fullmatch(entry)
        if not closed:
            found.complaints.append(collector.written.error("a parenthesis is opened here and never closed"))
        elif include:
            _include(reader, collector, include, path, within)
        else:
            _read_entry(reader, collector)


def split_entries(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each entry of a master file with the number of its first line; blank lines and lines of comment are left out.

    An entry is one line, or several where parentheses are open at the end of a line (RFC 1035 5.1). The last value is
    False for one whose parentheses are open at the end of the file.
    """
    entry, first, depth = "", 0, 0
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        if depth:
            entry += "\n" + line
        else:
            if not line.lstrip(" \t") or line.lstrip(" \t").startswith(";"):
                continue
            entry, first = line, number
        if depth or "(" in line:
            depth = _depth_after(line, depth)
        if not depth:
            yield first, entry, True
    if depth:
        yield first, entry, False


def _depth_after(line: str, depth: int) -> int:
    """How many parentheses are open at the end of *line*; those in quotes and comments do not count."""
    quoted = False
    for mark in _MARKS.findall(line):
        if mark == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif mark == ";":
            break
        elif mark in "()":
            depth += 1 if mark == "(" else -1
    return max(depth, 0)


def _read_entry(reader: dns.zonefile.Reader, collector: _Collector) -> None:
    """Give one entry to dnspython; a mistake in it is one complaint, and the next entry is read as if it were right."""
    found, entry, written = collector.found, collector.entry, collector.written
    generate = entry[:9].upper() == "$GENERATE"
    if generate:
        match = _GENERATE.match(entry)
        if not match:
            found.complaints.append(written.error(_describe(ValueError(), entry)))
            return
        count = (int(match[2]) - int(match[1])) // max(int(match[3] or 1), 1) + 1
        if count > MOST_GENERATED:
            found.complaints.append(written.error(f"$GENERATE makes {count} records, at most {MOST_GENERATED} are allowed"))
            return
    reader.tok = dns.tokenizer.Tokenizer(entry, "", RefusesUnicode())
    try:
        reader.read()
    except _BAD_ENTRY as error:
        found.complaints.append(written.error(_describe(error, entry)))
    if entry[:4].upper() == "$TTL" and found.ttl is None and reader.default_ttl_known:
        found.ttl = reader.default_ttl
        if found.ttl > MAX_TTL:
            found.complaints.append(written.error(f"$TTL {found.ttl} is out of range, expected 0..{MAX_TTL}"))


def _describe(error: BaseException, entry: str) -> str:
    shown = " ".join(entry.split())
    label = f'"{shown[:77]}..."' if len(shown) > 80 else f'"{shown}"'
    if any("\udc80" <= letter <= "\udcff" for letter in entry):
        return f"{label!a} is not UTF-8"
    text = re.sub(r"^:\d+: ", "", str(error))  # the reader's own "file:line: "
    if entry[:9].upper() == "$GENERATE":
        return f"{label}: {reason(ValueError(text)) if text else _MALFORMED}"
    return f"{label}: {reason(ValueError(text)) if text else 'cannot be read as a record'}"


def _include(
    reader: dns.zonefile.Reader, collector: _Collector, include: re.Match[str], path: Path, within: tuple[Path, ...]
) -> None:
    """RFC 1035 5.1: an included file may have an origin of its own, and leaves that of the parent file as it was."""
    written = collector.written
    before = (reader.current_origin, reader.last_name, reader.last_ttl, reader.default_ttl, reader.default_ttl_known)
    if include[3]:
        try:
            reader.current_origin = dns.name.from_text(include[3], reader.current_origin, RefusesUnicode())
        except _BAD_ENTRY as error:
            collector.found.complaints.append(written.error(_describe(error, collector.entry)))
            return
    _read_file(reader, collector, path.parent / (include[1] or include[2]), written, (*within, path))
    (reader.current_origin, reader.last_name, reader.last_ttl, reader.default_ttl, reader.default_ttl_known) = before
