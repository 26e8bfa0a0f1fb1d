"""What `geodns geoip status` reads from a database's metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from tests.world import BUILT, write_world

from geodns.errors import DatabaseError
from geodns.geo.status import read_status

WORLD = {"0.0.0.0/1": {"country": "US"}, "128.0.0.0/1": {"country": "FR"}}


@pytest.mark.parametrize(("ip_version", "families"), [(4, ("IPv4",)), (6, ("IPv4", "IPv6"))])
def test_a_database_tells_what_it_is(tmp_path: Path, ip_version: Literal[4, 6], families: tuple[str, ...]) -> None:
    octets = write_world(WORLD, ip_version=ip_version, database_type="Tiny-City")
    (tmp_path / "tiny.mmdb").write_bytes(octets)
    found = read_status(tmp_path / "tiny.mmdb")
    assert (found.kind, found.built, found.families, found.octets) == ("Tiny-City", BUILT, families, len(octets))
    assert found.nodes >= 1


@pytest.mark.parametrize("octets", [b"", b"not a database", write_world(WORLD)[:-40]])
def test_what_is_no_database_is_named(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "bad.mmdb").write_bytes(octets)
    with pytest.raises(DatabaseError, match=r"^\S*bad\.mmdb: "):
        read_status(tmp_path / "bad.mmdb")


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"^\S*no\.mmdb: No such file"):
        read_status(tmp_path / "no.mmdb")
