"""What records and corrections say of an address; and that `locate_place` sees what the compiler sees."""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.compiler.small import make_config, read_row, write_database

from geodns.compiler.maps import build_maps
from geodns.compiler.naming import name_parts
from geodns.compiler.orders import build_ordering, collect_rules
from geodns.config.model import Correction, Geoip
from geodns.errors import DatabaseError
from geodns.geo import iso
from geodns.geo.builtin import database_path
from geodns.geo.distance import build_sites, rank_sites
from geodns.geo.networks import Corrections
from geodns.geo.place import (
    NOWHERE,
    Facts,
    Sources,
    complete,
    correct,
    find_sources,
    locate_place,
    place_of,
    read_asn,
    read_coordinates,
    read_facts,
)
from geodns.image_maps import read_maps
from geodns.snapshot import FIRST_ROW

CITY = Path(__file__).parent.parent / "data" / "maxmind" / "test-data" / "GeoLite2-City-Test.mmdb"
ASN = CITY.with_name("GeoLite2-ASN-Test.mmdb")
NOBODY = Corrections({})


def locate(address: str, sources: Sources, networks: dict[str, Any] | None = None) -> Any:
    corrections = {ip_network(text): Correction.model_validate(value) for text, value in (networks or {}).items()}
    return locate_place(ip_address(address), sources, Corrections(corrections), {"ams": (52.37, 4.9)})


@pytest.mark.parametrize(
    ("latitude", "longitude", "found"),
    [
        (1.5, 2, (1.5, 2.0)),
        (0, 10, (0.0, 10.0)),
        (0, 0, (None, None)),
        (0.0, -0.0, (None, None)),
        (None, 2.0, (None, None)),
        (1.0, None, (None, None)),
        (91, 0, (None, None)),
        (10, 180.5, (None, None)),
        (float("nan"), 1.0, (None, None)),
        (float("inf"), 1.0, (None, None)),
        (True, 1.0, (None, None)),
        ("1", "2", (None, None)),
    ],
)
def test_coordinates_are_both_or_none_and_never_made_up(latitude: Any, longitude: Any, found: Any) -> None:
    assert read_coordinates(latitude, longitude) == found


def test_both_schemas() -> None:
    nested = {
        "continent": {"code": "NA"},
        "country": {"iso_code": "US"},
        "subdivisions": [{"iso_code": "CA"}, {"iso_code": "XX"}],
        "location": {"latitude": 36.7, "longitude": -119.8},
    }
    flat = {"country_code": "US", "state1": "California", "latitude": 36.7, "longitude": -119.8, "city": "Fresno"}
    expected = Facts("NA", "US", "US-CA", 36.7, -119.8)
    assert read_facts(nested) == expected
    assert complete(read_facts(flat))[0] == expected
    assert place_of(flat).city == "Fresno"


@pytest.mark.parametrize(
    "record",
    [
        *(None, {}, [], "x", 7, {"country": "US"}, {"country": []}, {"country": {"iso_code": 7}}, {"subdivisions": [7]}),
        *({"subdivisions": {}}, {"location": []}, {"country_code": ""}, {"country_code": "ZZ"}, {"state1": "Texas"}),
    ],
)
def test_records_of_any_shape_are_nowhere(record: Any) -> None:
    assert read_facts(record) == NOWHERE
    assert not place_of(record).known


def test_subdivision_of_a_flat_file_by_its_name() -> None:
    def found(country: str, name: str) -> str | None:
        return read_facts({"country_code": country, "state1": name}).subdivision

    assert found("US", "california") == "US-CA"
    assert found("DE", "DE-BY") == "DE-BY"
    assert found("US", "Ontario") is None
    assert found("US", "No Such State") is None


def test_missing_coordinates_are_the_centre_of_the_smallest_area() -> None:
    state, centred = complete(Facts("NA", "US", "US-CA"))
    assert centred
    assert (state.latitude, state.longitude) == iso.centre("US", "US-CA")
    country, _ = complete(Facts(None, "NO"))
    assert country == Facts("EU", "NO", None, *iso.centre("NO"))  # type: ignore[misc]
    assert complete(Facts("EU")) == (Facts("EU"), False)
    assert complete(Facts("NA", "US", None, 1.0, 2.0)) == (Facts("NA", "US", None, 1.0, 2.0), False)


@pytest.mark.parametrize("asn", [{"autonomous_system_number": 64500}, {"asn": "AS64500"}, {"asn": 64500}])
def test_as_numbers_in_every_spelling(asn: Any) -> None:
    assert read_asn(asn) == 64500


@pytest.mark.parametrize("record", [None, {}, {"asn": "ASx"}, {"asn": None}, {"asn": True}, [1]])
def test_no_as_number(record: Any) -> None:
    assert read_asn(record) is None


HERE = Facts("EU", "DE", "DE-BY", 48.1, 11.6)


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        ({"country": "JP"}, Facts("AS", "JP")),
        ({"country": "JP", "coordinates": [35, 139]}, Facts("AS", "JP", None, 35.0, 139.0)),
        ({"country": "DE"}, Facts("EU", "DE")),
        ({"subdivision": "US-CA"}, Facts("NA", "US", "US-CA")),
        ({"continent": "AF"}, Facts("AF")),
        ({"city": "Ulm"}, Facts("EU", "DE", "DE-BY")),
        ({"coordinates": [47.4, 8.5]}, Facts("EU", "DE", "DE-BY", 47.4, 8.5)),
        ({"datacenter": "ams"}, Facts("EU", "DE", "DE-BY", 52.37, 4.9)),
        ({"asn": 7}, HERE),
    ],
)
def test_a_corrected_field_clears_the_finer_ones(correction: dict[str, Any], expected: Facts) -> None:
    assert correct(HERE, Correction.model_validate(correction), {"ams": (52.37, 4.9)}) == expected


def test_located_by_a_database() -> None:
    found = locate("81.2.69.160", Sources((CITY,), ASN))
    assert (found.place.country, found.place.city, found.place.accuracy_radius) == ("GB", "London", 100)
    assert found.place.registered_country == "US"
    assert found.source == "GeoLite2-City-Test.mmdb"
    assert str(found.network) == "81.2.69.160/27"
    numbered = locate("1.128.0.1", Sources((CITY,), ASN))
    assert numbered.place.asn == 1221
    assert numbered.source == "GeoLite2-ASN-Test.mmdb"
    assert str(numbered.network) == "1.128.0.0/11"


def test_located_by_a_correction() -> None:
    sources = Sources((CITY,))
    moved = locate("81.2.69.160", sources, {"81.2.69.0/24": {"country": "JP"}})
    assert (moved.place.country, moved.place.city, moved.place.centred) == ("JP", None, True)
    assert moved.source == "geoip.networks over GeoLite2-City-Test.mmdb"
    assert str(moved.network) == "81.2.69.160/27"
    there = locate("81.2.69.160", sources, {"81.2.69.160/32": {"datacenter": "ams"}})
    assert (there.place.country, there.place.latitude, there.place.city) == ("GB", 52.37, "London")
    assert str(there.network) == "81.2.69.160/32"


def test_special_blocks_are_not_looked_up(tmp_path: Path) -> None:
    world = Sources((write_database(tmp_path, {"0.0.0.0/0": {"country": "US", "coordinates": [40, -75]}}),))
    found = locate("10.1.2.3", world)
    assert (found.place.known, found.special, str(found.network)) == (False, "private use", "10.0.0.0/8")
    corrected = locate("10.1.2.3", world, {"10.1.0.0/16": {"datacenter": "ams"}})
    assert (corrected.place.latitude, corrected.place.country, corrected.source) == (52.37, None, "geoip.networks")


def test_first_file_that_knows_wins_whole(tmp_path: Path) -> None:
    first = write_database(tmp_path, {"1.0.0.0/8": {"country": "FR"}, "2.0.0.0/8": {"asn": 1}}, "first.mmdb")
    second = write_database(
        tmp_path, {"0.0.0.0/1": {"country": "US", "city": "Ames", "coordinates": [42, -93]}}, "second.mmdb"
    )
    sources = Sources((first, second))
    assert locate("1.2.3.4", sources).place.city is None
    assert locate("1.2.3.4", sources).source == "first.mmdb"
    assert locate("2.2.3.4", sources).source == "second.mmdb"


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write_database(tmp_path, {"1.0.0.0/8": {"country": "FR"}})
    assert locate("1.2.3.4", Sources((path,))).place.country == "FR"
    write_database(tmp_path, {"1.0.0.0/8": {"country": "NO", "continent": "EU"}})
    assert locate("1.2.3.4", Sources((path,))).place.country == "NO"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"missing\.mmdb: No such file"):
        locate("1.2.3.4", Sources((tmp_path / "missing.mmdb",)))
    junk = tmp_path / "junk.mmdb"
    junk.write_bytes(b"junk")
    with pytest.raises(DatabaseError, match=r"junk\.mmdb: corrupt"):
        locate("1.2.3.4", Sources((junk,)))


def test_sources_of_a_configuration() -> None:
    geoip = Geoip.model_validate({"database": ["builtin"]})
    assert find_sources(geoip) == Sources((database_path(),))


def test_locate_place_sees_what_the_compiler_sees() -> None:
    """For each network of the public City file: rank what is located, and find that order in the table."""
    sites = {"iad": (38.95, -77.45), "fra": (50.11, 8.68), "sin": (1.35, 103.82), "nrt": (35.68, 139.69)}
    networks = {"81.2.69.0/25": {"country": "JP"}, "2001:218::/33": {"coordinates": [50, 8]}, "9.9.0.0/16": {"asn": 5}}
    rules = [{"country": ["SE", "BT"], "order": ["sin"]}, {"asn": [5, 1221], "order": ["fra"]}]
    config = make_config(sites, networks=networks, maps={"world": {"rules": rules, "depth": 4}})
    sources, naming = Sources((CITY,), ASN), name_parts(config)
    maps = read_maps(build_maps(config, naming, sources), "x")
    table, corrections = maps.tables[0], Corrections(config.geoip.networks)
    ordering, book = build_ordering(config, "world", range(4)), collect_rules(config, ["world"])
    measured = build_sites(config.datacenters)
    checked = 0
    for ranges, kind, shift in ((table.v4, IPv4Address, 0), (table.v6, IPv6Address, 64)):
        for start in [*ranges.starts, *(start - 1 for start in ranges.starts[1:])]:
            order = ranges.orders[bisect_right(ranges.starts, start) - 1]
            found = locate_place(kind(start << shift), sources, corrections, {})
            if 0 < order < FIRST_ROW:
                assert found.special
                continue
            place = found.place
            matching = book.by_place(place.continent, place.country, place.subdivision) & book.by_asn(place.asn)
            ranking = () if place.latitude is None else rank_sites(place.latitude, place.longitude or 0.0, measured)
            row = ordering.row(ranking, book.first(matching, "world"))
            assert tuple((name, 1) for name in (maps.datacenters[n] for n, _ in row)) == tuple(
                tier[0] for tier in read_row(maps, table, order)
            ), str(kind(start << shift))
            checked += 1
    assert checked > 300
