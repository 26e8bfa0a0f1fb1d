"""Packets that once were fuzzing seeds (tests/data/dns-packets): as they are, and read as queries."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.protocol.packets import Daemon

SEEDS = sorted((Path(__file__).parents[1] / "data" / "dns-packets" / "c-ares").iterdir())

LONGEST = {"udp": 65507, "tcp": 65535}  # octets of a message; IPv4 and UDP headers take 28 of the former


def has_opt(packet: bytes) -> bool:
    """Is there anything that could be taken for an OPT record?"""
    return b"\0\0\x29" in packet


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("cleared", [False, True], ids=["as it is", "QR cleared"])
def test_seeds_are_survived(daemon: Daemon, transport: str, cleared: bool) -> None:
    """A response draws none; no answer is above 512 octets without OPT; behind each an ordinary question is answered."""
    for seed in SEEDS:
        packet = seed.read_bytes()
        if cleared and len(packet) > 2:
            packet = packet[:2] + bytes([packet[2] & 0x7F]) + packet[3:]
        if len(packet) > LONGEST[transport]:
            continue
        reply = daemon.exchange(packet, transport)
        if len(packet) < 12 or packet[2] & 0x80:
            assert reply is None, seed.name
        elif reply is not None:
            assert reply[:2] == packet[:2], seed.name
            assert transport == "tcp" or len(reply) <= 512 or has_opt(packet), seed.name


def test_the_seeds_are_there() -> None:
    assert len(SEEDS) == 74
