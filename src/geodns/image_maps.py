"""The maps block: `Maps` written flat and read back.

Knows its sections and what makes them sound. Knows nothing of how ranges were computed. A block that passed
`read_maps` is trusted by the data plane without further tests, so every index is checked here.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import le, lt

from .errors import ImageError
from .image import MAPS_SECTIONS, Block, Kind, open_block, write_block
from .ranges import V4_SHIFT, V6_SHIFT, build_index
from .snapshot import FIRST_ROW, Maps, Ranges, Table

INDEX_ITEMS = 65537
CHECK_SLICE = 1 << 14  # numbers that are checked by one call: about half a millisecond
# per table: first and count of its part of v4_*, v6_*, rows, steps, weights; first plain order; uniform
TABLE = struct.Struct("=12I")
MAPS_SECTIONS.update(
    {
        1: ("about", "B"),  # JSON: datacenters, map names, digest of the sources
        2: ("tables", "12I"),
        3: ("v4_starts", "I"),
        4: ("v4_orders", "I"),
        5: ("v4_index", "I"),
        6: ("v6_starts", "Q"),
        7: ("v6_orders", "I"),
        8: ("v6_index", "I"),
        9: ("rows", "I"),  # number of orders + 1 per table, relative to the table's own steps
        10: ("steps", "H"),
        11: ("weights", "I"),
        12: ("countries_starts", "I"),
        13: ("countries", "H"),
    }
)


@dataclass(frozen=True, slots=True)
class FlatTable:
    """What the compiler hands over for one table; the fields are those of `snapshot.Table`, still as arrays."""

    map_name: str
    v4_starts: Sequence[int]
    v4_orders: Sequence[int]
    v6_starts: Sequence[int]
    v6_orders: Sequence[int]
    rows: Sequence[int]
    steps: Sequence[int]
    weights: Sequence[int]
    first_plain: int
    uniform: bool


@dataclass(frozen=True, slots=True)
class Countries:
    """In which country IPv4 addresses are: what summaries and forecasts count by; no answer looks at it.

    codes[i] holds from starts[i] on: two letters (`NO` is ord("N") << 8 | ord("O")), "??" for a place without country,
    0 where nobody can place the address.
    """

    starts: Sequence[int]
    codes: Sequence[int]


NO_COUNTRIES = Countries((0,), (0,))


def write_maps(
    datacenters: Sequence[str],
    tables: Sequence[FlatTable],
    shape: bytes,
    digest: bytes,
    countries: Countries = NO_COUNTRIES,
) -> bytes:
    """The block that holds *tables*; *digest* names the sources that they were made from."""
    about = json.dumps(
        {"datacenters": list(datacenters), "maps": [t.map_name for t in tables], "digest": digest.hex()},
        separators=(",", ":"),
    )
    flat = {label: array(form) for label, form in MAPS_SECTIONS.values() if len(form) == 1 and label != "about"}
    flat["countries_starts"].extend(countries.starts)
    flat["countries"].extend(countries.codes)
    descriptors = bytearray()
    for table in tables:
        parts = {label: getattr(table, label) for label in ("v4_starts", "v6_starts", "rows", "steps", "weights")}
        where = [number for label, part in parts.items() for number in (len(flat[label]), len(part))]
        descriptors += TABLE.pack(*where, table.first_plain, table.uniform)
        for label, part in parts.items():
            flat[label].extend(part)
        flat["v4_orders"].extend(table.v4_orders)
        flat["v6_orders"].extend(table.v6_orders)
        flat["v4_index"].extend(build_index(table.v4_starts, V4_SHIFT))
        flat["v6_index"].extend(build_index(table.v6_starts, V6_SHIFT))
    sections: list[tuple[int, int, bytes | bytearray | memoryview]] = []
    for number, (label, form) in MAPS_SECTIONS.items():
        if label in flat:
            sections.append((number, struct.calcsize("=" + form), memoryview(flat[label]).cast("B")))
        else:
            sections.append((number, struct.calcsize("=" + form), about.encode() if label == "about" else descriptors))
    return write_block(Kind.MAPS, shape, sections)


def read_maps(octets: bytes, name: str) -> Maps:
    """The `Maps` whose arrays are views into *octets*. Raises ImageError, with *name*, for whatever is unsound."""
    block = open_block(octets, Kind.MAPS, name)
    try:
        about = json.loads(bytes(block.sections["about"]))
        datacenters, map_names = tuple(map(str, about["datacenters"])), list(map(str, about["maps"]))
        digest = bytes.fromhex(about["digest"])
        tables = tuple(
            _read_table(block, map_name, i, TABLE.unpack_from(block.sections["tables"], TABLE.size * i), name)
            for i, map_name in enumerate(map_names)
        )
        for i, table in enumerate(tables):
            _check_table(table, len(datacenters), f"{name}: table {i}")
    except (KeyError, TypeError, ValueError, IndexError, struct.error) as error:
        raise ImageError(f"{name}: unsound: {error!r}") from error
    return Maps(datacenters, tables, block.shape, digest, octets)


def read_countries(octets: bytes, name: str) -> Countries:
    """The countries beside the maps in *octets*. Raises ImageError, with *name*, for whatever is unsound."""
    sections = open_block(octets, Kind.MAPS, name).sections
    starts, codes = sections["countries_starts"], sections["countries"]
    if not len(starts) or len(starts) != len(codes) or starts[0] or not _holds(lt, starts):
        raise ImageError(f"{name}: ranges of countries do not follow each other")
    return Countries(starts, codes)


def _read_table(block: Block, map_name: str, number: int, where: tuple[int, ...], name: str) -> Table:
    def part(label: str, first: int, count: int) -> memoryview:
        view = block.sections[label][first : first + count]
        if len(view) != count:
            raise ImageError(f"{name}: section {label} ends before table {number} does")
        return view

    v4, n4, v6, n6, row, rows, step, steps, weight, weights, first_plain, uniform = where
    index = number * INDEX_ITEMS
    return Table(
        map_name,
        Ranges(part("v4_starts", v4, n4), part("v4_orders", v4, n4), part("v4_index", index, INDEX_ITEMS)),
        Ranges(part("v6_starts", v6, n6), part("v6_orders", v6, n6), part("v6_index", index, INDEX_ITEMS)),
        part("rows", row, rows),
        part("steps", step, steps),
        part("weights", weight, weights),
        first_plain,
        bool(uniform),
    )


def _check_table(table: Table, datacenters: int, name: str) -> None:
    orders = len(table.rows) - 1
    if orders < FIRST_ROW or not FIRST_ROW <= table.first_plain <= orders:
        raise ImageError(f"{name}: {orders} orders, the first plain one is {table.first_plain}")
    if table.rows[0] or table.rows[orders] != len(table.steps) or not _holds(le, table.rows):
        raise ImageError(f"{name}: rows of orders do not follow each other")
    if len(table.weights) != table.rows[table.first_plain] or _highest(table.steps) >= datacenters:
        raise ImageError(f"{name}: a step or weight is out of bounds")
    for ranges, shift, top in ((table.v4, V4_SHIFT, 1 << 32), (table.v6, V6_SHIFT, 1 << 64)):
        starts, index = ranges.starts, ranges.index
        if not len(starts) or starts[0] or starts[-1] >= top or not _holds(lt, starts):
            raise ImageError(f"{name}: ranges do not follow each other")
        if _highest(ranges.orders) >= orders:
            raise ImageError(f"{name}: a range has order {_highest(ranges.orders)} of {orders}")
        if not _index_is_right(starts, index, shift):
            raise ImageError(f"{name}: the index does not fit the ranges")


def _holds(relation: Callable[[int, int], bool], numbers: memoryview) -> bool:
    """Does *relation* hold between each of *numbers* and the next?

    In slices: one call over two million numbers would keep the interpreter from every other thread for 50 ms.
    """
    return all(
        all(map(relation, numbers[at : at + CHECK_SLICE], numbers[at + 1 : at + 1 + CHECK_SLICE]))
        for at in range(0, len(numbers), CHECK_SLICE)
    )


def _highest(numbers: memoryview) -> int:
    """The highest of *numbers*, -1 for none; in slices like `_holds`."""
    return max((max(numbers[at : at + CHECK_SLICE]) for at in range(0, len(numbers), CHECK_SLICE)), default=-1)


def _index_is_right(starts: memoryview, index: memoryview, shift: int) -> bool:
    """Is index[t] the count of starts <= t << shift, for each t?"""
    if index[0] != 1 or index[INDEX_ITEMS - 1] != len(starts):
        return False
    last = len(starts)
    for top, count in enumerate(index):
        edge = top << shift
        if not 1 <= count <= last or starts[count - 1] > edge or (count < last and starts[count] <= edge):
            return False
    return True
