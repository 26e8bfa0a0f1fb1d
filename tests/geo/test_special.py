"""The frozen table of special blocks. Python's own is no oracle: it changes between patch releases."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest

from geodns.geo.special import BLOCKS, EMBEDDINGS, blocks_of, find_embedded, find_special

INNER = IPv4Address("81.2.69.160")


@pytest.mark.parametrize(
    "text",
    [
        *("8.8.8.8", "81.2.69.160", "192.0.1.1", "192.31.196.1", "223.255.255.255", "2001:200::1", "2001:4860:4860::8888"),
        *("2003::1", "2620:4f:8000::1", "2a02::1", "64:ff9c::1", "3ffe::1"),
    ],
)
def test_ordinary_addresses_are_not_special(text: str) -> None:
    assert find_special(ip_address(text)) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("10.1.2.3", "private use"),
        ("172.31.255.255", "private use"),
        ("100.127.255.255", "shared address space"),
        ("0.0.0.0", "this network"),
        ("255.255.255.255", "reserved, limited broadcast"),
        ("239.1.1.1", "multicast"),
        ("203.0.113.9", "documentation"),
        ("2001:0:1::1", "Teredo"),
        ("2001:2::1", "IETF protocol assignments"),
        ("2001:1ff:ffff::", "IETF protocol assignments"),
        ("::1", "unspecified, loopback, IPv4 embedded"),
        ("fd00::1", "unique local"),
        ("febf::1", "link local"),
        ("ff02::1", "multicast"),
    ],
)
def test_narrowest_block_tells_the_name(text: str, name: str) -> None:
    block = find_special(ip_address(text))
    assert block is not None
    assert block.name == name


def test_blocks_are_nested_or_apart() -> None:
    for kind in (IPv4Network, type(ip_network("::/0"))):
        blocks = blocks_of(kind)
        assert len({block.network for block in blocks}) == len(blocks)
    assert len(blocks_of(IPv4Network)) + len(blocks_of(type(ip_network("::/0")))) == len(BLOCKS)


def test_every_embedding_lies_in_a_block_that_says_so() -> None:
    """Range tables look at 64 bits: the mark UNWRAP covers whole /64s."""
    for form in EMBEDDINGS:
        holders = [block for block in BLOCKS if block.embeds and form.network.version == block.network.version]
        assert any(form.network.subnet_of(block.network) for block in holders), form  # type: ignore[arg-type]
    assert all(block.network.prefixlen <= 64 for block in BLOCKS if block.network.version == 6)


@pytest.mark.parametrize(
    ("text", "name", "offset"),
    [
        ("::ffff:81.2.69.160", "IPv4-mapped", 96),
        ("::81.2.69.160", "IPv4-compatible", 96),
        ("::ffff:0:81.2.69.160", "IPv4-translated (SIIT)", 96),
        ("64:ff9b::81.2.69.160", "NAT64", 96),
        ("2002:5102:45a0:1::7", "6to4", 16),
        (str(IPv6Address((0x20010000 << 96) | (int(INNER) ^ 0xFFFFFFFF))), "Teredo", 96),
    ],
)
def test_embedded_addresses_are_found(text: str, name: str, offset: int) -> None:
    found = find_embedded(IPv6Address(text))
    assert found is not None
    form, inner = found
    assert (form.name, form.offset, inner) == (name, offset, INNER)


def test_teredo_example_of_the_rfc() -> None:
    """Like RFC 4380 section 4 and what Python reads."""
    address = IPv6Address("2001:0:4136:e378:8000:63bf:3fff:fdd2")
    found = find_embedded(address)
    assert found is not None
    assert address.teredo is not None
    assert found[1] == address.teredo[1] == IPv4Address("192.0.2.45")


@pytest.mark.parametrize("text", ["64:ff9b::1:1:1:1", "64:ff9b:1::1", "::2:0:0:1", "2001:db8::1", "2001:1::1"])
def test_other_addresses_embed_nothing(text: str) -> None:
    assert find_embedded(IPv6Address(text)) is None
