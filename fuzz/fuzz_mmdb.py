"""Whatever is damaged in a database, the compiler's native loops give the block of the reference, or its very words.

    python fuzz/fuzz_mmdb.py --files 1000 --seed 1

Each file is a small database of random networks and records, or a small one of MaxMind's, of which octets, pointers or
pieces are changed, moved, cut off or put in; one in sixteen stays sound. It is compiled as a database of places, as another
one below a sound one, or as the one of AS numbers, natively and by the reference; most often without the sample look-ups,
which in a large file would hardly meet the fault. What the native loops are given stands in memory of exactly its size, so
that a build with sanitizers sees one octet too many (`make sanitize`; with PYTHONMALLOC=malloc, since it sees nothing in
Python's own arenas). What breaks the invariant is named with its seed on standard output; the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tests.world
from tests.compiler.small import make_config
from tests.native.both import under
from tests.world import MARKER, Record, write_world

from geodns import loops
from geodns.compiler import rangebuild
from geodns.compiler.maps import build_maps
from geodns.compiler.naming import name_parts
from geodns.geo import mmdb
from geodns.geo.place import Sources

STEPS = 30_000  # of a walk: enough for these files, and a tree that unfolds without end costs the reference 10 ms
LARGEST = 20_000  # octets of a file of MaxMind's that is damaged
SITES = {"ams": (52.37, 4.9), "nyc": (40.71, -74.01), "sin": (1.35, 103.82), "syd": (-33.87, 151.21)}
RULES = [
    {"asn": [1, 2, 13335], "order": ["nyc"]},
    {"country": ["GB", "SE"], "order": [{"ams": 2, "sin": 1}]},
    {"subdivision": ["US-CA"], "order": ["syd"], "only": True},
]
CONFIG = make_config(
    SITES,
    maps={"world": {"rules": RULES}},
    networks={"81.2.69.0/25": {"coordinates": [1.0, 100.0]}, "2a00::/20": {"asn": 1}, "10.0.0.0/8": {"datacenter": "syd"}},
    services={"www": list(SITES), "two": ["nyc", "syd"]},
)
SOUND = write_world({"1.0.0.0/8": {"country": "US", "coordinates": [36.7, -119.8]}, "2.0.0.0/8": {"asn": 1}})
VALUES: list[Any] = [
    "US",
    "SE",
    "ZZ",
    "",
    "Fresno",
    7,
    52,
    -1.5,
    48.0,
    0.0,
    1 << 70,
    True,
    b"\xff",
    [],
    {},
    [{"code": "EU"}],
]
FIELDS = (
    "country",
    "continent",
    "location",
    "subdivisions",
    "country_code",
    "latitude",
    "longitude",
    "state1",
    "asn",
    "names",
)
OCTETS = (0, 1, 7, 0x20, 0x28, 0x30, 0x38, 0x42, 0x5D, 0x68, 0xE0, 0xE1, 0xFF)


def draw_record(chance: random.Random) -> Record:
    """A plain one, most often; else any values in fields that mean something, or a hole."""
    kind = chance.random()
    if kind < 0.1:
        return None
    if kind < 0.8:
        at = chance.choice(
            [[48.0, 2.0], [36.7, -119.8], [chance.uniform(-90, 90), chance.uniform(-180, 180)], [52.0, None], None]
        )
        country = chance.choice(["US", "SE", "GB", None])
        record = {"country": country, "continent": chance.choice(["NA", "EU", None]), "coordinates": at}
        return record | {"subdivision": chance.choice(["US-CA", None]), "asn": chance.choice([None, 1, 13335, 4200000000])}

    def draw(depth: int) -> Any:
        if depth and chance.random() < 0.4:
            return {chance.choice((*FIELDS, "iso_code", "code")): draw(depth - 1) for _ in range(chance.randrange(4))}
        return chance.choice(VALUES)

    return {field: draw(3) for field in chance.sample(FIELDS, chance.randrange(5))} | {"city": {}}


def draw_world(chance: random.Random) -> bytes:
    """A sound database."""
    version: Literal[4, 6] = chance.choice((4, 6, 6))
    aliases = version == 6 and chance.random() < 0.3
    records: dict[str, Record] = {"99.0.0.0/16": chance.choice(({"country": "FR", "coordinates": [48.0, 2.0]}, {"asn": 3}))}
    for _ in range(chance.randrange(12)):
        if version == 6 and chance.random() < 0.5:
            address = chance.choice((0x2A00, 0x2A01, 0x2400)) << 112 | chance.getrandbits(64) << 32
            network = ip_network((address, chance.randrange(20, 129)), strict=False)
        else:
            address = chance.choice((0x51024500, 0x0A000000, chance.getrandbits(32)))
            network = ip_network((address, chance.randrange(1, 33)), strict=False)
        records[str(network)] = draw_record(chance)
    return write_world(
        records,
        ip_version=version,
        record_size=chance.choice((24, 28, 32)),
        schema=chance.choice(("nested", "flat")),
        aliases=aliases,
        shared=not aliases and chance.random() < 0.4,
    )


def damage(octets: bytes, chance: random.Random) -> bytes:
    """*octets* with one to six faults; a tree is likely still a tree, so that what is behind it is read."""
    changed = bytearray(octets)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        begin, end = draw_span(changed, chance)
        at, size = chance.randrange(begin, end), chance.choice((1, 2, 3, 4, 5, 16, 64))
        match chance.randrange(20):
            case 0:
                del changed[at : at + size]
            case 1:
                changed[at:at] = chance.randbytes(size)
            case 2 if chance.random() < 0.2:
                del changed[at:]
            case 3 | 4 | 5:  # what is right elsewhere
                there = chance.randrange(len(changed))
                moved = changed[there : there + size]
                changed[at : at + len(moved)] = moved
            case 6 | 7 | 8 | 9:
                pointer = draw_pointer(end - begin, chance)
                changed[at : at + len(pointer)] = pointer
            case 10 | 11 | 12:
                changed[at] ^= 1 << chance.randrange(8)
            case _:
                changed[at] = chance.choice((*OCTETS, chance.randrange(256)))
        changed = changed or bytearray(1)
    return bytes(changed)


def draw_pointer(near: int, chance: random.Random) -> bytes:
    """One to somewhere in *near* octets, if its width can say that; or to anywhere."""
    width = chance.choice((0, 0, 0, 1, 2, 3))
    if width:
        return bytes([1 << 5 | width << 3 | chance.randrange(2)]) + chance.randbytes(width + 1)
    return (1 << 13 | chance.randrange(max(1, min(near, 1 << 11)))).to_bytes(2, "big")


def draw_span(octets: bytearray, chance: random.Random) -> tuple[int, int]:
    """Tree, data section or metadata, as far as they can still be told apart."""
    metadata = max(1, octets.rfind(MARKER))
    data = octets.find(bytes(16), 0, metadata)
    data = data if 0 < data < metadata else metadata // 2
    kind = chance.random()
    begin, end = (metadata - 1, len(octets)) if kind < 0.05 else (0, max(1, data)) if kind < 0.3 else (data, metadata)
    return min(begin, len(octets) - 1), max(min(end, len(octets)), min(begin, len(octets) - 1) + 1)


def exact(numbers: Any) -> array[int]:
    """The same numbers in memory of exactly their size: bytes have a zero behind them, and arrays that grew have room."""
    view = memoryview(numbers)
    found = array(view.format, bytes(view.itemsize)) * len(view)
    memoryview(found)[:] = view
    return found


@contextmanager
def exact_loops() -> Iterator[None]:
    """The native loops get copies in memory of exactly their size."""
    before = {module: dict(vars(module)) for module in (loops.walk, loops.records, loops.layers)}

    def wrap(module: Any, name: str, convert: Callable[..., tuple[Any, ...]]) -> None:
        function = getattr(module, name)
        setattr(module, name, lambda *given: function(*convert(*given)))

    wrap(loops.walk, "read_tree", lambda octets, nodes, size: (exact(octets[: nodes * size // 4]), nodes, size))
    wrap(loops.walk, "Leaves", lambda pointers, members, numbers: (pointers, exact(members), exact(numbers)))
    wrap(loops.walk, "walk", lambda left, right, marks, *rest: (left, right, exact(marks), *rest))
    wrap(loops.records, "group_records", lambda octets, offsets, *rest: (exact(octets), exact(offsets), *rest))
    wrap(loops.layers, "merge", lambda *given: tuple(map(exact, given)))
    wrap(loops.layers, "translate", lambda *given: tuple(map(exact, given)))
    wrap(loops.layers, "find_distinct", lambda values: (exact(values),))
    try:
        yield
    finally:
        for module, names in before.items():
            vars(module).update(names)


@contextmanager
def without_samples() -> Iterator[None]:
    """Files are not compared with maxminddb."""
    before, mmdb._check_sample = mmdb._check_sample, lambda *given: None
    try:
        yield
    finally:
        mmdb._check_sample = before


def find_small() -> list[bytes]:
    """MaxMind's own files that are small, good and bad."""
    files = sorted((Path(tests.world.__file__).parent / "data" / "maxmind").rglob("*.mmdb"))
    return [path.read_bytes() for path in files if path.stat().st_size <= LARGEST]


def try_file(seed: int, folder: Path, public: list[bytes]) -> str:
    """What the compiler says to the file of *seed*: words, or nothing where it made a block. Raises AssertionError."""
    chance = random.Random(seed)
    octets = chance.choice(public) if chance.random() < 0.3 else draw_world(chance)
    (folder / "sound.mmdb").write_bytes(SOUND)
    (folder / "x.mmdb").write_bytes(octets if chance.random() < 1 / 16 else damage(octets, chance))
    x, sound = folder / "x.mmdb", folder / "sound.mmdb"
    sources = chance.choice((Sources((x,)), Sources((x,)), Sources((sound, x)), Sources((sound,), x)))
    sampled = chance.random() < 0.2

    def compile_maps() -> bytes:
        return build_maps(CONFIG, name_parts(CONFIG), sources)

    with nullcontext() if sampled else without_samples():
        pure = under("pure", compile_maps)
        with exact_loops():
            native = under("native", compile_maps)
    assert native == pure, f"{shorten(native)} natively, {shorten(pure)} by the reference"
    return "" if isinstance(pure, bytes) else pure.removeprefix(str(x))


def shorten(outcome: bytes | str) -> str:
    return repr(outcome) if isinstance(outcome, str) else f"a block of {len(outcome)} octets"


def run(files: int, seed: int) -> tuple[int, list[str]]:
    """Try *files* files: how many made blocks, and the faults, a text each."""
    blocks, faults, public, before = 0, list[str](), find_small(), rangebuild.MAX_STEPS
    rangebuild.MAX_STEPS = STEPS
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(seed, seed + files):
                try:
                    blocks += not try_file(number, Path(folder), public)
                except Exception:
                    faults.append(f"seed {number}: {traceback.format_exc()}")
    finally:
        rangebuild.MAX_STEPS = before
    return blocks, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF_FFFF)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)  # before anything can crash
    began = time.monotonic()
    blocks, faults = run(options.files, options.seed)
    for fault in faults:
        print(fault)
    took = time.monotonic() - began
    print(f"{options.files} files from seed {options.seed}, {blocks} made blocks, {took:.0f} s: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
