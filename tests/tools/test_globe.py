"""Points on a sphere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.lite_geoip.globe import (
    Point,
    cut_into_centres,
    distance,
    find_middle,
    measure_spread,
    middle_of,
    to_degrees,
    to_vector,
)

degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
clouds = st.lists(st.tuples(st.floats(0.01, 1000), degrees), min_size=1, max_size=30).map(
    lambda found: [Point(weight, to_vector(*at), (number, 0)) for number, (weight, at) in enumerate(found)]
)


@pytest.mark.parametrize(
    ("one", "two", "kilometres"),
    [
        ((52.37, 4.90), (40.71, -74.01), 5860),  # Amsterdam, New York
        ((0, 0), (0, 180), 20015),
        ((90, 0), (-90, 77), 20015),
        ((1.35, 103.82), (1.35, 103.82), 0),
    ],
)
def test_distance(one: tuple[float, float], two: tuple[float, float], kilometres: int) -> None:
    assert distance(to_vector(*one), to_vector(*two)) == pytest.approx(kilometres, abs=10)


def test_the_middle_goes_over_the_date_line() -> None:
    latitude, longitude = to_degrees(find_middle([(1.0, to_vector(-17, 179)), (1.0, to_vector(-17, -177))]))
    assert (latitude, longitude) == pytest.approx((-17.0, -179.0), abs=0.02)


@given(degrees)
def test_always_degrees_come_back(at: tuple[float, float]) -> None:
    assert distance(to_vector(*to_degrees(to_vector(*at))), to_vector(*at)) < 0.1


@given(clouds, st.floats(0, 1e6))
def test_always_each_point_is_in_one_part_and_parts_save_what_they_must(cloud: list[Point], gain: float) -> None:
    parts = cut_into_centres(cloud, gain)
    assert sorted(point.cell for _, part in parts for point in part) == sorted(point.cell for point in cloud)
    assert all(part for _, part in parts)
    saved = measure_spread(cloud, middle_of(cloud)) - sum(measure_spread(part, centre) for centre, part in parts)
    assert saved >= gain * (len(parts) - 1) - 1e-6


def test_two_far_towns_are_two_centres_and_two_streets_one() -> None:
    towns = [Point(1000.0, to_vector(59.9, 10.7), (0, 0)), Point(1000.0, to_vector(69.6, 18.9), (1, 0))]
    streets = [Point(1.0, to_vector(59.9, 10.7), (0, 0)), Point(1.0, to_vector(59.91, 10.7), (1, 0))]
    assert len(cut_into_centres(towns, 20_000)) == 2
    assert len(cut_into_centres(streets, 20_000)) == 1
