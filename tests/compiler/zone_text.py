"""From the text of a configuration to compiled `Zones`: what the tests of zones share."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from geodns.compiler.naming import name_parts
from geodns.compiler.zones import build_zones
from geodns.config.load import read_config
from geodns.image_zones import read_zones
from geodns.slices import at_once
from geodns.snapshot import Node, Zones
from geodns.wire.name import parse_name_text
from geodns.wire.rdata import rdata_of

BASE = """
server: {listen: ["127.0.0.1:5300"]}
datacenters:
  ams: {coordinates: [52.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01]}
  away: {coordinates: [1.35, 103.82], drain: true}
"""


def compile_text(
    text: str, files: Mapping[str, str] | None = None, last_serials: Mapping[str, int] | None = None
) -> tuple[Zones | None, list[str]]:
    """The zones (None where there are errors) and the complaints, files named without their folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (files or {}).items():
            Path(folder, name).write_text(content, encoding="utf-8")
        config = Path(folder, "geodns.yaml")
        config.write_text(text + BASE, encoding="utf-8")
        loaded = read_config(config)
        assert not loaded.complaints, loaded.complaints
        block, complaints = build_zones(loaded, name_parts(loaded.config), last_serials)
        return (read_block(block) if block else None), [str(each).replace(f"{folder}/", "") for each in complaints]


def compile_right(text: str, files: Mapping[str, str] | None = None, last_serials: Mapping[str, int] | None = None) -> Zones:
    """The zones of a configuration without any complaint."""
    zones, complaints = compile_text(text, files, last_serials)
    assert zones is not None and not complaints, complaints
    return zones


def read_block(block: bytes) -> Zones:
    """A zones block, read in one go."""
    return at_once(read_zones(block, "test"))


def node_of(zones: Zones, name: str) -> Node:
    """The node of an absolute name."""
    return zones.names[parse_name_text(name)]


def rdata_at(zones: Zones, name: str, rtype: int) -> list[bytes]:
    """The rdata of one rrset; empty where there is none."""
    rrset = node_of(zones, name).rrsets.get(rtype)
    return [] if rrset is None else [rdata_of(tail) for tail in rrset.tails]
