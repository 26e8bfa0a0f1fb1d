"""What the query log costs: a query on the hot path, by how many are sampled, and a line while nobody asks.

    python bench/micro/querylog.py [--seconds 0.2] [--rounds 9]

Off means that the adapters are given `answer` itself. On the hot path each round measures all of them in turn; shown is the
median of what each adds to `answer` in the same round, with the range. Lines are decided again and written out whole.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.micro.data_plane import make_world
from tests.snapshots import opt_of, peer_of, query_of, subnet_of

from geodns.answer import UDP, Settings, Turn, answer
from geodns.config.model_server import QueryLog as Wanted
from geodns.metrics import new_tally
from geodns.querylog import QueryLog
from geodns.querylog_line import Prefixes, Sampled, write_line

SHARES = (0.001, 0.01, 0.1, 1.0)
Call = Callable[[int], object]


def sampled_answer(path: Path, share: float, turn: Turn, query: bytes, peer: bytes) -> Call:
    """`answer` with a share sampled; the ring is emptied as the control plane would, without deciding anything."""
    log = QueryLog(Wanted(path=path, sample=share))
    sampling, ring = log.around(answer), log._ring

    def call(i: int) -> object:
        if len(ring) > 1000:
            ring.clear()
        return sampling(turn, query, peer, i << 32)

    return call


def time_call(call: Call, count: int) -> float:
    """Nanoseconds a call."""
    start = perf_counter_ns()
    for i in range(count):
        call(i)
    return (perf_counter_ns() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    snapshot = make_world(50_000)
    turn = Turn(snapshot, UDP, Settings(), 0.0, new_tally(len(snapshot.zones.pools)))
    query, peer = query_of("www.example.com.", opt=opt_of(subnet_of("20.1.2.0/24"))), peer_of("192.0.2.1")
    idle: list[None] = []  # what the loops of the sampled calls look at, too

    def plain(i: int) -> object:
        if len(idle) > 1000:
            idle.clear()
        return answer(turn, query, peer, i << 32)

    with TemporaryDirectory() as folder:
        calls = {share: sampled_answer(Path(folder) / "log", share, turn, query, peer) for share in SHARES}
        count = max(1, int(options.seconds * 1e9 / time_call(plain, 2000)))
        base, added = [], {share: list[float]() for share in SHARES}
        for _ in range(options.rounds):
            base.append(time_call(plain, count))
            for share, call in calls.items():
                added[share].append(time_call(call, count) - base[-1])
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}")
    print(f"{'answer, log off':32} {median(base):8.0f} ns")
    for share, costs in added.items():
        label = f"one in {round(1 / share)} sampled: more"
        print(f"{label:32} {median(costs):8.0f} ns   {min(costs):.0f} .. {max(costs):.0f}")
    sampled = Sampled(turn, query, peer, 1 << 60, 0x8400)
    lines = [time_call(lambda i: write_line(sampled, Prefixes(24, 48)), count // 8) for _ in range(options.rounds)]
    print(f"{'one line':32} {median(lines):8.0f} ns   {min(lines):.0f} .. {max(lines):.0f}")


if __name__ == "__main__":
    main()
