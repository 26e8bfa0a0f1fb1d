"""Blocks of addresses that say nothing of where a client is, and blocks that embed an IPv4 address.

Knows the IANA registries as a frozen table of ours. (`ipaddress.is_global` changes between patch releases of Python, so
two nodes could disagree.) Knows nothing of databases and range tables; the compiler turns blocks into marks.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, 8190) with all that was registered up to
RFC 9780 (May 2025), every block that is not globally reachable; multicast (RFC 5771, RFC 4291 2.7); deprecated
site-local (RFC 3879). Left out on purpose: single anycast addresses inside 192.0.0.0/24 and 2001:1::/32, which are no
clients, and blocks that are globally reachable (AS112, AMT, ORCHIDv2, DRIP), but inside 2001::/23, where no client
stands either.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the maker of the packaged database reads this table without pydantic
    from ..config.model import Address, Network


@dataclass(frozen=True, slots=True)
class Block:
    """A block whose addresses are not looked up. `embeds`: an IPv4 address may stand in the lower bits."""

    network: Network
    name: str
    rfc: str
    embeds: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """A form that holds an IPv4 address from bit `offset` on, with all its bits flipped where `inverted`."""

    network: IPv6Network
    name: str
    rfc: str
    offset: int
    inverted: bool = False


BLOCKS: tuple[Block, ...] = tuple(
    Block(ip_network(text), name, rfc, embeds)
    for text, name, rfc, embeds in (
        ("0.0.0.0/8", "this network", "RFC 791 3.2", False),
        ("10.0.0.0/8", "private use", "RFC 1918", False),
        ("100.64.0.0/10", "shared address space", "RFC 6598", False),
        ("127.0.0.0/8", "loopback", "RFC 1122 3.2.1.3", False),
        ("169.254.0.0/16", "link local", "RFC 3927", False),
        ("172.16.0.0/12", "private use", "RFC 1918", False),
        ("192.0.0.0/24", "IETF protocol assignments", "RFC 6890 2.1", False),
        ("192.0.2.0/24", "documentation", "RFC 5737", False),
        ("192.88.99.0/24", "deprecated 6to4 relay anycast", "RFC 7526", False),
        ("192.168.0.0/16", "private use", "RFC 1918", False),
        ("198.18.0.0/15", "benchmarking", "RFC 2544", False),
        ("198.51.100.0/24", "documentation", "RFC 5737", False),
        ("203.0.113.0/24", "documentation", "RFC 5737", False),
        ("224.0.0.0/4", "multicast", "RFC 5771", False),
        ("240.0.0.0/4", "reserved, limited broadcast", "RFC 1112 4, RFC 8190", False),
        ("::/64", "unspecified, loopback, IPv4 embedded", "RFC 4291 2.5, RFC 7915", True),
        ("64:ff9b::/64", "NAT64", "RFC 6052", True),
        ("64:ff9b:1::/48", "local-use NAT64", "RFC 8215", False),
        ("100::/64", "discard only", "RFC 6666", False),
        ("100:0:0:1::/64", "dummy prefix", "RFC 9780", False),
        ("2001::/23", "IETF protocol assignments", "RFC 2928", False),
        ("2001::/32", "Teredo", "RFC 4380", True),
        ("2001:db8::/32", "documentation", "RFC 3849", False),
        ("2002::/16", "6to4", "RFC 3056", True),
        ("3fff::/20", "documentation", "RFC 9637", False),
        ("5f00::/16", "segment routing identifiers", "RFC 9602", False),
        ("fc00::/7", "unique local", "RFC 4193", False),
        ("fe80::/10", "link local", "RFC 4291 2.5.6", False),
        ("fec0::/10", "deprecated site local", "RFC 3879", False),
        ("ff00::/8", "multicast", "RFC 4291 2.7", False),
    )
)

EMBEDDINGS: tuple[Embedding, ...] = tuple(
    Embedding(IPv6Network(text), name, rfc, offset, inverted)
    for text, name, rfc, offset, inverted in (
        ("::/96", "IPv4-compatible", "RFC 4291 2.5.5.1", 96, False),
        ("::ffff:0:0/96", "IPv4-mapped", "RFC 4291 2.5.5.2", 96, False),
        ("::ffff:0:0:0/96", "IPv4-translated (SIIT)", "RFC 7915", 96, False),
        ("64:ff9b::/96", "NAT64", "RFC 6052 2.1", 96, False),
        ("2002::/16", "6to4", "RFC 3056", 16, False),
        # RFC 4380 4: "the obfuscated IPv4 address ... each bit ... is reversed"; bits 32 to 63 are the server's address.
        ("2001::/32", "Teredo", "RFC 4380 4", 96, True),
    )
)


def find_special(address: Address) -> Block | None:
    """The narrowest special block round *address*, None for ordinary ones."""
    found = [block for block in BLOCKS if address in block.network]
    return max(found, key=lambda block: block.network.prefixlen, default=None)


def find_embedded(address: IPv6Address) -> tuple[Embedding, IPv4Address] | None:
    """The IPv4 address inside *address*, and the form in which it stands there."""
    for form in EMBEDDINGS:
        if address in form.network:
            inner = int(address) >> (96 - form.offset) & 0xFFFF_FFFF
            return form, IPv4Address(inner ^ 0xFFFF_FFFF if form.inverted else inner)
    return None


def blocks_of(network_type: type[IPv4Network] | type[IPv6Network]) -> tuple[Block, ...]:
    """The blocks of one family."""
    return tuple(block for block in BLOCKS if isinstance(block.network, network_type))
