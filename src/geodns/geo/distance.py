"""How far it is from a place to each datacenter, and which is nearest.

Knows great circles and bias. Knows nothing of databases, maps or rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

from ..config.model import Datacenter

# Mean radius R1 = (2a + b) / 3 of the GRS 80 ellipsoid: H. Moritz, "Geodetic Reference System 1980".
EARTH_RADIUS = 6371.0088  # km
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Site:
    """A datacenter as distances see it. `factor` is what its bias multiplies kilometres by."""

    name: str
    number: int  # in the order of the configuration
    point: Point
    factor: float


def unit_point(latitude: float, longitude: float) -> Point:
    """The point of the unit sphere at *latitude*, *longitude* (degrees)."""
    phi, theta = radians(latitude), radians(longitude)
    return cos(phi) * cos(theta), cos(phi) * sin(theta), sin(phi)


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle kilometres between two (latitude, longitude)."""
    return _arc(unit_point(*a), unit_point(*b))


def _arc(a: Point, b: Point) -> float:
    # The haversine of the angle is a quarter of the squared chord, so this is the haversine formula,
    # exact for near points, with the sines of each site computed once.
    x, y, z = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return 2 * EARTH_RADIUS * asin(min(1.0, sqrt(x * x + y * y + z * z) / 2))


def bias_factor(bias: int) -> float:
    """A bias b > 0 multiplies the distance by (1 - b/100), b < 0 divides it by (1 + b/100); -99..99."""
    return (100 - bias) / 100 if bias >= 0 else 100 / (100 + bias)


def build_sites(datacenters: Mapping[str, Datacenter]) -> tuple[Site, ...]:
    """All datacenters, sorted by name, since ties break by name."""
    sites = [
        Site(name, number, unit_point(*datacenter.coordinates), bias_factor(datacenter.bias))
        for number, (name, datacenter) in enumerate(datacenters.items())
    ]
    return tuple(sorted(sites, key=lambda site: site.name))


def measure_sites(latitude: float, longitude: float, sites: tuple[Site, ...]) -> list[tuple[float, float]]:
    """(kilometres, kilometres after bias) to each of *sites*, in their order.

    The latter are whole millimetres, so that sites which are equally far tie in spite of the last bit of a float.
    """
    here = unit_point(latitude, longitude)
    return [(km := _arc(here, site.point), int(km * site.factor * 1e6 + 0.5) / 1e6) for site in sites]


def rank_sites(latitude: float, longitude: float, sites: tuple[Site, ...]) -> tuple[int, ...]:
    """Numbers of all *sites* (as `build_sites` gives them), the nearest after bias first; ties by name."""
    measured = [biased for _, biased in measure_sites(latitude, longitude, sites)]
    return tuple([sites[i].number for i in sorted(range(len(sites)), key=measured.__getitem__)])
