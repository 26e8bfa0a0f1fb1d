"""The address space of one family cut where special blocks, corrections and network rules begin and end.

Knows prefixes of the configuration and the frozen table of special blocks. Knows nothing of databases or orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from operator import or_
from typing import TypeVar

from ..config.model import Correction, Network
from ..geo.networks import V4_UNITS, V6_UNITS, Corrections, Span, flatten, span_of
from ..geo.special import BLOCKS
from ..snapshot import PEER, UNWRAP
from .orders import Rules

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Family:
    """IPv4 or IPv6, as range tables see it: `units` addresses, or upper halves of addresses."""

    network_type: type[IPv4Network] | type[IPv6Network]
    units: int
    typecode: str  # of arrays that hold starts
    bits: int  # of a whole address


V4 = Family(IPv4Network, V4_UNITS, "I", 32)
V6 = Family(IPv6Network, V6_UNITS, "Q", 128)


@dataclass(frozen=True, slots=True)
class Segment:
    """Addresses *first* up to *end* (not included), alike in all that the configuration says of them.

    `mark` is PEER or UNWRAP inside a special block, else 0; `rules` the rules whose condition on networks holds.
    """

    first: int
    end: int
    mark: int
    correction: Correction | None
    rules: int


def forced_boundaries(family: Family) -> list[int]:
    """Where a range must begin even if its neighbour has the same order: at both edges of every special block."""
    edges = {edge for block in BLOCKS if isinstance(block.network, family.network_type) for edge in span_of(block.network)}
    return sorted(edges - {family.units})


def build_segments(family: Family, corrections: Corrections, rules: Rules) -> list[Segment]:
    """The whole space of *family*, in order. The longest correction counts whole; all network rules that match count."""

    def spans(pairs: Iterable[tuple[Network, T]]) -> list[Span[T]]:
        return [(*span_of(network), value) for network, value in pairs if isinstance(network, family.network_type)]

    marks = flatten(spans((block.network, UNWRAP if block.embeds else PEER) for block in BLOCKS))
    corrected = flatten(spans(corrections.networks.items()))
    ruled = flatten(spans(rules.networks()), or_)
    edges = {edge for part in (marks, corrected, ruled) for first, end, _ in part for edge in (first, end)}
    points = sorted(edges | {0, family.units})
    always = (1 << len(rules.rules)) - 1 & ~rules.with_network
    found = zip(_values(points, marks), _values(points, corrected), _values(points, ruled), strict=True)
    return [
        Segment(points[i], points[i + 1], mark or 0, correction, always | (matching or 0))
        for i, (mark, correction, matching) in enumerate(found)
    ]


def _values(points: Sequence[int], spans: Sequence[Span[T]]) -> Iterator[T | None]:
    """The value at each of *points* but the last."""
    i = 0
    for point in points[:-1]:
        while i < len(spans) and spans[i][1] <= point:
            i += 1
        yield spans[i][2] if i < len(spans) and spans[i][0] <= point else None


def cover(first: int, end: int) -> Iterator[tuple[int, int]]:
    """The prefixes, as (first, size), that make up the addresses *first* up to *end*, in order."""
    while first < end:
        size = first & -first or 1 << end.bit_length()
        while size > end - first:
            size >>= 1
        yield first, size
        first += size
