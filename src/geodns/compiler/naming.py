"""The numbers that cross the blocks: datacenters, tables, and the digests that keep parts together.

Knows which (map, set of datacenters) pairs are in use. Knows nothing of ranges or records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from ..config.model import Config


@dataclass(frozen=True, slots=True)
class Naming:
    """Datacenters in the order of the configuration, and tables as (map, datacenter numbers), sorted."""

    datacenters: tuple[str, ...]
    tables: tuple[tuple[str, tuple[int, ...]], ...]
    shape: bytes

    def table_of(self, map_name: str, datacenters: Iterable[str]) -> int:
        """Number of the table for a service that uses *map_name* with pools in *datacenters*."""
        numbers = tuple(sorted(self.datacenters.index(name) for name in datacenters))
        return self.tables.index((map_name, numbers))


def name_parts(config: Config) -> Naming:
    """The naming of a whole configuration. Without any service, `world` with all datacenters is the one table."""
    datacenters = tuple(config.datacenters)
    number = {name: i for i, name in enumerate(datacenters)}
    pairs = {(s.map, tuple(sorted(number[dc] for dc in s.pools))) for s in config.services.values()}
    tables = tuple(sorted(pairs)) or (("world", tuple(range(len(datacenters)))),)
    text = json.dumps([datacenters, tables], separators=(",", ":"))
    return Naming(datacenters, tables, hashlib.blake2b(text.encode(), digest_size=16).digest())
