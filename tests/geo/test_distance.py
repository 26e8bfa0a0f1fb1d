"""Great circles, bias and ties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.config.model import Datacenter
from geodns.geo.distance import EARTH_RADIUS, bias_factor, build_sites, distance_km, measure_sites, rank_sites

points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


def datacenter(latitude: float, longitude: float, bias: int = 0) -> Datacenter:
    return Datacenter.model_validate({"coordinates": [latitude, longitude], "bias": bias})


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 0), (0, 180), math.pi * EARTH_RADIUS),  # antipodes
        ((90, 0), (-90, 77), math.pi * EARTH_RADIUS),
        ((0, 179.5), (0, -179.5), math.radians(1) * EARTH_RADIUS),  # across the date line
        ((0, 0), (0.00001, 0), math.radians(0.00001) * EARTH_RADIUS),  # a metre
        ((36.12, -86.67), (33.94, -118.40), 2886.4),  # Nashville, Los Angeles: a published example, with R = 6371
        ((52.37, 4.90), (40.71, -74.01), 5864),
    ],
)
def test_known_distances(a: tuple[float, float], b: tuple[float, float], km: float) -> None:
    assert distance_km(a, b) == pytest.approx(km, rel=3e-4, abs=1e-9)


@given(points, points)
def test_always_the_haversine_formula(a: tuple[float, float], b: tuple[float, float]) -> None:
    phi, psi = math.radians(a[0]), math.radians(b[0])
    half = math.sin((psi - phi) / 2) ** 2 + math.cos(phi) * math.cos(psi) * math.sin(math.radians(b[1] - a[1]) / 2) ** 2
    expected = 2 * EARTH_RADIUS * math.asin(min(1, math.sqrt(half)))
    assert distance_km(a, b) == pytest.approx(expected, abs=1e-3)  # near antipodes both lose digits
    assert distance_km(a, b) == distance_km(b, a)


@given(points, points, points)
def test_never_shorter_round_a_corner(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> None:
    assert distance_km(a, c) <= distance_km(a, b) + distance_km(b, c) + 1e-3


def test_bias_law() -> None:
    assert bias_factor(0) == 1
    assert bias_factor(50) == 0.5
    assert bias_factor(99) == pytest.approx(0.01)
    assert bias_factor(-50) == 2
    assert bias_factor(-99) == pytest.approx(100)


def test_bias_draws_and_pushes() -> None:
    plain = {"far": datacenter(0, 20), "near": datacenter(0, 10)}
    assert rank_sites(0, 0.5, build_sites(plain)) == (1, 0)
    assert rank_sites(0, 0.5, build_sites({**plain, "far": datacenter(0, 20, 60)})) == (0, 1)
    assert rank_sites(0, 0.5, build_sites({**plain, "near": datacenter(0, 10, -60)})) == (0, 1)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("longitude", [0.0, 20.0, 33.3, 170.0])
def test_ties_break_by_name_not_by_place_in_the_file_or_by_noise(order: tuple[str, str], longitude: float) -> None:
    offsets = {"a": 10.0, "b": -10.0}
    sites = build_sites({name: datacenter(0, longitude + offsets[name]) for name in order})
    ranked = rank_sites(0, longitude, sites)
    assert [order[number] for number in ranked] == ["a", "b"]


def test_measured_in_the_order_of_sites() -> None:
    sites = build_sites({"b": datacenter(0, 10, 50), "a": datacenter(0, 20)})
    assert [site.name for site in sites] == ["a", "b"]
    (km_a, biased_a), (km_b, biased_b) = measure_sites(0, 0, sites)
    assert km_a == pytest.approx(distance_km((0, 0), (0, 20)))
    assert biased_a == round(km_a, 6)
    assert biased_b == pytest.approx(km_b / 2, abs=1e-6)
