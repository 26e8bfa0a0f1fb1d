"""The files that make up one configuration, as one tree.

Knows reading, includes, `networks_file`, and the names that need one form (zones, networks). Knows nothing of types.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path

from ..errors import Complaint, Place, Severity
from .compose import compose, place_at
from .files import Disk, Files, TooLargeError
from .model import Config
from .scalars import check_dns_name, parse_network
from .tree import Entries, Items, Scalar, Written, describe, is_null, is_off, make_entries, make_scalar
from .words import known_keys, tell_unknown

LARGEST = 64 * 1024 * 1024  # octets in one file
MERGED = ("datacenters", "maps", "checks", "services", "zones")  # by name, from all files


class Source:
    """What has been read so far: the tree, the complaints, the files."""

    def __init__(self, path: Path, reader: Files | None = None) -> None:
        self.path = path
        self.reader: Files = Disk() if reader is None else reader
        self.root: Entries | None = None
        self.complaints: list[Complaint] = []
        self.files: list[Path] = []
        self.moved: dict[tuple[str, str], tuple[str, ...]] = {}

    def complain(self, place: Place, path: str, text: str, severity: Severity = Severity.ERROR) -> None:
        self.complaints.append(Complaint(severity, place, path, text))

    def compose_file(self, path: Path, only: str | None = None) -> Entries | None:
        """The mapping in *path* without its ``x-`` keys, or None with a complaint."""
        self.files.append(path)
        text = self._read_text(path)
        if text is None:
            return None
        root, complaints = compose(text, str(path), only)
        self.complaints += complaints
        for key in [key for key in root or () if key.startswith("x-")]:
            del root[key]  # type: ignore[union-attr]  # there are no keys without a root
        return root

    def _read_text(self, path: Path) -> str | None:
        try:
            octets = self.reader.read(path, LARGEST)
        except TooLargeError as error:
            self.complain(Place(str(path)), "", str(error))
            return None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.complain(Place(str(path)), "", f"cannot be read: {reason}")
            return None
        try:
            return octets.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = octets[: error.start].decode("utf-8")
            place = place_at(before, len(before), str(path))
            self.complain(place, "", f"is not UTF-8: found octet 0x{octets[error.start]:02x}")
            return None


def gather(path: Path, reader: Files | None = None) -> Source:
    """Read *path*, its includes and its networks file into one tree; `Source.root` is None if *path* cannot be read."""
    source = Source(path, reader)
    root = source.compose_file(path)
    if root is None:
        return source
    include = root.pop("include", None)
    for key in MERGED:
        if isinstance(root.get(key), Entries):
            root[key] = _copy(root[key])
    _name_keys(source, root)
    for file in _find_includes(source, include):
        part = source.compose_file(file)
        if part is not None:
            _merge_part(source, root, part)
    _merge_networks_file(source, root)
    _name_checks(source, root)
    source.root = root
    return source


def _copy(value: Written) -> Entries:
    """A mapping of its own: an alias may stand elsewhere for the same one."""
    assert isinstance(value, Entries)
    copy = Entries(value)
    copy.file, copy.line, copy.column, copy.keys_at = value.file, value.line, value.column, dict(value.keys_at)
    return copy


def _find_includes(source: Source, include: Written | None) -> list[Path]:
    """The files that match, in order, each once, never the main file itself."""
    patterns = include if isinstance(include, Items) else [] if include is None or is_off(include) else [include]
    found: dict[Path, None] = {}
    for pattern in patterns:
        if not isinstance(pattern, Scalar) or is_null(pattern):
            source.complain(pattern.place, "include", f"must be a path or a pattern, got {describe(pattern)}")
            continue
        full = Path(pattern.file).parent / pattern
        if not glob.has_magic(str(pattern)):
            found[full] = None
            continue
        files = source.reader.match(Path(pattern.file).parent, str(pattern), source.path)
        if not files:
            source.complain(pattern.place, "include", f'no file matches "{pattern}"', Severity.WARNING)
        found.update(dict.fromkeys(files))
    return list(found)


def _merge_part(source: Source, root: Entries, part: Entries) -> None:
    """Add an included file's names to the tree."""
    _name_keys(source, part)
    for key, value in part.items():
        place = part.keys_at[key]
        if key in MERGED:
            _merge_names(source, root, key, value, place)
        elif key == "geoip":
            _merge_geoip(source, root, value)
        elif key == "include":
            source.complain(place, "", f"an included file includes no others; {source.path} may")
        elif key in Config.model_fields:
            source.complain(place, "", f'"{key}" stands in the main file, {source.path}')
        else:
            source.complain(place, "", tell_unknown(key, [*MERGED, "geoip"]))


def _merge_geoip(source: Source, root: Entries, value: Written) -> None:
    if is_null(value):
        return
    if not isinstance(value, Entries):
        source.complain(value.place, "geoip", f"must be a mapping, got {describe(value)}")
        return
    for key, inner in value.items():
        if key == "networks":
            _merge_networks(source, root, inner, value.keys_at[key])
        elif key in known_keys(("geoip",)):
            source.complain(value.keys_at[key], "", f'"geoip.{key}" stands in the main file, {source.path}')
        else:
            source.complain(value.keys_at[key], "", tell_unknown(key, ["networks"]))


def _merge_networks(source: Source, root: Entries, value: Written, place: Place) -> None:
    geoip = root.get("geoip")
    if geoip is None or is_null(geoip):
        root["geoip"] = make_entries(place)
        root.keys_at.setdefault("geoip", place)
    elif isinstance(geoip, Entries):
        root["geoip"] = _copy(geoip)
    if isinstance(root["geoip"], Entries):
        _merge_names(source, root["geoip"], "networks", value, place, "geoip.")


def _merge_names(source: Source, root: Entries, key: str, value: Written, place: Place, prefix: str = "") -> None:
    """Add the names of mapping *value* to those at *key*; a name in two files is an error that names both."""
    if is_null(value):
        return
    if not isinstance(value, Entries):
        source.complain(value.place, f"{prefix}{key}", f"must be a mapping, got {describe(value)}")
        return
    into = root.get(key)
    if into is None or is_null(into):
        into = root[key] = make_entries(place)
        root.keys_at[key] = place
    if not isinstance(into, Entries):
        return  # the model complains of it
    for name, inner in value.items():
        if name in into:
            first = into.keys_at[name]
            source.complain(value.keys_at[name], f"{prefix}{key}", f'"{name}" is defined twice; first at {first}')
        else:
            into[name], into.keys_at[name] = inner, value.keys_at[name]


def _merge_networks_file(source: Source, root: Entries) -> None:
    geoip = root.get("geoip")
    named = geoip.get("networks_file") if isinstance(geoip, Entries) else None
    if not isinstance(named, Scalar) or is_off(named):
        return
    networks = source.compose_file(Path(named.file).parent / named)
    if networks is not None:
        named_networks = _rename(source, networks, "geoip.networks", _network_name)
        _merge_networks(source, root, named_networks, networks.place)


def _name_keys(source: Source, root: Entries) -> None:
    """Zones as absolute lower-case names, networks as Python writes them: one name, one form."""
    zones, geoip = root.get("zones"), root.get("geoip")
    if isinstance(zones, Entries):
        root["zones"] = _rename(source, zones, "zones", apex_name)
    if isinstance(geoip, Entries) and isinstance(networks := geoip.get("networks"), Entries):
        root["geoip"] = geoip = _copy(geoip)
        geoip["networks"] = _rename(source, networks, "geoip.networks", _network_name)


def _rename(source: Source, entries: Entries, path: str, form: Callable[[str], str]) -> Entries:
    renamed = make_entries(entries.place)
    for key, value in entries.items():
        place = entries.keys_at[key]
        try:
            name = form(key)
        except ValueError as error:
            source.complain(place, path, str(error))
            continue
        if name in renamed:
            source.complain(place, path, f'"{key}" is written twice; the first is in line {renamed.keys_at[name].line}')
        else:
            renamed[name], renamed.keys_at[name] = value, place
    return renamed


def apex_name(text: str) -> str:
    """A zone's name, absolute and in lower case; `ValueError` if it cannot be one."""
    if text == ".":
        raise ValueError("the root cannot be a zone here")
    if "*" in text:
        raise ValueError(f'a zone cannot be a wildcard, got "{text}"')
    return check_dns_name(text).lower().removesuffix(".") + "."


def _network_name(text: str) -> str:
    return str(parse_network(text))


def _name_checks(source: Source, root: Entries) -> None:
    """A check written inside a service moves to `checks`, under a name that nobody can write: ``www:check``."""
    services, checks = root.get("services"), root.get("checks")
    if not isinstance(services, Entries):
        return
    for name, service in services.items():
        check = service.get("check") if isinstance(service, Entries) else None
        if not isinstance(check, Entries) or not isinstance(service, Entries):
            continue
        if checks is None or is_null(checks):
            checks = root["checks"] = make_entries(check.place)
            root.keys_at["checks"] = check.place
        if not isinstance(checks, Entries):
            return
        inner = f"{name}:check"
        checks[inner], checks.keys_at[inner] = check, service.keys_at["check"]
        source.moved["checks", inner] = ("services", name, "check")
        services[name] = changed = _copy(service)
        changed["check"] = make_scalar(inner, check.place)
