"""The test databases themselves, read back with maxminddb."""

from __future__ import annotations

from io import BytesIO
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal

import maxminddb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.world import Record, write_world

RECORD_SIZES: tuple[Literal[24, 28, 32], ...] = (24, 28, 32)
BOTH: dict[str, Record] = {
    "0.0.0.0/1": {"country": "US", "continent": "NA", "coordinates": [40, -75]},
    "128.0.0.0/1": {
        "country": "FR",
        "continent": "EU",
        "subdivision": "FR-IDF",
        "city": "Paris",
        "coordinates": [48.85, 2.35],
    },
    "203.0.113.0/24": {"country": "JP", "asn": 64500},
    "203.0.113.64/26": None,
    "2001:db8::/32": {"country": "NO", "coordinates": [59.9, None]},
}


def open_world(octets: bytes) -> maxminddb.Reader:
    """*octets* in the reader whose word counts."""
    return maxminddb.open_database(BytesIO(octets), maxminddb.MODE_FD)


@pytest.mark.parametrize("record_size", RECORD_SIZES)
@pytest.mark.parametrize("shared", [False, True])
def test_short_records_come_back_in_the_nested_schema(record_size: Literal[24, 28, 32], shared: bool) -> None:
    with open_world(write_world(BOTH, record_size=record_size, shared=shared)) as reader:
        assert reader.metadata().record_size == record_size
        assert reader.get("20.1.2.3") == {
            "continent": {"code": "NA"},
            "country": {"iso_code": "US"},
            "location": {"latitude": 40.0, "longitude": -75.0},
        }
        paris = reader.get("198.51.100.1")
        assert paris == {
            "city": {"names": {"en": "Paris"}},
            "continent": {"code": "EU"},
            "country": {"iso_code": "FR"},
            "subdivisions": [{"iso_code": "IDF"}],
            "location": {"latitude": 48.85, "longitude": 2.35},
        }
        assert reader.get("203.0.113.1") == {"autonomous_system_number": 64500, "country": {"iso_code": "JP"}}
        assert reader.get_with_prefix_len("203.0.113.65") == (None, 26)
        assert reader.get("2001:db8::1") == {"country": {"iso_code": "NO"}, "location": {"latitude": 59.9}}
        assert reader.get("2001:db9::1") is None


def test_flat_schema_has_no_nested_maps() -> None:
    with open_world(write_world(BOTH, schema="flat")) as reader:
        paris = {"city": "Paris", "country_code": "FR", "state1": "FR-IDF", "latitude": 48.85, "longitude": 2.35}
        assert reader.get("198.51.100.1") == paris


def test_a_nested_record_is_written_as_it_is() -> None:
    record: dict[str, Any] = {
        "country": {"iso_code": "DE", "is_in_european_union": True, "names": {"en": "G" * 40, "de": "D" * 300}},
        "subdivisions": [{"iso_code": "HE"}, {"iso_code": "FFM"}],
        "location": {"latitude": 50.1, "longitude": 8.7, "accuracy_radius": 20},
        "traits": {"key": b"\x00\xff", "big": 1 << 40},
    }
    with open_world(write_world({"192.0.2.0/24": record})) as reader:
        assert reader.get("192.0.2.1") == record


def test_aliases_show_the_ipv4_tree_in_its_other_places() -> None:
    with open_world(write_world(BOTH, aliases=True)) as reader:
        japan = reader.get("203.0.113.1")
        assert reader.get("2002:cb00:7101::1") == japan
        assert reader.get("2001:0:cb00:7101::1") == japan
        assert reader.get("::ffff:cb00:7101") == japan
        assert reader.get("2001:db8::1") != japan
    with open_world(write_world(BOTH)) as reader:
        assert reader.get("2002:cb00:7101::1") is None


def test_equal_subtrees_are_written_once_when_shared() -> None:
    many: dict[str, Record] = {f"10.{i}.7.0/24": {"country": "SE"} for i in range(64)}
    with open_world(write_world(many)) as plain, open_world(write_world(many, shared=True)) as shared:
        # 96 forks lead to 10.0.0.0/10 and six more levels to the 64 networks; below each stand eight of its own, or the same
        assert plain.metadata().node_count - shared.metadata().node_count > 63 * 8
        assert list(plain) == list(shared)
        assert shared.get("10.63.7.255") == {"country": {"iso_code": "SE"}}


def test_an_ipv4_file_knows_no_ipv6() -> None:
    octets = write_world({"192.0.2.0/24": {"country": "NO"}}, ip_version=4)
    with open_world(octets) as reader:
        assert reader.get("192.0.2.9") == {"country": {"iso_code": "NO"}}
        with pytest.raises(ValueError, match="IPv6"):
            reader.get("2001:db8::1")
    with pytest.raises(ValueError, match="does not fit into an IPv4 database"):
        write_world({"2001:db8::/32": {}}, ip_version=4)


def test_the_whole_space_and_nothing_at_all_are_worlds_too() -> None:
    with open_world(write_world({})) as reader:
        assert list(reader) == []
    with open_world(write_world({"::/0": {"country": "NO"}})) as reader:
        assert reader.get("2001:db8::1") == reader.get("192.0.2.1") == {"country": {"iso_code": "NO"}}


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda t: str(IPv4Network(t, strict=False))),
    st.tuples(st.integers(2**125, 2**128 - 1), st.integers(4, 128)).map(lambda t: str(IPv6Network(t, strict=False))),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(NETWORKS, min_size=1, max_size=12, unique=True),
    st.sampled_from(RECORD_SIZES),
    st.booleans(),
    st.lists(st.integers(0, 2**32 - 1), max_size=4),
)
def test_always_the_longest_prefix_wins(texts: list[str], size: Literal[24, 28, 32], shared: bool, extra: list[int]) -> None:
    octets = write_world({text: {"asn": i + 1} for i, text in enumerate(texts)}, record_size=size, shared=shared)
    networks = [(ip_network(text), i + 1) for i, text in enumerate(texts)]
    addresses: list[IPv4Address | IPv6Address] = [IPv4Address(number) for number in extra]
    for network, _ in networks:
        first, last = int(network.network_address), int(network.broadcast_address)
        kind = type(network.network_address)
        top = (1 << network.max_prefixlen) - 1
        addresses += [kind(n) for n in (first, last, first - 1, last + 1) if 0 <= n <= top]
    with open_world(octets) as reader:
        for address in addresses:
            holding = [(n.prefixlen, i) for n, i in networks if address.version == n.version and address in n]
            found = reader.get(str(ip_address(address)))
            expected = max(holding)[1] if holding else None
            assert found == (None if expected is None else {"autonomous_system_number": expected}), address
