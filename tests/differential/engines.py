"""Two engines over one snapshot: the reference, and the native one beside it.

Knows how a snapshot becomes blocks and a root. Knows nothing of what is asked. Every packet stands in memory of exactly its
size, so that a build with sanitizers sees a read past its end.
"""

from __future__ import annotations

import os
import shutil
from array import array
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest
from tests.snapshots import flatten

from geodns.answer import TCP, UDP, Settings, Turn, answer
from geodns.image_choices import write_choices
from geodns.image_maps import write_maps
from geodns.image_zones import write_zones
from geodns.metrics import POOLS, new_tally
from geodns.snapshot import Choices, Snapshot

try:
    from geodns.native import tables, trial
    from geodns.native.answer import Rules
except ModuleNotFoundError:
    if shutil.which(os.environ.get("CC", "cc")):
        raise  # with a compiler it must have been built: a test that is skipped proves nothing
    pytest.skip("no compiler, so no native engine", allow_module_level=True)

ROOM = 65535
BELIEVED = tuple(map(ip_network, ("127.0.0.0/8", "20.0.0.0/8", "2001:db8::/32", "0.0.0.0/1", "::/0")))
# What `server` may say of replies: usual, then everything else.
SETTINGS = (
    Settings(),
    Settings(512, b"ams1"),
    Settings(4096, b"n" * 64, False),
    Settings(65535, b"", BELIEVED[:3]),
    Settings(700, b"x", BELIEVED[2:]),
)


def write_blocks(snapshot: Snapshot) -> tuple[bytes, bytes, bytes]:
    """Maps, zones and choices of *snapshot*, as the compiler and the daemon write them."""
    maps = snapshot.maps
    return (
        write_maps(maps.datacenters, [flatten(table) for table in maps.tables], maps.shape, maps.digest),
        write_zones(snapshot.zones),
        write_choices(snapshot.choices, snapshot.zones),
    )


def list_owners(snapshot: Snapshot) -> Sequence[bytes]:
    """The names that queries are made of: all, and those of services several times, since most is to be said of them."""
    names = snapshot.zones.names
    return sorted(names) + 3 * sorted(owner for owner, node in names.items() if node.service is not None) or [b"\0"]


class Difference(AssertionError):
    """The engines do not agree."""


class Engines:
    """The reference and the native engine over *snapshot*, over UDP and TCP, each with a tally of its own."""

    def __init__(self, snapshot: Snapshot, settings: Settings = SETTINGS[0]) -> None:
        self.snapshot, self.root = snapshot, tables.Root(*write_blocks(snapshot))
        self.owners = list_owners(snapshot)
        pools = len(snapshot.zones.pools)
        self.asked = self.declined = 0
        self._turns = [Turn(snapshot, transport, settings, 0.0, new_tally(pools)) for transport in (UDP, TCP)]
        self._rules = [Rules(settings, transport) for transport in (UDP, TCP)]
        self._rooms = (max(512, settings.udp_size), ROOM)
        self._tallies = [array("Q", bytes(8 * (POOLS + pools))) for _ in (UDP, TCP)]

    def flip(self, choices: Choices) -> None:
        """Other choices from now on, as after a health event."""
        self.snapshot = replace(self.snapshot, choices=choices)
        self._turns = [turn._replace(snapshot=self.snapshot) for turn in self._turns]
        self.root = self.root.with_choices(write_choices(choices, self.snapshot.zones))

    def compare(self, packet: bytes, peer: bytes, draw: int, transport: int = UDP, room: int | None = None) -> bool:
        """Ask both; was it declined? Raises Difference unless the replies are the same."""
        return self.compare_together([packet], [peer], [draw], transport, room) > 0

    def compare_together(
        self, packets: list[bytes], peers: list[bytes], draws: list[int], transport: int = UDP, room: int | None = None
    ) -> int:
        """Ask both about packets that came together; how many the native engine declined. Raises Difference.

        What is declined is neither counted by it, nor asked from the reference. *room* is that of each reply, else what a
        thread has for it.
        """
        octets = self._rooms[transport] if room is None else room
        found = trial.attempt_together(
            self.root, self._rules[transport], packets, peers, draws, octets, self._tallies[transport]
        )
        turn, declined = self._turns[transport], 0
        for packet, peer, draw, (result, reply) in zip(packets, peers, draws, found, strict=True):
            if result < 0:
                declined += 1
                continue
            expected = answer(turn, packet, peer, draw)
            if reply != expected:
                raise Difference(
                    f"{packet.hex()} from {peer.hex()}, draw {draw}, transport {transport}: "
                    f"{reply and reply.hex()}, expected {expected and expected.hex()}"
                )
        self.asked, self.declined = self.asked + len(packets), self.declined + declined
        return declined

    def check_tallies(self) -> None:
        """Both have counted the same. Raises Difference."""
        for turn, tally in zip(self._turns, self._tallies, strict=True):
            if turn.tally != tally.tolist():
                slots = [i for i, (a, b) in enumerate(zip(turn.tally, tally, strict=True)) if a != b]
                raise Difference(f"tallies differ in slots {slots}")
