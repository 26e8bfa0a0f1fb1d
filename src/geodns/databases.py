"""Which GeoIP databases a configuration uses, how old they are, and whose they are.

Knows the files behind `geoip.database` and `geoip.asn`, and the notice that goes with the packaged one. Knows nothing of
what is in them. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .config.load import find_config, load_config
from .config.model import Geoip
from .errors import ConfigError
from .geo.builtin import Notice, database_path, notice
from .geo.place import find_sources
from .geo.status import read_status


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """One database in use."""

    key: str  # "geoip.database", "geoip.asn"
    file: str
    packaged: bool  # the one that comes with geodns
    kind: str  # "GeoLite2-City"
    built: str  # ISO 8601 date
    age_days: int
    families: tuple[str, ...]
    nodes: int
    octets: int
    description: str


@dataclass(frozen=True, slots=True)
class Databases:
    """All of them, in the order in which they are asked."""

    files: tuple[DatabaseFile, ...]
    notice: Notice | None  # where the packaged one is among them: its licence asks for it


def find_databases(path: Path | None, now: float) -> Databases:
    """The databases of the configuration at *path*; None: the usual places, and the packaged one where there is none.

    *now* is wall-clock time in seconds. Raises ConfigError, and DatabaseError for a file that cannot be used.
    """
    files = tuple(_read_files(_find_geoip(path), now))
    return Databases(files, notice() if any(file.packaged for file in files) else None)


def _find_geoip(path: Path | None) -> Geoip:
    try:
        found = find_config(path)
    except ConfigError:
        return Geoip()  # nothing is configured yet: what would be used without a word
    return load_config(found).config.geoip


def _read_files(geoip: Geoip, now: float) -> Iterator[DatabaseFile]:
    sources = find_sources(geoip)
    named = [("geoip.database", path) for path in sources.places] + ([("geoip.asn", sources.asn)] if sources.asn else [])
    for key, path in named:
        found = read_status(path)
        yield DatabaseFile(
            key=key,
            file=found.file,
            packaged=path == database_path(),
            kind=found.kind,
            built=datetime.fromtimestamp(found.built, UTC).date().isoformat(),
            age_days=max(0, int(now - found.built) // 86400),
            families=found.families,
            nodes=found.nodes,
            octets=found.octets,
            description=found.description,
        )
