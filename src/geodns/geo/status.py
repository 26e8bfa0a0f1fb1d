"""What a GeoIP database says of itself, for `geodns geoip status`.

Knows the metadata of a MaxMind DB file. Knows nothing of its records, nor of what day it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import maxminddb

from ..errors import DatabaseError


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """One file: what it holds, since when, how large it is."""

    file: str
    kind: str  # "GeoLite2-City"
    built: int  # seconds since 1970, as the file says
    families: tuple[str, ...]  # "IPv4", "IPv6"
    nodes: int
    octets: int
    description: str  # English, may be empty


def read_status(path: Path) -> DatabaseStatus:
    """The status of the database at *path*. Raises DatabaseError for a file that is none."""
    try:
        octets = path.stat().st_size
        with maxminddb.open_database(str(path), maxminddb.MODE_FILE) as reader:
            found = reader.metadata()
            families = ("IPv4",) if found.ip_version == 4 else ("IPv4", "IPv6")
            kind, description = str(found.database_type), dict(found.description)
            return DatabaseStatus(
                str(path),
                kind,
                int(found.build_epoch),
                families,
                int(found.node_count),
                octets,
                str(description.get("en", "")),
            )
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # the reader raises more than its own exception for corrupt files
        raise DatabaseError(f"{path}: not a MaxMind DB file, or corrupt: {error}") from error
