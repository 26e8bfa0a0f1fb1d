"""The bulk reader against maxminddb: every network of sound files, and nothing but DatabaseError from the others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any, Literal

import maxminddb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.world import MARKER, encode, write_world

from geodns.compiler.leaves import read_leaves
from geodns.compiler.orders import Rules
from geodns.compiler.rangebuild import build_layer
from geodns.compiler.segments import V4, V6, Segment
from geodns.compiler.states import States
from geodns.errors import DatabaseError
from geodns.geo import mmdb
from geodns.geo.mmdb import Database, open_database
from geodns.geo.place import ASN_WANTED, FACTS_WANTED, NOWHERE, read_asn, read_facts

FOLDER = Path(__file__).parent.parent / "data" / "maxmind"
SOUND = sorted((FOLDER / "test-data").glob("*.mmdb"))
BROKEN = sorted(path for path in (FOLDER / "bad-data").rglob("*") if path.is_file() and path.suffix == ".mmdb")
RECORDS: dict[str, Any] = {
    "1.0.0.0/8": {
        "country": "US",
        "continent": "NA",
        "subdivision": "US-CA",
        "city": "Fresno",
        "coordinates": [36.7, -119.8],
    },
    "1.128.0.0/9": {"country": "FR", "coordinates": [48.0, 2.0]},
    "5.5.5.5/32": {"country": "DE", "coordinates": [52.0, None]},
    "2a00::/16": {"continent": "EU"},
    "2a00:1::/33": {"country": "SE", "coordinates": [59.3, 18.0]},
}


def open_places(path: Path) -> Database:
    return open_database(path, read_facts, FACTS_WANTED)


def compile_places(path: Path) -> Database:
    """What the compiler does with a file, up to ranges."""
    database = open_places(path)
    leaves = read_leaves(database, States(Rules((), {}, 0, 0), (), {}), {NOWHERE: 0})
    for family in (V4, V6):
        build_layer(leaves, family, [Segment(0, family.units, 0, None, 0)])
    return database


def edges_of(database: Database, bits: int) -> Iterator[int]:
    """First and last address below every record of the tree, each node once."""
    seen = set()
    stack = [(database.v4_root if bits == 32 else 0, 0, bits)]
    while stack:
        node, address, left = stack.pop()
        if node < database.node_count and left and node not in seen:
            seen.add(node)
            stack.append((database.right[node], address | 1 << left - 1, left - 1))
            stack.append((database.left[node], address, left - 1))
        elif node >= database.node_count:
            yield address
            yield address + (1 << left) - 1


def agrees(database: Database, path: Path, judge: Any, wanted: Any) -> int:
    """Compare every network with maxminddb; how many addresses were compared."""
    compared = 0
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        for bits in (32, 128) if database.metadata.ip_version == 6 else (32,):
            for number in edges_of(database, bits):
                address = IPv4Address(number) if bits == 32 else IPv6Address(number)
                pointer = database.find(number, bits)
                ours = None if pointer == database.node_count else database.record(pointer, wanted)
                assert judge(ours) == judge(reader.get(address)), address
                compared += 1
    return compared


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_public_databases_read_as_maxminddb_reads_them_or_are_refused(path: Path) -> None:
    try:
        database = open_places(path)
    except DatabaseError as error:
        assert str(error).startswith(str(path))
        assert "broken" in path.stem.lower() or "invalid" in path.stem.lower() or "Test-Broken" in path.stem, error
        return
    assert agrees(database, path, read_facts, FACTS_WANTED)
    assert agrees(database, path, read_asn, ASN_WANTED)


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_corrupt_databases_are_refused_in_one_line_or_read_as_maxminddb_does(path: Path) -> None:
    try:
        database = compile_places(path)
    except DatabaseError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
    else:
        agrees(database, path, read_facts, FACTS_WANTED)


def test_every_corrupt_database_is_there() -> None:
    assert len(BROKEN) >= 20
    assert len(SOUND) >= 35


@pytest.mark.parametrize("octets", [b"", b"x", MARKER, b"\0" * 5000, b"%YAML 1.2\n---\n" * 100, MARKER + b"\xe0"])
def test_what_is_no_database_is_refused(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "x.mmdb"
    path.write_bytes(octets)
    with pytest.raises(DatabaseError, match=r"x\.mmdb"):
        open_places(path)


def test_a_directory_or_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="Is a directory"):
        open_places(tmp_path)
    with pytest.raises(DatabaseError, match="No such file"):
        open_places(tmp_path / "missing.mmdb")


@pytest.mark.parametrize("size", [24, 28, 32])
@pytest.mark.parametrize("schema", ["nested", "flat"])
def test_every_record_size_and_schema(tmp_path: Path, size: Literal[24, 28, 32], schema: Literal["nested", "flat"]) -> None:
    path = tmp_path / "x.mmdb"
    path.write_bytes(write_world(RECORDS, record_size=size, schema=schema))
    database = open_places(path)
    assert agrees(database, path, read_facts, FACTS_WANTED)
    found = read_facts(database.record(database.find(int(IPv4Address("1.2.3.4")), 32), FACTS_WANTED))
    assert found[1:] == ("US", "US-CA", 36.7, -119.8)
    assert database.metadata.record_size == size
    assert database.metadata.built > 1_700_000_000


def test_truncated_anywhere_is_refused(tmp_path: Path) -> None:
    octets = write_world(RECORDS)
    path = tmp_path / "x.mmdb"
    for length in range(0, len(octets) - 1, 97):
        path.write_bytes(octets[:length])
        with pytest.raises(DatabaseError, match=r"x\.mmdb"):
            compile_places(path)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), shared=st.booleans(), count=st.sampled_from([1, 1, 2, 5, 20]))
def test_whatever_is_changed_only_database_errors(tmp_path: Path, seed: int, shared: bool, count: int) -> None:
    chance = random.Random(seed)
    octets = bytearray(write_world(RECORDS, shared=shared))
    begin = chance.choice([0, octets.rfind(MARKER), octets.find(bytes(16))])  # the tree, the metadata, the data
    for _ in range(count):
        octets[chance.randrange(begin, len(octets))] = chance.choice([0, 1, 0x20, 0xE0, 0xFF, chance.randrange(256)])
    path = tmp_path / "x.mmdb"
    path.write_bytes(octets)
    try:
        compile_places(path)
    except DatabaseError as error:
        assert "\n" not in str(error)


def tree(nodes: list[tuple[int, int]], records: list[bytes], ip_version: int = 4) -> bytes:
    """A file of hand-made nodes; a record number r beyond the nodes stands for records[r - len(nodes) - 1]."""
    count, offsets, data = len(nodes), [], b""
    for record in records:
        offsets.append(count + 16 + len(data))
        data += record
    octets = b"".join((r if r <= count else offsets[r - count - 1]).to_bytes(4, "big") for node in nodes for r in node)
    about = {
        "node_count": count,
        "record_size": 32,
        "ip_version": ip_version,
        "database_type": "Test-City",
        "languages": [],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "description": {},
    }
    return octets + bytes(16) + data + MARKER + encode(about)


def place(country: str) -> bytes:
    return encode({"country": {"iso_code": country}})


def test_children_before_parents_are_sorted(tmp_path: Path) -> None:
    """Node 0 leads to 3, 3 to 1, 1 to 2; node 4 is reached by nobody."""
    octets = tree([(3, 6), (2, 7), (6, 5), (1, 7), (0, 0)], [place("NO"), place("SE")])
    path = tmp_path / "x.mmdb"
    path.write_bytes(octets)
    database = compile_places(path)
    assert database.node_count == 4
    assert all(child > i for side in (database.left, database.right) for i, child in enumerate(side))
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        for top in range(256):
            pointer = database.find(top << 24, 32)
            ours = None if pointer == database.node_count else database.record(pointer, FACTS_WANTED)
            assert read_facts(ours) == read_facts(reader.get(str(IPv4Address(top << 24))))


@pytest.mark.parametrize(
    "nodes",
    [
        [(0, 4)],
        [(1, 4), (2, 4), (1, 4)],
        [(1, 5), (5, 2), (3, 5), (5, 1)],
    ],
)
def test_a_cycle_is_refused(tmp_path: Path, nodes: list[tuple[int, int]]) -> None:
    count = len(nodes)
    nodes = [tuple(min(r, count + 1) for r in node) for node in nodes]  # type: ignore[misc]
    path = tmp_path / "x.mmdb"
    path.write_bytes(tree(nodes, [place("NO")]))
    with pytest.raises(DatabaseError, match="stands below itself"):
        open_places(path)


def test_a_cycle_through_the_ipv4_tree_is_refused(tmp_path: Path) -> None:
    """MaxMind's aliases lead back to the IPv4 tree, which is fine; from inside of that tree it is not."""
    nodes = [(i + 1, 99) for i in range(96)] + [(97, 99), (96, 100)]
    path = tmp_path / "x.mmdb"
    nodes = [tuple(r if r < 98 else 98 + (r - 98) for r in node) for node in nodes]  # type: ignore[misc]
    path.write_bytes(tree(nodes, [place("NO"), place("SE")], 6))
    with pytest.raises(DatabaseError, match="stands below itself"):
        open_places(path)


def test_a_tree_deeper_than_an_address_is_refused(tmp_path: Path) -> None:
    nodes = [(i + 1, 42) for i in range(40)] + [(42, 43)]
    path = tmp_path / "x.mmdb"
    path.write_bytes(tree(nodes, [place("NO"), place("SE")]))
    with pytest.raises(DatabaseError, match=r"deeper than 32 bits|corrupt"):
        compile_places(path)


def test_a_tree_that_unfolds_without_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty nodes that share their children make 2^30 networks that differ from their neighbours."""
    monkeypatch.setattr("geodns.compiler.rangebuild.MAX_STEPS", 100_000)
    nodes = [(i + 1, i + 1) for i in range(29)] + [(31, 32)]
    path = tmp_path / "x.mmdb"
    path.write_bytes(tree(nodes, [place("NO"), place("SE")]))
    with pytest.raises(DatabaseError, match="too many networks"):
        compile_places(path)


def test_shared_subtrees_are_visited_once(tmp_path: Path) -> None:
    """The same thirty nodes with one country below: uniform, so no walk ever enters them."""
    nodes = [(i + 1, i + 1) for i in range(29)] + [(31, 31)]
    path = tmp_path / "x.mmdb"
    path.write_bytes(tree(nodes, [place("NO")]))
    assert compile_places(path).node_count == 30


def test_a_reader_that_disagrees_refuses_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.mmdb"
    path.write_bytes(write_world(RECORDS))
    right = mmdb.Database.find
    monkeypatch.setattr(mmdb.Database, "find", lambda self, address, bits: right(self, address ^ 1 << 24, bits))
    with pytest.raises(DatabaseError, match="two readers disagree about"):
        open_places(path)


def test_aliases_of_the_ipv4_tree_need_no_sorting(tmp_path: Path) -> None:
    path = tmp_path / "x.mmdb"
    path.write_bytes(write_world(RECORDS, aliases=True))
    database = open_places(path)
    for text in ("2002:102:304::", "2001:0:102:304::", "::ffff:1.2.3.4", "::1.2.3.4"):
        address = ip_network(text).network_address
        pointer = database.find(int(address), 128)
        assert read_facts(database.record(pointer, FACTS_WANTED)).country == "US", text
