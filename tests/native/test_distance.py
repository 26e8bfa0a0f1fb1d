"""Ranking natively against `geo.distance`: the same floats, to the last bit, so the same order even of sites that tie."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.native import both  # noqa: F401  (skips where nothing was built)

from geodns.config.model import Datacenter
from geodns.geo.distance import Site, build_sites, rank_sites
from geodns.native.distance import Sites

latitudes = st.floats(-90, 90) | st.integers(-90, 90).map(float)
longitudes = st.floats(-180, 180) | st.integers(-180, 180).map(float)
spots = st.tuples(latitudes, longitudes)
biases = st.sampled_from([0, 0, 1, 40, 99, -1, -40, -99])


def shadow(sites: tuple[Site, ...]) -> Sites:
    return Sites([site.point for site in sites], [site.factor for site in sites], [site.number for site in sites])


def name_sites(places: list[tuple[tuple[float, float], int]]) -> tuple[Site, ...]:
    """Sites whose names do not stand in the order of the configuration."""
    named = {
        f"dc{i * 7 % 64:02}": Datacenter.model_construct(coordinates=where, bias=bias, drain=False)
        for i, (where, bias) in enumerate(places)
    }
    return build_sites(named)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(spots, biases), min_size=1, max_size=64), st.lists(spots, min_size=1, max_size=20))
def test_always_the_order_of_the_reference(
    places: list[tuple[tuple[float, float], int]], clients: list[tuple[float, float]]
) -> None:
    sites = name_sites(places)
    native = shadow(sites)
    for here in [*clients, *(where for where, _ in places)]:
        assert native.rank(*here) == rank_sites(*here, sites), here


def test_sites_that_tie_stand_by_name() -> None:
    """Mirror images round the equator and the date line: equally far in whole millimetres, whatever the last bit."""
    sites = name_sites([((lat, lon), 0) for lat in (-30.1, 30.1) for lon in (-170.3, 170.3, -9.7, 9.7)])
    native = shadow(sites)
    for longitude in (0.0, 180.0, -180.0):
        assert native.rank(0.0, longitude) == rank_sites(0.0, longitude, sites)


@pytest.mark.parametrize("here", [(91.0, 0.0), (0.0, -181.0), (math.nan, 0.0), (0.0, math.inf)])
def test_what_is_no_place_is_not_ranked(here: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no place"):
        shadow(name_sites([((1.0, 2.0), 0)])).rank(*here)


def test_sites_must_fit_together() -> None:
    with pytest.raises(ValueError, match="1 sites, 2 points"):
        Sites([(1.0, 0.0, 0.0)] * 2, [1.0], [0])
    with pytest.raises(ValueError, match="0 sites"):
        Sites([], [], [])
    with pytest.raises(ValueError, match="factors"):
        Sites([(1.0, 0.0, 0.0)], [math.inf], [0])
