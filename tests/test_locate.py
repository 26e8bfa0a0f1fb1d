"""Where an address is and what maps make of it, in words; that the order is the table's is held by `test_explain`."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from geodns.locate import Scene, locate, measure, range_round, tell_order
from geodns.lookup import find_order, read_tiers
from geodns.snapshot import Table

from .scenes import build_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build_scene(tmp_path_factory.mktemp("scene"))


def test_every_table_in_use_has_a_view_with_its_services(scene: Scene) -> None:
    views = locate(scene, ip_address("64.9.9.9")).views
    assert sorted(name for view in views for name in view.services) == sorted(scene.config.services)
    assert {view.map for view in views} == {"world", "calm"}


@pytest.mark.parametrize(
    ("address", "rule", "order"),
    [
        ("64.9.9.9", "no rule matches, so the nearest 2, then the default", ("ams", "nyc", "sin")),
        ("80.1.1.1", "rule 2 (country DE), then the nearest 2, then the default", ("nyc 2 | sin 1", "ams")),
        (
            "80.7.1.1",
            "rule 1 (network 80.7.0.0/16 2a00:7::/32), then the nearest 2, then the default",
            ("sin", "ams", "nyc"),
        ),
        (
            "2a00:7::9",
            "rule 1 (network 80.7.0.0/16 2a00:7::/32), then the nearest 2, then the default",
            ("sin", "ams", "nyc"),
        ),
        ("129.0.0.1", "rule 3 (continent SA), and nothing else", ("nyc",)),
        ("200.1.1.1", "no rule matches, and nobody knows where the client is, so the default", ("sin", "ams", "nyc")),
        ("10.0.0.1", "no rule matches, so the nearest 2, then the default", ("ams", "nyc", "sin")),
        ("2002:4009:909::1", "no rule matches, so the nearest 2, then the default", ("ams", "nyc", "sin")),
    ],
)
def test_the_rule_and_the_order_are_told(scene: Scene, address: str, rule: str, order: tuple[str, ...]) -> None:
    view = next(view for view in locate(scene, ip_address(address)).views if "www" in view.services)
    assert (view.rule, view.order) == (rule, order)


def test_a_map_that_is_not_nearest_takes_the_default(scene: Scene) -> None:
    view = next(view for view in locate(scene, ip_address("64.9.9.9")).views if view.map == "calm")
    assert (view.rule, view.order, view.scope) == ("no rule matches, so the default", ("nyc", "ams"), 0)


@pytest.mark.parametrize(
    ("address", "special", "source"),
    [
        ("64.9.9.9", None, "world.mmdb"),
        ("172.16.1.1", "172.16.0.0/12: private use, RFC 1918; databases are not asked", "nobody knows this address"),
        ("10.1.1.1", "10.0.0.0/8: private use, RFC 1918; databases are not asked", "geoip.networks"),
        ("64.1.1.1", None, "geoip.networks over world.mmdb"),
        ("2002:4009:909::1", "carries 64.9.9.9: 6to4, RFC 3056", "world.mmdb"),
        ("64:ff9b::4009:909", "carries 64.9.9.9: NAT64, RFC 6052 2.1", "world.mmdb"),
        ("200.1.1.1", None, "nobody knows this address"),
    ],
)
def test_who_says_so_is_told(scene: Scene, address: str, special: str | None, source: str) -> None:
    located = locate(scene, ip_address(address)).located
    assert (located.special, located.source) == (special, source)
    assert located.address == address


def test_distances_are_sorted_after_their_bias(scene: Scene) -> None:
    found = locate(scene, ip_address("8.8.8.8")).distances
    assert [(d.datacenter, d.bias) for d in found] == [("nyc", 20), ("ams", 0), ("sin", -10)]
    nyc, ams, sin = found
    assert nyc.ranked_km == pytest.approx(nyc.km * 0.8)
    assert sin.ranked_km == pytest.approx(sin.km / 0.9)
    assert ams.ranked_km == pytest.approx(ams.km)
    assert ams.km == pytest.approx(6200, rel=0.02)  # Washington to Amsterdam


def test_no_coordinates_no_distances(scene: Scene) -> None:
    assert measure(scene, locate(scene, ip_address("200.1.1.1")).located) == ()


def naive_range(table: Table, number: int) -> tuple[str, str]:
    """The range round an IPv4 address by walking all of them."""
    starts = list(table.v4.starts)
    first = max(start for start in starts if start <= number)
    end = min((start for start in starts if start > number), default=1 << 32)
    return str(IPv4Address(first)), str(IPv4Address(end - 1))


def test_always_the_range_that_holds_the_address_and_a_scope_inside_it(scene: Scene) -> None:
    chance = random.Random(1)
    for _ in range(500):
        number = chance.getrandbits(32)
        for table in scene.snapshot.maps.tables:
            first, last, scope = range_round(table, 32, number)
            assert (first, last) == naive_range(table, number)
            size = 1 << 32 - scope
            inside = number // size * size
            assert int(IPv4Address(first)) <= inside
            assert inside + size - 1 <= int(IPv4Address(last))


def test_the_last_range_of_ipv6_ends_with_the_last_address(scene: Scene) -> None:
    _, last, _ = range_round(scene.snapshot.maps.tables[0], 128, (1 << 128) - 1)
    assert last == "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def test_the_order_is_read_from_the_table(scene: Scene) -> None:
    number = int(ip_address("80.1.1.1"))
    for i, table in enumerate(scene.snapshot.maps.tables):
        order = find_order(table, (32, number, 32, 32, number), 0, 0)[0]
        view = locate(scene, ip_address("80.1.1.1")).views[i]
        assert view.order == tell_order(scene.snapshot, read_tiers(table, order))


def test_a_configuration_without_services_still_locates(tmp_path: Path) -> None:
    text = (
        'server: {listen: ["127.0.0.1:5300"]}\ngeoip: {database: world.mmdb}\ndatacenters: {ams: {coordinates: [52, 5]}}\n'
    )
    text += "zones: {example.com: {ns: [ns1.example.com.], records: {ns1: {A: 192.0.2.53}}}}\n"
    found = locate(build_scene(tmp_path, text), ip_address("64.9.9.9"))
    assert [(view.map, view.services, view.order) for view in found.views] == [("world", (), ("ams",))]
