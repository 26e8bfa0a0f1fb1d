"""Groups of records against each record for itself: the same state behind every pointer, or the same words."""

from __future__ import annotations

import math
import random
import struct
from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.native.both import engine, same
from tests.world import encode

from geodns.compiler.leaves import find_records, read_leaves, read_numbers
from geodns.compiler.orders import Rules
from geodns.compiler.states import States
from geodns.config.model import Datacenter
from geodns.errors import DatabaseError
from geodns.geo import mmdb
from geodns.geo.distance import build_sites
from geodns.geo.mmdb import Database, Metadata
from geodns.geo.place import ASN_WANTED, FACTS_WANTED, NOWHERE
from geodns.geo.records import SCALAR, Values, want
from geodns.native.records import group_records

LAB = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
SITES = build_sites(
    {
        name: Datacenter.model_construct(coordinates=where, bias=0, drain=False)
        for name, where in {"ams": (52.37, 4.9), "nyc": (40.71, -74.01), "sin": (1.35, 103.82)}.items()
    }
)
PATIENCE = 1_000_000


def float32(number: float) -> bytes:
    return bytes([8, 8]) + struct.pack(">f", number)


def int32(number: int) -> bytes:
    return bytes([4, 1]) + struct.pack(">i", number)


numbers = st.sampled_from([0.0, -0.0, 48.5, 52.0, -33.9, 90.0, -90.0, 90.5, 151.2, 180.0, -180.5, math.nan, math.inf])
coordinates = st.one_of(
    numbers.map(encode),
    numbers.map(encode),
    st.sampled_from([48.5, 4.25]).map(float32),
    st.sampled_from([0, 7, 48, 200]).map(encode),
    st.sampled_from([-7, 48]).map(int32),
    st.sampled_from([True, "48.5", b"\x01", [], {}]).map(encode),
)
texts = st.sampled_from(["US", "FR", "EU", "CA", "", "ZZ", "California", "Île-de-France"]).map(encode)
strange = st.sampled_from(
    [b"\x42\xff\xfe", encode(7), encode([1, 2]), encode({"a": {"b": [3.5]}}), encode(False), encode(1 << 90)]
)
codes = texts | texts | strange


def maps(entries: st.SearchStrategy[list[tuple[str, bytes]]]) -> st.SearchStrategy[bytes]:
    """Maps of encoded entries; keys may stand twice."""
    return entries.map(lambda found: bytes([7 << 5 | len(found)]) + b"".join(encode(key) + value for key, value in found))


def entries(**fields: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[tuple[str, bytes]]]:
    one = st.one_of([st.tuples(st.just(key), value) for key, value in fields.items()])
    return st.lists(one, max_size=5)


named = maps(entries(iso_code=codes, code=codes, names=strange, other=codes))
places = maps(entries(latitude=coordinates, longitude=coordinates, accuracy_radius=codes))
plain_places = st.tuples(numbers, numbers).map(lambda at: encode({"latitude": at[0], "longitude": at[1]}))
lists = st.lists(named | codes, max_size=3).map(lambda found: bytes([len(found), 4]) + b"".join(found))
records = maps(
    entries(
        continent=named,
        country=named | named | codes,
        subdivisions=lists | codes,
        location=plain_places | plain_places | places | codes,
        continent_code=codes,
        country_code=codes,
        state1=codes,
        latitude=coordinates,
        longitude=coordinates,
        city=named,
        autonomous_system_number=codes,
        asn=codes | st.sampled_from(["AS64500", "as7", "ASx"]).map(encode),
    )
)


def make_database(found: list[bytes]) -> Database:
    """A tree of which each node leads to one record; records end where the next begins."""
    nodes, octets, left = len(found), b"", []
    for record in found:
        left.append(nodes + mmdb.SEPARATOR + len(octets))
        octets += record
    right = [*range(1, nodes), nodes]
    metadata = Metadata(nodes, 32, 6, "Test-City", 1)
    return Database("x.mmdb", metadata, array("I", left), array("I", right), 0, Values(octets, "x.mmdb"), b"")


def read_states(found: list[bytes]) -> list[object]:
    """The state behind each record, by its number and whole."""
    database = make_database(found)
    states = States(Rules((), {}, 0, 0), SITES, {})
    values = read_leaves(database, states, {NOWHERE: 0}).values
    return [(values[pointer], states.found[values[pointer]]) for pointer in database.left]


def read_asns(found: list[bytes]) -> list[int]:
    database = make_database(found)
    values = read_numbers(database, [7, 64500, 1 << 90])
    return [values[pointer] for pointer in database.left]


@LAB
@given(st.lists(records, min_size=1, max_size=12))
def test_always_the_state_of_each_record(found: list[bytes]) -> None:
    same(lambda: read_states(found))


@LAB
@given(st.lists(records, min_size=1, max_size=12))
def test_always_the_asn_of_each_record(found: list[bytes]) -> None:
    same(lambda: read_asns(found))


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(records, min_size=1, max_size=6), st.integers(0, 2**32), st.sampled_from([1, 2, 6]))
def test_whatever_is_changed_the_same_states_or_words(found: list[bytes], seed: int, count: int) -> None:
    """Octets that become pointers, other types, lengths beyond the end."""
    chance, whole = random.Random(seed), bytearray(b"".join(found))
    telling = (0, 0x20, 0x28, 0x30, 0x38, 0x5D, 0xE1, 0xFF)
    for _ in range(count):
        whole[chance.randrange(len(whole))] = chance.choice([*telling, chance.randrange(256)])
    changed, at = [], 0
    for record in found:
        changed.append(bytes(whole[at : at + len(record)]))
        at += len(record)
    same(lambda: read_states(changed))


def point(size: int, target: int) -> bytes:
    """A pointer of *size* + 2 octets; all but the longest begin with three bits of the value."""
    base = (0, 2048, 526_336, 0)[size]
    octets = (target - base).to_bytes(size + 2, "big") if size < 3 else bytes(1) + target.to_bytes(4, "big")
    return bytes([1 << 5 | size << 3 | octets[0]]) + octets[1:]


@pytest.mark.parametrize("size", range(4))
def test_pointers_of_every_size(size: int) -> None:
    """Key and value behind pointers, at the lowest offset that the size can have; and one that leads out of the section."""
    base = (0, 2048, 526_336, 0)[size]
    key, value = encode("country_code"), encode("SE")
    shared = bytes(base) + key + value
    record = bytes([7 << 5 | 1]) + point(size, base) + point(size, base + len(key))
    assert same(lambda: country_of(shared, record)) == "SE"
    astray = bytes([7 << 5 | 1]) + key + point(size, base + 2000)
    assert "a pointer leads to" in str(same(lambda: country_of(shared, astray)))


def country_of(shared: bytes, record: bytes) -> str:
    """The country in *record*, the only one of a tree, which stands behind octets that it may point to."""
    octets, left = shared + record, array("I", [1 + mmdb.SEPARATOR + len(shared)])
    metadata = Metadata(1, 32, 6, "Test-City", 1)
    database = Database("x.mmdb", metadata, left, array("I", [1]), 0, Values(octets, "x.mmdb"), b"")
    states = States(Rules((), {}, 0, 0), (), {})
    return states.found[read_leaves(database, states, {NOWHERE: 0}).values[left[0]]].country


def test_places_that_rank_alike_are_one_group() -> None:
    """Otherwise each city would be read by the reference, and the native reader would be no gain."""
    chance = random.Random(6)
    found = [
        encode(
            {
                "country": {"iso_code": "FR"},
                "location": {"latitude": chance.uniform(43, 50), "longitude": chance.uniform(0, 6)},
            }
        )
        for _ in range(1000)
    ]
    database = make_database(found)
    with engine("native"):
        states = States(Rules((), {}, 0, 0), SITES, {})
        grouped = find_records(database, FACTS_WANTED, states.shadow)
        assert len(list(grouped.places())) <= 6  # orders of three sites
        assert len(list(find_records(database, FACTS_WANTED, None).places())) == 1
    with engine("pure"):
        assert len(list(find_records(database, FACTS_WANTED, None).places())) == 1000


def test_patience_ends() -> None:
    """Each record is a pointer to one map of many entries: the file is small, reading it record by record is not."""
    many = bytes([7 << 5 | 31]) + (30_000).to_bytes(3, "big") + b"\x41a\x41b" * (30_000 + 65_821)
    octets = many + point(3, 0) * 200
    offsets = array("I", range(len(many), len(octets), 5))
    assert group_records(octets, offsets, FACTS_WANTED, None, 10**9) is not None
    assert group_records(octets, offsets, FACTS_WANTED, None, PATIENCE) is None


def test_what_cannot_be_grouped_is_left_to_the_reference() -> None:
    one = encode({"country_code": "SE"})
    assert group_records(one, array("I", [0]), FACTS_WANTED, None, PATIENCE) is not None
    assert group_records(one, array("I", [len(one)]), FACTS_WANTED, None, PATIENCE) is None
    assert group_records(one, array("I"), FACTS_WANTED, None, PATIENCE) is None
    assert group_records(b"", array("I", [0]), FACTS_WANTED, None, PATIENCE) is None
    huge = encode({"country_code": "S" * 2000})
    assert group_records(huge, array("I", [0]), FACTS_WANTED, None, PATIENCE) is None
    assert same(lambda: read_states([huge]))


def test_more_fields_than_a_record_is_grouped_by_are_refused() -> None:
    wanted = want(**{f"f{i}": SCALAR for i in range(256)})
    with pytest.raises(ValueError, match="more fields"):
        group_records(b"\xe0", array("I", [0]), wanted, None, PATIENCE)
    deep = SCALAR
    for _ in range(70):
        deep = want(a=deep)
    with pytest.raises(ValueError, match="more fields"):
        group_records(b"\xe0", array("I", [0]), deep, None, PATIENCE)


def test_a_file_without_places_or_numbers_is_named() -> None:
    empty = [encode({"city": {"names": {}}})]
    assert "holds no places" in str(same(lambda: read_states(empty)))
    assert "holds no AS numbers" in str(same(lambda: read_asns(empty)))


def test_wanted_fields_that_are_no_text_are_refused_by_the_reference() -> None:
    with engine("native"), pytest.raises(DatabaseError, match="not UTF-8"):
        read_states([encode({"country_code": "SE"}), bytes([7 << 5 | 1]) + encode("country_code") + b"\x42\xff\xfe"])
    assert "not UTF-8" in str(same(lambda: read_asns([bytes([7 << 5 | 1]) + encode("asn") + b"\x42\xff\xfe"])))


def test_the_database_of_these_tests_is_read_as_such() -> None:
    """The strategies above make records that say something: states differ, and numbers are found."""
    assert len(set(map(str, read_states([encode({"country_code": c}) for c in ("SE", "NO", "US")])))) == 3
    assert read_asns([encode({"asn": "AS7"}), encode({"autonomous_system_number": 64500}), encode({"asn": 8})]) == [1, 2, 0]
    assert ASN_WANTED.fields.keys() == {b"autonomous_system_number", b"asn"}
