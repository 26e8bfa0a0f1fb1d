"""The committed database and what stands beside it."""

import json
import zlib
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import geoip2.database
import maxminddb
import pytest
from tools.lite_geoip.measure import Reduced, read_reduced
from tools.lite_geoip.source import LEAF

from geodns.geo import iso
from geodns.geo.builtin import database_path, notice
from geodns.geo.special import BLOCKS

MEGABYTE = 1_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reader() -> maxminddb.Reader:
    return maxminddb.open_database(database_path())


@pytest.fixture(scope="module")
def reduced() -> Reduced:
    return read_reduced(database_path())


def test_it_is_small_enough() -> None:
    octets = database_path().read_bytes()
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)  # as in a wheel
    assert len(octets) <= 7 * MEGABYTE
    assert len(squeeze.compress(octets)) + len(squeeze.flush()) <= 5 * MEGABYTE


@pytest.mark.parametrize(
    ("address", "country", "subdivision", "latitude", "longitude"),
    [
        ("129.132.0.1", "CH", "ZH", 47.4, 8.5),  # ETH, Zurich
        ("18.9.22.69", "US", "MA", 42.4, -71.1),  # MIT
        ("171.64.0.1", "US", "CA", 37.4, -122.2),  # Stanford
        ("130.237.28.40", "SE", "AB", 59.3, 18.0),  # Stockholm
        ("133.11.0.1", "JP", "13", 35.7, 139.7),  # University of Tokyo
        ("143.107.0.1", "BR", "SP", -23.5, -46.6),  # University of Sao Paulo
        ("166.111.4.100", "CN", "BJ", 39.9, 116.4),  # Tsinghua, Beijing
        ("147.46.10.20", "KR", "11", 37.5, 127.0),  # Seoul
        ("132.248.10.44", "MX", "CMX", 19.4, -99.1),  # UNAM, Mexico City
        ("147.102.1.1", "GR", "I", 38.0, 23.7),  # Athens
        ("102.65.0.1", "ZA", "WC", -33.9, 18.5),  # Cape Town
        ("2001:648:2::1", "GR", "I", 38.0, 23.7),
        ("2001:760::1", "IT", "62", 41.9, 12.5),  # Rome
        ("2001:da8::1", "CN", "BJ", 39.9, 116.4),
        ("2001:388::1", "AU", "ACT", -35.3, 149.1),  # Canberra
    ],
)
def test_known_networks(address: str, country: str, subdivision: str, latitude: float, longitude: float) -> None:
    with geoip2.database.Reader(database_path()) as cities:
        city = cities.city(address)
    assert city.country.iso_code == country
    assert city.continent.code == iso.continent_of(country)
    assert city.subdivisions.most_specific.iso_code == subdivision
    assert (city.location.latitude, city.location.longitude) == pytest.approx((latitude, longitude), abs=0.7)


@pytest.mark.parametrize("block", [block.network for block in BLOCKS if block.network.prefixlen != 64], ids=str)
def test_special_blocks_are_unknown(reader: maxminddb.Reader, block: Any) -> None:
    for number in range(5):
        assert reader.get(block[number * (block.num_addresses - 1) // 4]) is None


def test_ipv4_stands_at_96_zero_bits_alone(reader: maxminddb.Reader) -> None:
    assert reader.get("::18.9.22.69") == reader.get("18.9.22.69") != None  # noqa: E711
    for address in ("::ffff:18.9.22.69", "64:ff9b::18.9.22.69", "2002:1209:1645::1", "2001::1", "0:0:0:0:1::", "::1"):
        assert reader.get(address) is None, address
    mapped = ip_address("::ffff:0:0")
    assert reader.get_with_prefix_len(mapped)[1] <= 96  # no alias of the IPv4 tree


def test_every_code_is_current_and_every_place_whole(reduced: Reduced) -> None:
    countries = set()
    for record in reduced.records.values():
        country = record["country"]["iso_code"]
        countries.add(country)
        assert record["country"]["names"]["en"] == iso.countries()[country]
        assert record["continent"]["code"] == iso.continent_of(country)
        for subdivision in record.get("subdivisions", []):
            assert subdivision["names"]["en"]
            if "iso_code" in subdivision:
                assert f"{country}-{subdivision['iso_code']}" in iso.subdivisions()
        location = record["location"]
        assert -90 <= location["latitude"] <= 90
        assert -180 <= location["longitude"] <= 180
        assert (location["latitude"], location["longitude"]) != (0, 0)
        assert 1 <= location["accuracy_radius"] < 2000
    assert len(countries) > 240
    assert len(reduced.records) > 3000


def test_equal_subtrees_are_stored_once_and_parents_come_first(reduced: Reduced) -> None:
    pairs = list(zip(reduced.tree.left, reduced.tree.right, strict=True))
    assert len(set(pairs)) == len(pairs)
    assert all(left > node and right > node for node, (left, right) in enumerate(pairs))
    assert all(left != right for left, right in pairs if left >= LEAF)


def test_it_says_where_it_is_from(reader: maxminddb.Reader) -> None:
    meta, told = reader.metadata(), notice()
    assert "City" in meta.database_type
    assert (meta.ip_version, meta.record_size, meta.binary_format_major_version) == (6, 24, 2)
    assert datetime.fromtimestamp(meta.build_epoch, UTC).strftime("%Y-%m") == told.edition
    text = meta.description["en"]
    for words in (
        told.attribution,
        told.link,
        told.licence,
        told.licence_link,
        told.changes,
        told.edition,
        "accuracy_radius",
    ):
        assert words in text


@pytest.mark.parametrize("paper", ["NOTICE", "src/geodns/builtin/README.md"])
def test_the_papers_say_it_too(paper: str) -> None:
    text = " ".join((ROOT / paper).read_text(encoding="utf-8").split())
    told = notice()
    for words in (told.attribution, told.link, told.licence, told.licence_link, told.edition, told.source.split()[1]):
        assert words in text
    for licence in ("Unicode License V3", "MIT"):  # of the lists of codes and names
        assert licence in text


def test_centres_are_those_of_the_same_edition(reduced: Reduced) -> None:
    centres = json.loads(database_path().with_name("centres.json").read_text(encoding="utf-8"))
    named = {record["country"]["iso_code"] for record in reduced.records.values()}
    assert named <= set(centres)
    assert sum("-" in code for code in centres) > 2500
    assert (iso.centre("US", "US-CA")) == tuple(centres["US-CA"])
