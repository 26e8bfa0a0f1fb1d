"""pdns.conf as PowerDNS reads it: which value counts for each setting, and where it was written.

Knows PowerDNS's rules of lines, comments, `+=` and `include-dir` (as of 4.7 to 5.1, compared with the program itself by the
tests). Knows nothing of what settings mean, but for the defaults of those that geodns cares about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Complaint, Place, Severity

MOST_OCTETS = 4 * 1024 * 1024  # of one file
BLANKS = " \t\r\n\v\f"
_NUMBER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", re.ASCII)
DEFAULTS = {
    "allow-axfr-ips": "127.0.0.0/8,::1",
    "any-to-tcp": "yes",
    "cache-ttl": "20",
    "chroot": "",
    "consistent-backends": "yes",
    "disable-axfr": "no",
    "distributor-threads": "3",
    "edns-subnet-processing": "no",
    "expand-alias": "no",
    "include-dir": "",
    "launch": "",
    "negquery-cache-ttl": "60",
    "query-cache-ttl": "20",
    "receiver-threads": "1",
    "zone-cache-refresh-interval": "300",
    "pipe-abi-version": "1",
    "pipe-command": "",
    "pipe-timeout": "2000",
    "remote-connection-string": "",
    "remote-dnssec": "no",
    "gsqlite3-database": "",
    "gsqlite3-dnssec": "no",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What counts for one setting; *place* is the file alone where it is PowerDNS's default."""

    name: str
    value: str
    place: Place

    @property
    def is_written(self) -> bool:
        """Does it stand in a file?"""
        return bool(self.place.line)

    @property
    def is_on(self) -> bool:
        """As PowerDNS takes it: only ``no`` and ``off`` are no; ``No``, ``false``, ``0`` and nothing at all are yes."""
        return self.value not in ("no", "off")

    @property
    def number(self) -> int | None:
        """A whole number as C reads one (``0x10``, ``010``, ``5 or more``); nothing at all is 0, no number None."""
        if not self.value:
            return 0
        match = _NUMBER.match(self.value)
        if match is None:
            return None
        sign, digits = match.groups()
        base = 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" else 10
        return int(digits, base) * (-1 if sign == "-" else 1)


@dataclass
class PdnsConf:
    """All settings that are written, and what is wrong with the writing."""

    path: Path
    settings: dict[str, Setting] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    is_read: bool = True  # False: the main file could not be read, and there is nothing to look at

    def find(self, name: str, default: str | None = None) -> Setting:
        """The setting *name*: as written, else PowerDNS's default (*default*, for a name that only this file has)."""
        given = DEFAULTS[name] if default is None else default
        return self.settings.get(name) or Setting(name, given, Place(str(self.path)))

    def find_launched(self) -> list[tuple[str, str]]:
        """What is launched, in order: the kind, and what its settings begin with (``pipe``, ``pipe-two``)."""
        words = self.find("launch").value.replace(",", " ").split()
        return [(kind, f"{kind}-{name}" if name else kind) for kind, _, name in (word.partition(":") for word in words)]

    def complain(self, severity: Severity, place: Place, name: str, text: str) -> None:
        """One more complaint about the writing."""
        self.complaints.append(Complaint(severity, place, name, text))


def read_pdns_conf(path: Path) -> PdnsConf:
    """*path*, then the files in its `include-dir`, which count more. What cannot be read is a complaint in the result."""
    conf = PdnsConf(path)
    conf.is_read = _read_file(conf, path)
    include = conf.find("include-dir")
    if include.value:
        _read_folder(conf, include)
    return conf


def _read_folder(conf: PdnsConf, include: Setting) -> None:
    """Every ``*.conf`` of the folder whose name does not begin with a dot, by name. What they include is not looked at."""
    try:
        found = sorted(path for path in Path(include.value).iterdir() if path.suffix == ".conf" and path.name[0] != ".")
    except OSError as error:
        text = f"PowerDNS does not start, for {include.value} cannot be listed: {error.strerror}"
        conf.complain(Severity.ERROR, include.place, include.name, text)
        return
    for path in found:
        if path.is_file():
            _read_file(conf, path)
        else:
            conf.complain(Severity.ERROR, Place(str(path)), "", "PowerDNS does not start, for this is not a file")


def _read_file(conf: PdnsConf, path: Path) -> bool:
    """Settings of one file over those read before. False: it cannot be read."""
    try:
        with path.open("rb") as stream:
            octets = stream.read(MOST_OCTETS + 1)
    except OSError as error:
        conf.complain(Severity.ERROR, Place(str(path)), "", f"cannot be read: {error.strerror}")
        return False
    if len(octets) > MOST_OCTETS:
        conf.complain(Severity.ERROR, Place(str(path)), "", f"is larger than {MOST_OCTETS // 1024**2} MiB: not a pdns.conf")
        return False
    for number, line in join_lines(octets.decode(errors="surrogateescape")):
        _read_line(conf, line, Place(str(path), number))
    return True


def join_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, each with the number of its first one; those that end in a backslash go on in the next.

    Only the first ``#`` of a line is looked at, and it begins a comment where it is the first character or follows a blank.
    What would go on in a line that is not there is not read by PowerDNS either.
    """
    held, first = "", 0
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        bare = line.rstrip(BLANKS)
        first = first or number
        if bare.endswith("\\"):
            held += bare[:-1]
            continue
        whole = held + bare
        mark = whole.find("#")
        if mark == 0 or (mark > 0 and whole[mark - 1] in BLANKS):
            whole = whole[:mark]
        if whole.strip(BLANKS):
            yield first, whole.strip(BLANKS)
        held, first = "", 0


def _read_line(conf: PdnsConf, line: str, place: Place) -> None:
    """``name=value``, ``name+=value``, or a name alone, whose value is empty. The first ``+=`` counts wherever it stands."""
    name, more, value = line.partition("+=")
    if not more:
        name, _, value = line.partition("=")
    name, value = name.strip(BLANKS), value.lstrip(" \t")
    if more:
        written = conf.settings.get(name)
        held = written.value if written is not None else DEFAULTS.get(name, "")
        if written is None and not held:
            text = "PowerDNS does not start, for += adds to what is written above it, and nothing is"
            conf.complain(Severity.ERROR, place, name, text)
        value = f"{held}, {value}" if held else value
    conf.settings[name] = Setting(name, value, place)
