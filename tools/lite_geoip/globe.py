"""Points on a sphere: distance, middle, and cutting a cloud of them into parts.

Knows unit vectors and weights. Knows nothing of countries or addresses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

EARTH = 6371.0  # mean radius in kilometres

Vector = tuple[float, float, float]


class Point(NamedTuple):
    """A weight at a place, and the cell that it stands for."""

    weight: float
    at: Vector
    cell: tuple[int, int]


def to_vector(latitude: float, longitude: float) -> Vector:
    """Degrees to a unit vector."""
    phi, theta = math.radians(latitude), math.radians(longitude)
    return math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)


def to_degrees(vector: Vector) -> tuple[float, float]:
    """A vector of any length but 0 to latitude and longitude, rounded to about a hundred metres."""
    x, y, z = vector
    return round(math.degrees(math.atan2(z, math.hypot(x, y))), 3), round(math.degrees(math.atan2(y, x)), 3)


def distance(one: Vector, two: Vector) -> float:
    """Great-circle kilometres between two unit vectors."""
    return 2 * EARTH * math.asin(min(1.0, math.dist(one, two) / 2))


def find_middle(points: Iterable[tuple[float, Vector]]) -> Vector:
    """The weighted middle of (weight, unit vector) pairs, as a unit vector; some vector where they cancel out."""
    x = y = z = 0.0
    for weight, (a, b, c) in points:
        x, y, z = x + weight * a, y + weight * b, z + weight * c
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length) if length else (1.0, 0.0, 0.0)


def middle_of(points: Iterable[Point]) -> Vector:
    """The weighted middle of *points*."""
    return find_middle((point.weight, point.at) for point in points)


def measure_spread(points: Iterable[Point], centre: Vector) -> float:
    """Kilometres x weight of *points* to *centre*."""
    return sum(point.weight * distance(point.at, centre) for point in points)


def cut_in_two(points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """2-means, begun with the point farthest from the middle and the one farthest from that. One part may stay empty."""
    middle = middle_of(points)
    first = max(points, key=lambda point: math.dist(point.at, middle)).at
    second = max(points, key=lambda point: math.dist(point.at, first)).at
    parts: tuple[list[Point], list[Point]] = ([], [])
    for _ in range(20):
        parts = ([], [])
        for point in points:
            parts[math.dist(point.at, first) > math.dist(point.at, second)].append(point)
        if not parts[0] or not parts[1]:
            break
        moved = middle_of(parts[0]), middle_of(parts[1])
        if moved == (first, second):
            break
        first, second = moved
    return parts


def cut_into_centres(points: list[Point], gain: float) -> list[tuple[Vector, list[Point]]]:
    """Parts of *points* with their centres; a part is cut in two while that saves *gain* kilometres x weight."""
    done = []
    waiting = [points]
    while waiting:
        part = waiting.pop()
        centre = middle_of(part)
        spread = measure_spread(part, centre)
        if spread >= gain:
            one, two = cut_in_two(part)
            if one and two and spread - measure_spread(one, middle_of(one)) - measure_spread(two, middle_of(two)) >= gain:
                waiting += (two, one)
                continue
        done.append((centre, part))
    return done
