"""Whatever arrives, the native engine gives the octets of the reference and counts what it counts, or declines.

    python fuzz/fuzz_native.py --packets 200000 --seed 1 [--sanitized]

Every 10,000 packets there is another random snapshot, each fourth of them compiled from a random configuration and world,
with other settings, and every 2,500 packets other health. Two thousand packets are drawn for each, then asked again with
another draw, another peer, among others and, one in four, with an octet changed, cut off or added. Each stands in memory of
exactly its size, and so does the room for its reply, now and then too small, so that a build with sanitizers sees one octet
too many (`make sanitize`; --sanitized insists on such a build). What breaks the invariant is named with its seed on standard
output; the exit code is 1. Processes with seeds far apart share a long run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.differential.configs import draw_health, make_snapshot
from tests.differential.draws import draw_pool, draw_snapshot
from tests.differential.engines import SETTINGS, Difference, Engines
from tests.differential.packets import draw_packet, draw_peer

from geodns.answer import TCP, UDP
from geodns.native import trial
from geodns.pick import mix
from geodns.snapshot import Choices, Snapshot

PACKETS_EACH, DRAWN = 10_000, 2000  # of one snapshot; those among them that are made from nothing
FLIP, COMPILED = 2500, 4  # packets between changes of health; one snapshot in so many is compiled
TOGETHER = (1, 2, 7, 16, 17, 33, 64)  # packets that come together
TRANSPORTS = (UDP, UDP, UDP, TCP)
REPORT = 60.0  # seconds between signs of life


def find_snapshot(seed: int) -> tuple[Snapshot, Callable[[random.Random], Choices]]:
    """The snapshot of *seed*, and what draws other choices for it."""
    if seed % COMPILED == 0:
        with tempfile.TemporaryDirectory() as folder:
            compiled = make_snapshot(seed, Path(folder))
        return compiled, lambda chance: draw_health(compiled.zones, chance)
    made = draw_snapshot(seed)

    def draw(chance: random.Random) -> Choices:
        pools = (draw_pool(chance, targets=chance.random() < 0.2) for _ in made.choices.pools)
        return Choices(tuple(pools), made.choices.shape)

    return made, draw


def try_snapshot(seed: int, count: int) -> tuple[int, int]:
    """Up to *count* packets over the snapshot of *seed*: how many, and how many were declined though there was room.

    Raises Difference.
    """
    chance = random.Random(seed)
    snapshot, draw_choices = find_snapshot(seed)
    engines = Engines(snapshot, chance.choice(SETTINGS))
    drawn = [draw_packet(engines.owners, chance) for _ in range(DRAWN)]
    known = [draw_peer(chance) for _ in range(256)]
    count, done, flip, cramped = min(count, PACKETS_EACH), 0, FLIP, 0
    while done < count:
        if done > flip:
            engines.flip(draw_choices(chance))
            flip += FLIP
        size = min(chance.choice(TOGETHER), count - done)
        words = [chance.getrandbits(64) for _ in range(size)]
        packets = [change(drawn[(done + i) % DRAWN], word) for i, word in enumerate(words)]
        peers = [known[word & 255] for word in words]
        room = chance.randrange(1300) if chance.random() < 0.05 else None
        declined = engines.compare_together(packets, peers, list(map(mix, words)), chance.choice(TRANSPORTS), room)
        done, cramped = done + size, cramped + (declined if room is not None else 0)
    engines.check_tallies()
    return count, engines.declined - cramped


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


def is_sanitized() -> bool:
    """Was the native engine built with AddressSanitizer?"""
    return b"__asan_report_load" in Path(trial.__file__).read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF_FFFF)
    parser.add_argument("--sanitized", action="store_true", help="refuse a build without sanitizers")
    options = parser.parse_args()
    if options.sanitized and not is_sanitized():
        parser.error(f"{trial.__file__} was built without sanitizers")
    tried = declined = faults = 0
    seed, began, told = options.seed, time.monotonic(), time.monotonic()
    build = "sanitized" if is_sanitized() else "ordinary"
    print(f"seed {seed}, {build} build", flush=True)  # before anything can crash
    while tried < options.packets:
        try:
            count, left = try_snapshot(seed, options.packets - tried)
            tried, declined = tried + count, declined + left
        except Difference as difference:
            print(f"seed {seed}: {difference}", flush=True)
            tried, faults = tried + PACKETS_EACH, faults + 1
        seed += 1
        if time.monotonic() - told > REPORT:
            told = time.monotonic()
            print(f"{tried} packets, up to seed {seed - 1}, {told - began:.0f} s: {faults} differences", flush=True)
    took = time.monotonic() - began
    print(
        f"{tried} packets, seeds {options.seed} to {seed - 1}, {build} build, {declined} declined, {took:.0f} s, "
        f"{tried / took:,.0f} a second: {faults} differences"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
