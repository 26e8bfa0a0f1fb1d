"""Prefixes with something attached: the longest that matches, and the address space cut at their edges.

Knows spans of addresses in the units of the range tables (IPv4 addresses; the upper 64 bits of IPv6 ones). Knows
nothing of what is attached to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network
from typing import TypeVar

from ..config.model import Address, Correction, Network

T = TypeVar("T")
Span = tuple[int, int, T]  # first, and the one after the last
V4_UNITS, V6_UNITS = 1 << 32, 1 << 64


def span_of(network: Network) -> tuple[int, int]:
    """(first, one after the last) of *network* in table units; one narrower than /64 stands for its /64."""
    first = int(network.network_address)
    if network.version == 4:
        return first, first + network.num_addresses
    first >>= 64
    return first, first + (1 << max(0, 64 - network.prefixlen))


def flatten(spans: Iterable[Span[T]], join: Callable[[T, T], T] | None = None) -> list[Span[T]]:
    """Disjoint spans in order, from ones that are nested or apart: the narrowest wins, or *join(outer, inner)* does."""
    flat: list[Span[T]] = []
    open_spans: list[tuple[int, T]] = []
    at = 0

    def emit(until: int) -> None:
        nonlocal at
        if open_spans and at < until:
            flat.append((at, until, open_spans[-1][1]))
        at = max(at, until)

    for first, end, value in sorted(spans, key=lambda span: (span[0], -span[1])):
        while open_spans and open_spans[-1][0] <= first:
            emit(open_spans[-1][0])
            open_spans.pop()
        emit(first)
        open_spans.append((end, join(open_spans[-1][1], value) if join and open_spans else value))
    while open_spans:
        emit(open_spans[-1][0])
        open_spans.pop()
    return flat


@dataclass(frozen=True)
class Corrections:
    """`geoip.networks`: what it says of prefixes; the longest that matches counts whole."""

    networks: Mapping[Network, Correction]

    @cached_property
    def _lengths(self) -> dict[int, list[int]]:
        lengths = {4: set[int](), 6: set[int]()}
        for network in self.networks:
            lengths[network.version].add(network.prefixlen)
        return {version: sorted(found, reverse=True) for version, found in lengths.items()}

    def find(self, address: Address) -> tuple[Network, Correction] | None:
        """The longest prefix that holds *address*, and what it says."""
        for length in self._lengths[address.version]:
            network = ip_network((address, length), strict=False)
            if network in self.networks:
                return network, self.networks[network]
        return None
