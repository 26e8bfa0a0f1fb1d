"""Whatever arrives, the native engine gives the octets of the reference and counts what it counts, or declines.

    python fuzz/fuzz_native.py --packets 200000 --seed 1 [--plain]

Every 20,000 packets there is another random snapshot, with other settings, and with other health half way through. A
thousand packets are drawn for each, then asked again and again with another draw, another peer and, most of them, an octet
that is changed, cut off or added. A packet stands in memory of exactly its size, and so does the room for its reply, so that
a build with sanitizers sees one octet too many (`make sanitize`). --plain leaves out the reference: only crashes are found,
but faster. What breaks the invariant is named with its seed on standard output; the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.differential.draws import draw_pool, draw_snapshot
from tests.differential.engines import SETTINGS, Difference, Engines
from tests.differential.packets import draw_packet, draw_peer

from geodns.pick import mix
from geodns.snapshot import Choices

PACKETS_EACH, DRAWN = 20_000, 1000  # of one snapshot; and those among them that are made from nothing


def try_snapshot(seed: int, count: int, *, plain: bool) -> tuple[int, int]:
    """Up to *count* packets over the snapshot of *seed*: how many, and how many were declined. Raises Difference."""
    chance = random.Random(seed)
    engines = Engines(draw_snapshot(seed), chance.choice(SETTINGS))
    ask = engines.attempt if plain else engines.compare
    packets = [draw_packet(engines.owners, chance) for _ in range(DRAWN)]
    peers = [draw_peer(chance) for _ in range(256)]
    count = min(count, PACKETS_EACH)
    for i in range(count):
        if i == PACKETS_EACH // 2:
            pools = [draw_pool(chance, targets=chance.random() < 0.2) for _ in engines.snapshot.choices.pools]
            engines.flip(Choices(tuple(pools), engines.snapshot.choices.shape))
        packet, word = packets[i % DRAWN], chance.getrandbits(64)
        ask(packet if i < DRAWN else change(packet, word), peers[word & 255], mix(word), word >> 62 == 0)
    if not plain and not engines.declined:
        engines.check_tallies()
    return count, engines.declined


def change(packet: bytes, word: int) -> bytes:
    """*packet* as it is, or with one octet changed, cut off or added, as *word* says."""
    how, at, octet = word >> 8 & 15, (word >> 16 & 0xFFFF) % (len(packet) + 1), word >> 32 & 255
    if how < 12 or not packet:
        return packet
    head, rest = packet[:at], packet[at + 1 :]
    if how == 12:
        return b"%b%c%b" % (head, octet, rest)
    if how == 13:
        return b"%b%c%b" % (head, packet[at - 1] ^ 1 << (octet & 7), rest)
    return head if how == 14 else b"%b%c%b" % (head, octet, packet[at:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF_FFFF)
    parser.add_argument("--plain", action="store_true", help="the native engine alone")
    options = parser.parse_args()
    tried = declined = faults = 0
    seed, began = options.seed, time.monotonic()
    print(f"seed {seed}", flush=True)  # before anything can crash
    while tried < options.packets:
        try:
            count, left = try_snapshot(seed, options.packets - tried, plain=options.plain)
            tried, declined = tried + count, declined + left
        except Difference as difference:
            print(f"seed {seed}: {difference}", flush=True)
            tried, faults = tried + PACKETS_EACH, faults + 1
        seed += 1
    took = time.monotonic() - began
    print(f"{tried} packets, seeds {options.seed} to {seed - 1}, {declined} declined, {took:.0f} s: {faults} differences")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
