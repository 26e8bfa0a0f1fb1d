"""Range tables against a naive model, over the whole space of both families: the first and last address of each piece."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.compiler.small import V4_BITS, V6_BITS, World, families, make_config, read_row, write_database
from tests.world import Record

from geodns.compiler.maps import build_maps, maps_digest
from geodns.compiler.naming import name_parts
from geodns.compiler.segments import V4, V6, forced_boundaries
from geodns.config.model import Config
from geodns.errors import DatabaseError
from geodns.geo.place import Sources
from geodns.image_maps import read_countries, read_maps
from geodns.ranges import find_range
from geodns.snapshot import DEFAULT, FIRST_ROW, UNWRAP

SITES = {"ams": (52.37, 4.9), "nyc": (40.71, -74.01), "sin": (1.35, 103.82), "syd": (-33.87, 151.21)}
AMERICA = {"country": "US", "continent": "NA", "coordinates": [40, -75]}
FRANCE = {"country": "FR", "continent": "EU", "coordinates": [48, 2]}
LAB = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

names = st.sampled_from(list(SITES))
v4_networks = st.builds(
    lambda address, length: str(ip_network((address, length), strict=False)),
    st.sampled_from(
        ["0.0.0.0", "5.5.5.5", "5.5.5.200", "10.1.1.1", "64.0.0.0", "192.0.2.77", "200.0.0.1", "255.255.255.255"]
    ),
    st.integers(0, 32),
)
v6_networks = st.builds(
    lambda address, length: str(ip_network((address, length), strict=False)),
    st.sampled_from(["2000::", "2001:db8::", "2a00:1:2:3:8000::", "2002:505:505::", "2001:0:1::", "ffff::", "::1"]),
    st.integers(0, 64),
)
networks = v4_networks | v6_networks
records: st.SearchStrategy[Record] = st.none() | st.sampled_from(
    [
        AMERICA,
        FRANCE,
        {"country": "US", "continent": "NA", "subdivision": "US-CA", "coordinates": [36.7, -119.8]},
        {"country": "SG", "continent": "AS", "coordinates": [1.3, 103.8]},
        {"country": "AU", "continent": "OC", "coordinates": [-30, 140]},
        {"continent": "EU"},
        {"coordinates": [0, 60]},
        {"coordinates": [10, None]},
    ]
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "network": st.lists(networks, min_size=1, max_size=2),
        "asn": st.lists(st.sampled_from([1, 2]), min_size=1, max_size=2),
        "country": st.just(["US", "FR"]),
        "subdivision": st.just(["US-CA"]),
        "continent": st.just(["EU"]),
    },
)
tiers = names | st.dictionaries(names, st.integers(1, 3), min_size=1, max_size=3)
rules = st.builds(
    lambda condition, order, only: {**condition, "order": order, "only": only},
    conditions,
    st.lists(tiers, min_size=0, max_size=3),
    st.booleans(),
)
corrections = st.sampled_from(
    [
        {"datacenter": "syd"},
        {"coordinates": [48.0, 2.0]},
        {"coordinates": [48.0, 2.0], "country": "FR", "continent": "EU"},
        {"coordinates": [36.0, -119.0], "subdivision": "US-CA", "continent": "NA"},
        {"asn": 1},
        {"asn": 2, "coordinates": [1.0, 100.0]},
    ]
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Config, dict[str, Any], bool]:
    """A configuration of two maps and three services, records and AS numbers by network."""
    maps = {
        name: {
            "rules": draw(st.lists(rules, max_size=3)),
            "nearest": draw(st.integers(0, 3)) > 0,
            "depth": draw(st.integers(0, 4)),
            "default": draw(st.lists(names, unique=True, max_size=4)),
        }
        for name in ("world", "other")
    }
    pools = {name: draw(st.lists(names, unique=True, min_size=1, max_size=4)) for name in ("www", "api", "cdn")}
    services = {"www": pools["www"], "api": ("other", pools["api"]), "cdn": pools["cdn"]}
    sites = {name: {"coordinates": list(at), "bias": draw(st.sampled_from([0, 0, 40, -40]))} for name, at in SITES.items()}
    corrected = draw(st.dictionaries(networks, corrections, max_size=3))
    config = make_config(sites, maps=maps, networks=corrected, services=services)
    files = {
        "places": draw(st.dictionaries(networks, records, max_size=6)),
        "more": draw(st.none() | st.dictionaries(v4_networks, records, max_size=4)),
        "asns": draw(
            st.none() | st.dictionaries(networks, st.sampled_from([{"asn": 1}, {"asn": 2}, {"asn": 3}]), max_size=5)
        ),
    }
    return config, files, draw(st.booleans())


def write_files(folder: Path, files: dict[str, Any], shared: bool) -> Sources:
    """The databases of a world. A file of places without any place is no database, so one is there in any case."""
    anchor = {"99.0.0.0/16": FRANCE}
    places = [write_database(folder, {**files["places"], **anchor}, shared=shared, record_size=28 if shared else 24)]
    if files["more"] is not None:
        places.append(write_database(folder, {**files["more"], **anchor}, "more.mmdb", ip_version=4))
    asn = None
    if files["asns"] is not None:
        asn = write_database(folder, {**files["asns"], "99.0.0.0/16": {"asn": 3}}, "asn.mmdb", shared=shared)
    return Sources(tuple(places), asn)


def written_networks(files: dict[str, Any]) -> list[str]:
    """Every network that a file or the anchor names."""
    return [*files["places"], *(files["more"] or ()), *(files["asns"] or ()), "99.0.0.0/16"]


@LAB
@given(worlds())
def test_always_the_order_of_the_naive_model(world: tuple[Config, dict[str, Any], bool]) -> None:
    config, files, shared = world
    with tempfile.TemporaryDirectory() as folder:
        compiled = World(config, write_files(Path(folder), files, shared))
        for service in config.services:
            for bits in (V4_BITS, V6_BITS):
                corners = compiled.corners(bits, written_networks(files))
                for first, end in zip(corners, [*corners[1:], 1 << bits], strict=True):
                    for address in {first, end - 1}:
                        expected = compiled.naive(service, address, bits)
                        assert compiled.compiled(service, address, bits) == expected, (service, bits, hex(address))


@LAB
@given(worlds())
def test_always_one_order_inside_a_scope_and_not_one_bit_further(world: tuple[Config, dict[str, Any], bool]) -> None:
    config, files, shared = world
    with tempfile.TemporaryDirectory() as folder:
        compiled = World(config, write_files(Path(folder), files, shared))
    for service in config.services:
        for (ranges, bits, shift), family in zip(families(compiled.table(service)), (V4, V6), strict=True):
            forced = forced_boundaries(family)
            for i, start in enumerate(ranges.starts):
                end = ranges.starts[i + 1] if i + 1 < len(ranges.starts) else 1 << bits
                if i and start not in forced:
                    assert ranges.orders[i] != ranges.orders[i - 1], "neighbours that are alike were not merged"
                for address in {start, end - 1, (start + end) // 2}:
                    found, scope = find_range(ranges, address, shift, bits)
                    assert found == i
                    size = 1 << bits - scope
                    block = address // size * size
                    assert start <= block and block + size <= end
                    if scope:
                        wider = address // (2 * size) * 2 * size
                        assert wider < start or wider + 2 * size > end
            assert set(forced) <= set(ranges.starts)


def test_uniform_only_where_everybody_gets_the_same(tmp_path: Path) -> None:
    sources = Sources((write_database(tmp_path, {"1.0.0.0/8": FRANCE, "2.0.0.0/8": AMERICA}),))
    only_france = Sources((write_database(tmp_path, {"1.0.0.0/8": FRANCE}, "france.mmdb"),))
    services = {"one": ["ams"], "two": ["nyc", "ams"], "ruled": ("strict", ["ams"])}
    maps = {"strict": {"rules": [{"network": ["1.2.0.0/16"], "order": ["nyc"], "only": True}]}}
    world = World(make_config(SITES, services=services, maps=maps), sources)
    assert world.table("one").uniform
    assert not world.table("two").uniform
    assert not world.table("ruled").uniform  # 1.2.0.0/16 gets nothing
    assert World(make_config(SITES, services=services, maps=maps), only_france).table("two").uniform  # as the default
    assert world.compiled("ruled", int(IPv4Address("1.2.3.4")), 32) == ()


def test_v4_only_database_does_not_poison_v6(tmp_path: Path) -> None:
    sources = Sources((write_database(tmp_path, {"0.0.0.0/0": AMERICA}, ip_version=4),))
    table = World(make_config(SITES), sources).table("www")
    assert max(table.v6.orders) < FIRST_ROW
    assert max(table.v4.orders) == FIRST_ROW
    assert DEFAULT not in table.v4.orders


def test_embedded_v4_is_unwrapped_whatever_the_database_says(tmp_path: Path) -> None:
    """The aliases of the IPv4 tree that MaxMind's writer lays, and records for ::/64, are not followed."""
    records = {"1.0.0.0/8": AMERICA, "128.0.0.0/1": FRANCE}
    plain = Sources((write_database(tmp_path, records),))
    aliased = Sources((write_database(tmp_path, records, "aliased.mmdb", aliases=True),))
    one, two = World(make_config(SITES), plain), World(make_config(SITES), aliased)
    v6 = two.table("www").v6
    assert list(one.table("www").v6.starts) == list(v6.starts)
    assert v6.orders[0] == UNWRAP
    assert v6.starts[1] == 1
    assert [hex(v6.starts[i] >> 32) for i, order in enumerate(v6.orders) if order == UNWRAP][1:] == [
        "0x64ff9b",
        "0x20010000",
        "0x20020000",
    ]


def test_network_narrower_than_64_counts_by_its_first_address(tmp_path: Path) -> None:
    """Range tables look at the upper half; the first half of one /64 and the second half of the next are known."""
    records = {"2a00:0:0:1::/65": AMERICA, "2a00:0:0:2:8000::/65": AMERICA, "2a00:0:0:4::/127": AMERICA}
    world = World(make_config(SITES), Sources((write_database(tmp_path, records),)))
    base = 0x2A00 << 48
    found = [world.compiled("www", base + i, V6_BITS)[0] for i in range(6)]
    assert found == [(("ams" if i not in (1, 4) else "nyc", 1),) for i in range(6)]
    for i in range(6):
        assert world.compiled("www", base + i, V6_BITS) == world.naive("www", base + i, V6_BITS)


def test_first_file_that_knows_an_address_wins_whole(tmp_path: Path) -> None:
    """Without coordinates in the first file, those of the second are not borrowed: the country's centre stands in."""
    first = write_database(tmp_path, {"1.0.0.0/8": {"country": "AU", "continent": "OC"}, "1.1.0.0/16": None}, "first.mmdb")
    second = write_database(tmp_path, {"0.0.0.0/7": FRANCE}, "second.mmdb", ip_version=4)
    world = World(make_config(SITES), Sources((first, second)))
    for address, nearest in (("1.2.3.4", "syd"), ("1.1.3.4", "ams"), ("0.0.0.1", None)):
        tiers = world.compiled("www", int(IPv4Address(address)), 32)
        assert (tiers[0][0][0] if nearest else tiers) == (nearest or "peer")


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_service_in_a_subset_gets_the_nearest_of_its_datacenters(tmp_path: Path, depth: int) -> None:
    """Here ams, nyc and sin are all nearer than syd, and nyc nearer than syd; a service in nyc and syd gets nyc first."""
    sources = Sources((write_database(tmp_path, {"1.0.0.0/8": FRANCE}),))
    maps = {"world": {"depth": depth, "default": ["syd"]}}
    world = World(make_config(SITES, maps=maps, services={"far": ["syd", "nyc"]}), sources)
    tiers = world.compiled("far", int(IPv4Address("1.2.3.4")), 32)
    assert tiers == ((("nyc", 1),), (("syd", 1),)) if depth else ((("syd", 1),), (("nyc", 1),))


def test_orders_are_numbered_by_themselves(tmp_path: Path) -> None:
    """Weighted orders first, each kind sorted; none that no range uses; the default's row is order 0."""
    records = {"1.0.0.0/8": FRANCE, "2.0.0.0/8": AMERICA, "3.0.0.0/8": {"country": "SG", "coordinates": [1, 103]}}
    weighted = {"rules": [{"country": ["US"], "order": [{"nyc": 3, "sin": 1}]}]}
    unused = {"country": ["BR"], "order": ["syd"]}
    maps: dict[str, Any] = {"world": {**weighted, "default": ["ams"]}}
    sources = Sources((write_database(tmp_path, records),))
    world = World(make_config(SITES, maps=maps), sources)
    table = world.table("www")
    assert table.first_plain == FIRST_ROW + 1
    rows = [read_row(world.maps, table, order) for order in range(len(table.rows) - 1)]
    assert rows[1:3] == [(), ()]
    assert rows[3][0] == (("nyc", 3), ("sin", 1))
    assert sorted({*table.v4.orders, *table.v6.orders} - {0, 1, 2}) == list(range(FIRST_ROW, len(rows)))
    assert len(set(rows)) == len(rows) - 1  # only the two marks are alike
    maps["world"]["rules"].append(unused)
    assert list(World(make_config(SITES, maps=maps), sources).table("www").steps) == list(table.steps)


def test_orders_of_a_kind_are_sorted_whatever_comes_first_in_the_database(tmp_path: Path) -> None:
    singapore = {"country": "SG", "coordinates": [1, 103]}
    worlds_of_two = ({"1.0.0.0/8": singapore, "2.0.0.0/8": AMERICA}, {"1.0.0.0/8": AMERICA, "2.0.0.0/8": singapore})
    tables = []
    for i, records in enumerate(worlds_of_two):
        sources = Sources((write_database(tmp_path, records, f"{i}.mmdb"),))
        tables.append(World(make_config(SITES), sources).table("www"))
    ends = tables[0].rows
    rows = [list(tables[0].steps[ends[n] : ends[n + 1]]) for n in range(FIRST_ROW, len(ends) - 1)]
    assert len(rows) == 2
    assert rows == sorted(rows)
    assert list(tables[0].steps) == list(tables[1].steps)
    assert set(tables[0].v4.orders) == set(tables[1].v4.orders)


def test_as_numbers_of_special_blocks_are_not_believed_even_under_a_correction(tmp_path: Path) -> None:
    """A file may hold anything for private space; a correction that gives a number of its own is another matter."""
    places = write_database(tmp_path, {"1.0.0.0/8": FRANCE})
    asns = write_database(tmp_path, {"0.0.0.0/1": {"asn": 1}}, "asn.mmdb")
    maps = {"world": {"rules": [{"asn": [1], "order": ["sin"]}]}}
    networks = {"10.1.0.0/16": {"datacenter": "nyc"}, "10.2.0.0/16": {"asn": 1}}
    world = World(make_config(SITES, maps=maps, networks=networks), Sources((places,), asns))
    for text, first in (("1.2.3.4", "sin"), ("10.1.2.3", "nyc"), ("10.2.2.3", "sin"), ("10.3.2.3", "peer")):
        found = world.compiled("www", int(IPv4Address(text)), V4_BITS)
        assert found == world.naive("www", int(IPv4Address(text)), V4_BITS)
        assert (found if isinstance(found, str) else found[0][0][0]) == first


def test_same_input_same_octets_and_the_digest_names_them(tmp_path: Path) -> None:
    path = write_database(tmp_path, {"1.0.0.0/8": FRANCE, "2a00::/16": AMERICA})
    asn = write_database(tmp_path, {"1.0.0.0/8": {"asn": 1}}, "asn.mmdb")
    maps = {"world": {"rules": [{"asn": [1], "order": ["sin"]}]}}
    config = make_config(SITES, maps=maps, networks={"1.1.0.0/16": {"country": "JP"}})
    naming, sources = name_parts(config), Sources((path,), asn)
    block = build_maps(config, naming, sources)
    assert block == build_maps(config, naming, sources)
    assert read_maps(block, "x").digest == maps_digest(config, naming, sources)


def test_digest_changes_with_everything_that_counts_and_with_nothing_else(tmp_path: Path) -> None:
    path = write_database(tmp_path, {"1.0.0.0/8": FRANCE})
    other = write_database(tmp_path, {"1.0.0.0/8": AMERICA}, "other.mmdb")
    asn = write_database(tmp_path, {"1.0.0.0/8": {"asn": 1}}, "asn.mmdb")
    rules = {"world": {"rules": [{"asn": [1], "order": ["sin"]}]}}

    def digest(places: tuple[Path, ...] = (path,), asn_path: Path | None = None, **changes: Any) -> bytes:
        config = make_config(changes.pop("sites", SITES), **changes)
        return maps_digest(config, name_parts(config), Sources(places, asn_path))

    base = digest()
    moved = {**SITES, "ams": (50.0, 4.9)}
    drained = {**SITES, "ams": {"coordinates": [52.37, 4.9], "drain": True}}
    changed = [
        digest((other,)),
        digest((path, other)),
        digest(sites=moved),
        digest(maps=rules),
        digest(asn_path=asn, maps=rules),
        digest(networks={"1.0.0.0/8": {"country": "JP"}}),
        digest(services={"www": ["ams"]}),
    ]
    assert len({base, *changed}) == len(changed) + 1
    assert digest(sites=drained) == base  # draining is no matter of maps
    assert digest(asn_path=asn) == base  # no rule asks for it
    assert digest(maps={"unused": {"depth": 1}}) == base
    path.rename(tmp_path / "renamed.mmdb")
    assert digest((tmp_path / "renamed.mmdb",)) == base


def test_countries_beside_the_maps(tmp_path: Path) -> None:
    records: dict[str, Any] = {
        "1.0.0.0/8": FRANCE,
        "1.1.0.0/16": AMERICA,
        "2.0.0.0/8": {"coordinates": [10, 10]},
        "3.0.0.0/8": {"continent": "EU"},
    }
    world = World(
        make_config(SITES, networks={"10.0.0.0/8": {"country": "JP"}}), Sources((write_database(tmp_path, records),))
    )
    countries = read_countries(world.block, "x")
    found = [(str(IPv4Address(s)), c.to_bytes(2, "big")) for s, c in zip(countries.starts, countries.codes, strict=True)]
    assert found == [
        ("0.0.0.0", b"\0\0"),
        ("1.0.0.0", b"FR"),
        ("1.1.0.0", b"US"),
        ("1.2.0.0", b"FR"),
        ("2.0.0.0", b"??"),
        ("3.0.0.0", b"\0\0"),
        ("10.0.0.0", b"JP"),
        ("11.0.0.0", b"\0\0"),
    ]


def test_database_of_another_kind_says_so(tmp_path: Path) -> None:
    asn = write_database(tmp_path, {"1.0.0.0/8": {"asn": 1}}, "asn.mmdb", database_type="GeoLite2-ASN")
    city = write_database(tmp_path, {"1.0.0.0/8": FRANCE}, "city.mmdb", database_type="GeoLite2-City")
    maps = {"world": {"rules": [{"asn": [1], "order": ["sin"]}]}}
    config = make_config(SITES, maps=maps)
    with pytest.raises(DatabaseError, match=r'asn\.mmdb: holds no places \(its type is "GeoLite2-ASN"\)'):
        build_maps(config, name_parts(config), Sources((asn,)))
    with pytest.raises(DatabaseError, match=r'city\.mmdb: holds no AS numbers \(its type is "GeoLite2-City"\)'):
        build_maps(config, name_parts(config), Sources((city,), city))


def test_no_database_no_service(tmp_path: Path) -> None:
    """A missing file is one line with its name; a configuration without services still has one table."""
    config = make_config(SITES)
    config = config.model_copy(update={"services": {}})
    with pytest.raises(DatabaseError, match=r"nothing\.mmdb: No such file"):
        build_maps(config, name_parts(config), Sources((tmp_path / "nothing.mmdb",)))
    sources = Sources((write_database(tmp_path, {"1.0.0.0/8": FRANCE}),))
    maps = read_maps(build_maps(config, name_parts(config), sources), "x")
    assert [table.map_name for table in maps.tables] == ["world"]
    assert replace(maps, digest=b"").datacenters == tuple(SITES)
