"""Small made-up sources for the tests of the maker of the packaged database: written, then read as the real ones are."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import maxminddb
from tests.world import write_world
from tools.lite_geoip.build import Built, build
from tools.lite_geoip.source import Source, read_source

# Far apart, and one pair close together.
OSLO = {"country": "NO", "subdivision": "Oslo", "coordinates": [59.9, 10.7]}
TOKYO = {"country": "JP", "subdivision": "Tokyo", "coordinates": [35.7, 139.7]}
FRESNO = {"country": "US", "subdivision": "California", "coordinates": [36.7, -119.8]}
BOSTON = {"country": "US", "subdivision": "Massachusetts", "coordinates": [42.4, -71.1]}
MODESTO = {"country": "US", "subdivision": "California", "coordinates": [37.6, -121.0]}
PLACES = (OSLO, TOKYO, FRESNO, BOSTON, MODESTO)

World = Mapping[str, Mapping[str, object] | None]


def read_world(world: World) -> Source:
    """*world* as a source: one family, flat records."""
    version = 4 if all(ip_network(text).version == 4 for text in world) else 6
    octets = write_world(world, ip_version=version, record_size=28, schema="flat", build_epoch=1_780_666_996)  # type: ignore[arg-type]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "source.mmdb"
        path.write_bytes(octets)
        return read_source(path)


def build_world(v4: World, v6: World, price: float = 0.4, gain: float = 1.0) -> Built:
    """The reduced form of two made-up sources."""
    return build((read_world(v4), read_world(v6)), "made up", lambda _: None, price, gain)


def open_built(built: Built, folder: Path) -> maxminddb.Reader:
    """A reader of what was built."""
    path = folder / "built.mmdb"
    path.write_bytes(built.database)
    return maxminddb.open_database(path, maxminddb.MODE_MEMORY)
