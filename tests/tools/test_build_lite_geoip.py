"""The maker of the packaged database as a whole, on made-up sources small enough to check every address."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, cast

import geoip2.database
import maxminddb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools.small import BOSTON, FRESNO, MODESTO, OSLO, PLACES, TOKYO, World, build_world, open_built, read_world
from tools.build_lite_geoip import write_result
from tools.lite_geoip.build import build
from tools.lite_geoip.measure import read_reduced
from tools.lite_geoip.source import LEAF

from geodns.geo.special import BLOCKS

ALL_V4 = {"0.0.0.0/0": OSLO}
ALL_V6 = {"::/0": TOKYO}
V4 = {"16.0.0.0/8": OSLO, "17.0.0.0/9": TOKYO, "17.128.0.0/9": FRESNO, "20.0.0.0/8": BOSTON}
V6 = {"2400::/12": TOKYO, "2600::/12": FRESNO, "2610::/12": BOSTON}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, World]:
    """IPv4 below 16.0.0.0/4 in steps of /8, IPv6 below 2400::/8 in steps of /12: no special block inside."""
    choice = st.sampled_from([*PLACES, None])
    v4, v6 = draw(st.lists(choice, min_size=16, max_size=16)), draw(st.lists(choice, min_size=16, max_size=16))
    return (
        {"16.0.0.0/8": OSLO} | {f"{16 + i}.0.0.0/8": record for i, record in enumerate(v4) if i},
        {"2400::/12": TOKYO} | {f"24{i:x}0::/12": record for i, record in enumerate(v6) if i},
    )


def look_up(reader: maxminddb.Reader, address: str) -> tuple[str, str] | None:
    """Country and subdivision of *address*."""
    record: Any = reader.get(address)
    return (record["country"]["iso_code"], record["subdivisions"][0]["iso_code"]) if record else None


CODES = {id(OSLO): ("NO", "03"), id(TOKYO): ("JP", "13"), id(BOSTON): ("US", "MA")}
CODES |= {id(FRESNO): ("US", "CA"), id(MODESTO): ("US", "CA")}


@settings(deadline=None, max_examples=60)
@given(worlds())
def test_always_everything_is_kept_where_nodes_cost_nothing(
    tmp_path_factory: pytest.TempPathFactory, world: tuple[World, World]
) -> None:
    with open_built(build_world(*world, price=0.0, gain=0.0), tmp_path_factory.mktemp("world")) as reader:
        for network, place in {**world[0], **world[1]}.items():
            first = network.partition("/")[0]
            assert look_up(reader, first) == (CODES[id(place)] if place else None), network
            if place:
                record: Any = reader.get(first)
                location = record["location"]
                assert [location["latitude"], location["longitude"]] == pytest.approx(place["coordinates"], abs=0.002)


@settings(deadline=None, max_examples=30)
@given(worlds())
def test_always_a_block_without_special_ones_has_one_answer_where_nodes_are_dear(
    tmp_path_factory: pytest.TempPathFactory, world: tuple[World, World]
) -> None:
    with open_built(build_world(*world, price=1e9), tmp_path_factory.mktemp("world")) as reader:
        assert len({look_up(reader, f"{first}.1.1.1") for first in range(16, 32)}) == 1
        assert len({look_up(reader, f"{first:x}::1") for first in range(0x2400, 0x2500, 0x10)}) == 1


def test_a_cut_takes_the_name_of_most() -> None:
    """One /16 of Boston in a /8 of Fresno is worth a node or two, but not twenty."""
    world = {"16.0.0.0/8": FRESNO, "16.1.0.0/16": BOSTON, "20.0.0.0/8": OSLO}
    kept = build_world(world, V6, price=0.01)
    cut = build_world(world, V6, price=0.5)
    assert len(cut.database) < len(kept.database)


@pytest.mark.parametrize("block", [block.network for block in BLOCKS], ids=str)
def test_special_blocks_stay_unknown_in_a_source_that_names_everything(
    block_reader: maxminddb.Reader, block: object
) -> None:
    network = next(known.network for known in BLOCKS if known.network == block)
    if network.version == 6 and int(network.network_address) == 0:
        return  # ::/64 has a test of its own: the IPv4 tree hangs there
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert block_reader.get(address) is None, address
    specials = [known.network for known in BLOCKS if known.network.version == network.version]
    for number in (int(network[0]) - 1, int(network[-1]) + 1):
        outside: IPv4Address | IPv6Address | None = None
        if 0 <= number < 1 << network.max_prefixlen:
            outside = ip_address(network.network_address.__class__(number))
        if outside is not None and not any(outside in known for known in specials):
            assert block_reader.get(outside) is not None, outside


@pytest.fixture(scope="module")
def block_reader(tmp_path_factory: pytest.TempPathFactory) -> maxminddb.Reader:
    """A database whose source says Oslo for all of IPv4 and Tokyo for all of IPv6."""
    return open_built(build_world(ALL_V4, ALL_V6), tmp_path_factory.mktemp("blocks"))


def test_ipv4_stands_below_96_zero_bits_and_nothing_else_does(block_reader: maxminddb.Reader) -> None:
    assert look_up(block_reader, "::8.8.8.8") == look_up(block_reader, "8.8.8.8") == ("NO", "03")
    for address in ("::1:0:0", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::1:0:0:0", "0:0:0:0:ffff:ffff:ffff:ffff"):
        assert block_reader.get(address) is None, address
    assert look_up(block_reader, "0:0:0:1::") == ("JP", "13")


def test_the_same_sources_give_the_same_octets() -> None:
    first, second = build_world(V4, V6), build_world(V4, V6)
    assert first.database == second.database
    assert first == second


@settings(deadline=None, max_examples=40)
@given(worlds())
def test_always_equal_subtrees_are_one_node_and_parents_come_first(
    tmp_path_factory: pytest.TempPathFactory, world: tuple[World, World]
) -> None:
    path = tmp_path_factory.mktemp("world") / "built.mmdb"
    path.write_bytes(build_world(*world, price=0.0).database)
    tree = read_reduced(path).tree
    pairs = list(zip(tree.left, tree.right, strict=True))
    assert len(set(pairs)) == len(pairs)
    below = {child for pair in pairs for child in pair if child < LEAF}
    assert below == set(range(1, len(pairs)))  # each node but the root is somebody's child
    assert all(child > node for node, pair in enumerate(pairs) for child in pair if child < LEAF)
    assert all(left != right for left, right in pairs if left >= LEAF)


def test_records_are_what_city_readers_expect(tmp_path: Path) -> None:
    (tmp_path / "built.mmdb").write_bytes(build_world(V4, V6).database)
    with geoip2.database.Reader(tmp_path / "built.mmdb") as reader:
        city = reader.city("20.1.2.3")
        assert city.continent.code == "NA"
        assert (city.country.iso_code, city.country.name) == ("US", "United States")
        assert (city.subdivisions.most_specific.iso_code, city.subdivisions.most_specific.name) == ("MA", "Massachusetts")
        assert (city.location.latitude, city.location.longitude) == pytest.approx((42.4, -71.1), abs=0.002)
        assert city.location.accuracy_radius == 1
        assert reader.city("2610::1").country.iso_code == "US"
        meta = reader.metadata()
        assert "City" in meta.database_type
        assert (meta.ip_version, meta.record_size, meta.build_epoch) == (6, 24, 1_780_666_996)
        for words in ("IP Geolocation by DB-IP", "https://db-ip.com", "CC BY 4.0", "edition 2026-06", "Changed by"):
            assert words in meta.description["en"]


def test_a_name_without_code_stays_a_name(tmp_path: Path) -> None:
    world = {"16.0.0.0/8": {"country": "HK", "subdivision": "Kowloon", "coordinates": [22.3, 114.2]}}
    world |= {"17.0.0.0/8": {"country": "SG", "subdivision": "", "coordinates": [1.3, 103.8]}}
    with open_built(build_world(world, V6), tmp_path) as reader:
        kowloon, singapore = cast(Any, reader.get("16.1.1.1")), cast(Any, reader.get("17.1.1.1"))
        assert kowloon["subdivisions"] == [{"names": {"en": "Kowloon"}}]
        assert singapore["country"]["iso_code"] == "SG"
        assert "subdivisions" not in singapore


def test_the_report_names_subdivisions_without_code() -> None:
    lines: list[str] = []
    world = {"16.0.0.0/8": OSLO, "17.0.0.0/8": {"country": "NO", "subdivision": "Oslo fylket", "coordinates": [60.0, 11.0]}}
    build((read_world(world), read_world(V6)), "made up", lines.append)
    assert any("NO Oslo fylket 50.00%" in line for line in lines)


def test_centres_are_weighted_by_addresses(tmp_path: Path) -> None:
    world = {
        "16.0.0.0/8": FRESNO,
        "17.0.0.0/9": FRESNO | {"coordinates": [36.7, -115.8]},
        "20.0.0.0/8": TOKYO,
    }
    built = build_world(world, V6)
    assert built.centres["US-CA"] == built.centres["US"]
    latitude, longitude = built.centres["US-CA"]
    assert latitude == pytest.approx(36.7, abs=0.1)
    assert longitude == pytest.approx(-119.8 + 4 / 3, abs=0.05)
    assert built.centres["JP-13"] == (35.7, 139.7)
    write_result(built, tmp_path / "geoip.mmdb")
    assert json.loads((tmp_path / "centres.json").read_text())["JP"] == [35.7, 139.7]
    assert json.loads((tmp_path / "notice.json").read_text())["edition"] == "2026-06"
    assert (tmp_path / "geoip.mmdb").read_bytes() == built.database
