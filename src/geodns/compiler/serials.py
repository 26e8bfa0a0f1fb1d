"""The serials that were served last, so that a zone's serial never goes back.

Knows the file `serials.json` in the state directory. Knows nothing of how a serial is chosen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..snapshot import Zone
from ..wire.name import name_text

FILE = "serials.json"
HIGHEST = 0xFFFF_FFFF


def read_serials(state: Path | None) -> dict[str, int]:
    """Zone (absolute, lower case) to the serial served last. Nothing known, or a damaged file: empty, since the next
    publish writes it anew."""
    if state is None:
        return {}
    try:
        found = json.loads((state / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {zone: serial for zone, serial in found.items() if type(serial) is int and 0 <= serial <= HIGHEST}


def find_serials(zones: Iterable[Zone]) -> dict[str, int]:
    """The serials of *zones*. RFC 1035 3.3.13: after the two names an SOA ends in five numbers, the serial first."""
    return {name_text(zone.apex): int.from_bytes(zone.soa[-20:-16], "big") for zone in zones}


def write_serials(state: Path, served: Mapping[str, int]) -> None:
    """Remember *served*, and what is remembered of zones that are not served now. Raises OSError."""
    known = read_serials(state)
    if (wanted := {**known, **served}) == known:
        return
    beside = state / f".{FILE}.part"  # one daemon has this directory
    beside.write_text(json.dumps(wanted, indent=1, sort_keys=True))
    beside.replace(state / FILE)
