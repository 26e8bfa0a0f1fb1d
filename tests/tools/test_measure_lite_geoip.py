"""The measurement: every piece counted once, and the figures of a world that can be counted by hand."""

from pathlib import Path

import pytest
from tests.tools.small import BOSTON, FRESNO, OSLO, TOKYO, build_world, read_world
from tools.lite_geoip.globe import to_vector
from tools.lite_geoip.measure import Reduced, find_nearest, measure, overlay, read_reduced, write_table
from tools.lite_geoip.source import FIRST_ENTRY, LEAF

V4 = {"16.0.0.0/8": OSLO, "17.0.0.0/8": TOKYO, "20.0.0.0/8": FRESNO, "20.1.0.0/16": BOSTON}
V6 = {"2400::/32": TOKYO, "2600::/32": FRESNO}


def reduce(folder: Path, price: float) -> Reduced:
    path = folder / "reduced.mmdb"
    path.write_bytes(build_world(V4, V6, price, gain=0.0).database)
    return read_reduced(path)


def test_what_was_not_cut_is_all_right(tmp_path: Path) -> None:
    reduced = reduce(tmp_path, 0.0)
    v4, v6 = measure(read_world(V4), reduced), measure(read_world(V6), reduced)
    for tally in (v4.by_address, v4.by_network, v6.by_network):
        assert [tally.percent(row) for row in range(5)] == [100.0] * 5
        assert tally.find_distance(0.9) == 0
    assert v4.by_address.total == pytest.approx(3 / 256)
    assert v4.by_network.total == pytest.approx(2 + 8 + 1)  # what is left of 20/8 beside 20.1/16 are 8 networks
    assert v4.invented == v6.invented == 0
    assert write_table(v4, v6).count("100.00 %") == 15


def test_what_was_cut_is_counted_by_address_and_by_network(tmp_path: Path) -> None:
    reduced = reduce(tmp_path, 0.5)  # Boston's /16 becomes Fresno
    v4 = measure(read_world(V4), reduced)
    assert v4.by_address.percent(2) == pytest.approx(100 * (1 - 1 / 256 / 3))
    assert v4.by_network.percent(2) == pytest.approx(100 * 10 / 11)
    assert v4.by_network.percent(3) == 100.0  # the country is still right
    assert v4.by_network.percent(4) == pytest.approx(100 * 10 / 11)
    assert v4.by_network.find_distance(0.99) > 4000


def test_pieces_cover_the_source_once(tmp_path: Path) -> None:
    source, reduced = read_world(V4), reduce(tmp_path, 0.4)
    pieces = list(overlay(source.tree, reduced.tree, reduced.ipv4))
    assert sum(2.0**-length for _, _, length, _ in pieces) == 1.0
    known = [(leaf, found, length, network) for leaf, found, length, network in pieces if leaf >= FIRST_ENTRY]
    assert sum(2.0 ** (network - length) for _, _, length, network in known) == pytest.approx(11)
    assert all(found >= LEAF for _, found, _, _ in pieces)


def test_nearest_sites() -> None:
    assert find_nearest(to_vector(52.37, 4.90)) == ("FRA", "FRA", "FRA")
    assert find_nearest(to_vector(-33.9, 151.2)) == ("SIN", "SYD", "SYD")
    assert find_nearest(to_vector(51.5, -0.1)) == ("FRA", "FRA", "LHR")
