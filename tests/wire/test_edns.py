"""EDNS: client subnets by the letter of RFC 7871 6, and the OPT that goes back."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.snapshots import subnet_of

from geodns.errors import WireError
from geodns.wire.edns import parse_edns, parse_subnet, write_opt, write_option, write_subnet

NETWORKS = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32), st.just(32)),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128), st.just(128)),
)


@given(NETWORKS, st.integers(0, 128))
def test_every_prefix_is_read_as_dnspython_writes_it_and_goes_back_unchanged(
    network: tuple[int, int, int], scope: int
) -> None:
    number, source, bits = network
    address = number >> bits - source << bits - source
    text = str(ip_network((address.to_bytes(bits // 8, "big"), source)).network_address)
    wire = dns.edns.ECSOption(text, source).to_wire()
    assert wire is not None
    option = b"\x00\x08" + len(wire).to_bytes(2, "big") + wire
    subnet = parse_subnet(option)
    assert subnet == (option, bits, address, source)
    back = write_subnet(subnet, min(scope, bits))
    theirs = dns.edns.option_from_wire(dns.edns.OptionType.ECS, back, 4, len(back) - 4)
    assert isinstance(theirs, dns.edns.ECSOption)
    assert (ip_address(theirs.address), theirs.srclen, theirs.scopelen) == (ip_address(text), source, min(scope, bits))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("000118", "3 octets"),
        ("00", "1 octets"),
        ("", "0 octets"),
        ("0009 18 00 cb0071", "family 9"),
        ("0000 00 00", "family 0"),
        ("0003 18 00 cb0071", "family 3"),
        ("002a 18 00 cb0071", "family 42"),
        ("0001 21 00 cb00710100", "source 33 of 32"),
        ("0002 81 00 " + "00" * 17, "source 129 of 128"),
        ("0001 18 18 cb0071", "scope 24"),
        ("0001 18 00 cb", "1 octets of address"),
        ("0001 18 00 cb007101", "4 octets of address"),
        ("0001 17 00 cb0071", "bits set beyond source 23"),
        ("0001 00 00 00", "source 0 and 1 octets"),
    ],
)
def test_S3_S4_what_rfc_7871_6_forbids_is_refused(body: str, said: str) -> None:
    octets = bytes.fromhex(body)
    with pytest.raises(WireError, match=said):
        parse_subnet(b"\x00\x08" + len(octets).to_bytes(2, "big") + octets)


@given(st.binary(max_size=60))
def test_never_raises_anything_but_wire_error(rdata: bytes) -> None:
    try:
        _, _, _, subnet, _ = parse_edns(1232, 0, rdata)
    except WireError:
        return
    if subnet is not None:
        assert subnet[0] in rdata


def test_unknown_options_are_passed_over() -> None:
    rdata = write_option(4711, b"abc") + write_option(3, b"ignored") + subnet_of("20.0.0.0/8") + write_option(11, b"")
    assert parse_edns(4096, 0x8000, rdata) == (4096, 0, True, (subnet_of("20.0.0.0/8"), 32, 20 << 24, 8), True)


def test_flags_but_dnssec_ok_are_not_kept() -> None:
    assert parse_edns(1232, 0x1234, b"")[2] is False
    assert parse_edns(1232, 0xFFFF, b"")[2] is True


def test_our_opt_is_what_dnspython_reads() -> None:
    head = b"\x2b\x67\x80\x00" + b"\x00\x00" * 3 + b"\x00\x01"
    theirs = dns.message.from_wire(head + write_opt(1232, 1, True, write_option(3, b"ams1")))
    assert (theirs.edns, theirs.payload, theirs.ednsflags & 0xFFFF, theirs.rcode()) == (0, 1232, 0x8000, 16)
    assert [option.to_wire() for option in theirs.options] == [b"ams1"]
