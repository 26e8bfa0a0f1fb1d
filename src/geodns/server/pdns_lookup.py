"""What sessions of PowerDNS ask: the snapshot that is served now, with a fresh draw for each question, and its counters.

Knows `publish.current`, whose client subnets are believed, and where lookups are counted. Knows nothing of protocols beside
their numbers, nor of sockets.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from .. import publish
from ..answer import Settings
from ..lookup import FAILED, Client
from ..metrics import BACKEND, BACKEND_OUTCOMES, LOOKUP_FAILED, LOOKUP_MISREAD, LOOKUP_NOTHING, LOOKUP_RECORDS
from ..snapshot import Zone
from .pdns_answer import Power, find_records


class CurrentLookup:
    """A `Lookup` for the sessions of one *protocol*, a number of `metrics.BACKEND_PROTOCOLS`."""

    def __init__(self, protocol: int, settings: Settings, describe: Callable[[], list[str]]) -> None:
        self._slot = BACKEND + protocol * len(BACKEND_OUTCOMES)
        self._settings = settings
        self.describe = describe
        self._draw = partial(random.Random().getrandbits, 64)  # seeded by the system

    def find(self, name: bytes, qtype: int, client: Client) -> Power:
        current = publish.current
        if current is None:
            return FAILED, -1, []
        if client[0] and not self._settings.believes(client[3], client[4]):
            client = (0, 0, 0, client[3], client[4])
        found = find_records(current.snapshot, name, qtype, client, self._draw())
        outcome = LOOKUP_FAILED if found[0] == FAILED else LOOKUP_RECORDS if found[2] else LOOKUP_NOTHING
        current.counters.tally[self._slot + outcome] += 1
        return found

    def zones(self) -> Sequence[Zone] | None:
        return None if publish.current is None else publish.current.snapshot.zones.zones

    def zone(self, apex: bytes) -> Zone | None:
        node = None if publish.current is None else publish.current.snapshot.zones.names.get(apex)
        return node.zone if node is not None and node.zone.apex == apex else None

    def misread(self) -> None:
        count(self._slot + LOOKUP_MISREAD)


def count(slot: int) -> None:
    """One more, if something is served; before, nobody counts."""
    if publish.current is not None:
        publish.current.counters.tally[slot] += 1
