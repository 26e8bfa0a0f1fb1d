from __future__ import annotations

import math
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.config import scalars
from geodns.config.scalars import (
    check_dns_name,
    did_you_mean,
    duration,
    parse_address,
    parse_asn,
    parse_coordinates,
    parse_flag,
    parse_network,
    parse_path,
    parse_probe_at,
    parse_seconds,
    parse_target,
    parse_ttl,
    split_port,
    whole,
    write_seconds,
)
from geodns.config.tree import make_scalar
from geodns.errors import Place


def accepted(parser: object, text: str) -> object:
    """What *parser* makes of *text*; the exception's class where it refuses."""
    assert callable(parser)
    try:
        return parser(text)
    except ValueError:
        return ValueError


@given(st.integers(-(10**6), 10**6), st.integers(-1000, 1000), st.integers(0, 1000))
def test_always_reads_whole_numbers_as_decimal_and_in_their_range(number: int, least: int, width: int) -> None:
    inside = least <= number <= least + width
    for text in (str(number), f"{number:+d}", f"{number:+08d}"):
        assert accepted(whole(least, least + width), text) == (number if inside else ValueError)


@pytest.mark.parametrize("text", ["1_000", "0x10", "0o7", "1.0", "1e3", "٣", "", " 1", "1 ", "--1", "1" * 5000])
def test_whole_numbers_have_one_form(text: str) -> None:
    assert accepted(whole(0, 10**9), text) is ValueError


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_always_reads_numbers_back_and_only_finite_ones(number: float) -> None:
    found = accepted(scalars.parse_number, repr(number))
    assert found == (number if math.isfinite(number) else ValueError)


@given(st.floats(0.1, 86400 * 7).map(lambda seconds: round(seconds, 3)))
def test_always_reads_durations_back(seconds: float) -> None:
    assert parse_seconds(f"{seconds!r}s") == pytest.approx(seconds)
    assert parse_seconds(f"{seconds * 1000:.0f}ms") == pytest.approx(seconds, abs=0.001)


@given(st.integers(1, 10**6).map(lambda ms: ms / 1000))
def test_always_writes_durations_that_can_be_read(seconds: float) -> None:
    assert parse_seconds(write_seconds(seconds)) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("2m", 120), ("1h", 3600), ("7d", 604800), ("1.5h", 5400), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(0, 7 * 86400)(text) == seconds


@pytest.mark.parametrize("text", ["5", "5 s", "5S", "s", "-5s", "1w", "1h30m", ".5s", "infs", "1e3s", "", "0"])
def test_durations_need_a_number_and_a_unit(text: str) -> None:
    assert accepted(duration(0, 7 * 86400), text) is ValueError


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("300", 300), ("0300", 300), ("5m", 300), ("1.5h", 5400), ("2147483647", 2**31 - 1)]
)
def test_ttls_are_seconds_or_durations(text: str, seconds: int) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["-1", "2147483648", "1.5", "500ms", "1.0001s", "1w", "99999999999999999999d", ""])
def test_ttls_are_whole_and_fit(text: str) -> None:
    assert accepted(parse_ttl, text) is ValueError


@pytest.mark.parametrize("text", ["true", "Yes", "ON"])
def test_true(text: str) -> None:
    assert parse_flag(text) is True


@pytest.mark.parametrize("text", ["false", "No", "OFF"])
def test_false(text: str) -> None:
    assert parse_flag(text) is False


@pytest.mark.parametrize("text", ["1", "0", "y", "n", "t", "enabled", "none", ""])
def test_neither(text: str) -> None:
    assert accepted(parse_flag, text) is ValueError


@given(st.ip_addresses())
def test_always_reads_addresses_back(address: object) -> None:
    assert parse_address(str(address).partition("%")[0]) == ip_address(str(address).partition("%")[0])


@pytest.mark.parametrize(
    "text", ["", "localhost", "192.0.2", "192.0.2.1/32", "[::1]", "fe80::1%eth0", "3232235777", "192.0.2.01", "::1:53::"]
)
def test_what_is_no_address(text: str) -> None:
    assert accepted(parse_address, text) is ValueError


def test_networks_and_the_bits_behind_them() -> None:
    assert parse_network("10.0.0.0/8") == ip_network("10.0.0.0/8")
    assert parse_network("192.0.2.1") == ip_network("192.0.2.1/32")
    assert parse_network("2001:DB8::/32") == ip_network("2001:db8::/32")
    with pytest.raises(ValueError, match=r"did you mean 10\.0\.0\.0/8\?"):
        parse_network("10.1.2.3/8")
    for text in ("10.0.0.0/33", "10.0.0.0/a", "", "any", "10.0.0.0/-1"):
        assert accepted(parse_network, text) is ValueError


def test_as_numbers() -> None:
    assert [parse_asn(text) for text in ("64496", "AS64496", "as1", "4294967295")] == [64496, 64496, 1, 4294967295]
    for text in ("0", "4294967296", "AS", "ASx", "-1", "1.10"):
        assert accepted(parse_asn, text) is ValueError


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_always_reads_positions_on_earth(latitude: float, longitude: float) -> None:
    assert parse_coordinates([repr(latitude), repr(longitude)]) == (latitude, longitude)


@given(st.floats(90, 180, exclude_min=True), st.floats(-90, 90))
def test_always_asks_whether_they_are_swapped(latitude: float, longitude: float) -> None:
    with pytest.raises(ValueError, match="swapped"):
        parse_coordinates([repr(latitude), repr(longitude)])


@pytest.mark.parametrize(
    "given_", [[], ["1"], ["1", "2", "3"], "1, 2", ["a", "b"], ["1", "181"], ["nan", "1"], [["1"], "2"], {"a": "1"}]
)
def test_what_is_no_position(given_: object) -> None:
    assert accepted(parse_coordinates, given_) is ValueError  # type: ignore[arg-type]  # the wrong kinds are the point


def test_paths_start_at_the_file_that_names_them() -> None:
    scalar = make_scalar("sub/x.zone", Place("/etc/geodns/geodns.yaml", 1, 1))
    assert parse_path(scalar) == Path("/etc/geodns/sub/x.zone")
    assert parse_path(make_scalar("/x", Place("/etc/geodns/geodns.yaml", 1, 1))) == Path("/x")
    assert parse_path("x") == Path("x")
    assert accepted(parse_path, "a\0b") is ValueError


@pytest.mark.parametrize(
    "name", ["a", "a.b", "a.b.", "xn--bcher-kva.example.", "_dmarc.a", "0/26.2.0.192.in-addr.arpa", "*.a", "A-b.c", "x" * 63]
)
def test_names(name: str) -> None:
    assert check_dns_name(name) == name


LONG = ".".join(["x" * 63] * 3 + ["x" * 61])  # 255 octets on the wire


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", ".a", "x" * 64, f"{LONG}x", "a b", "a\\046b", "bücher.example", "a*.b", "ß" * 300]
)
def test_what_is_no_name(name: str) -> None:
    assert accepted(check_dns_name, name) is ValueError


def test_the_longest_name() -> None:
    assert check_dns_name(LONG) == LONG and check_dns_name(f"{LONG}.") == f"{LONG}."


def test_other_scripts_are_shown_as_a_labels() -> None:
    with pytest.raises(ValueError, match=r'write "xn--bcher-kva\.example\."'):
        parse_target("bücher.example.")


def test_targets_end_in_a_dot() -> None:
    assert parse_target("Edge.Example.NET.") == "edge.example.net."
    for text in ("edge.example.net", "*.example.net.", "", "a b."):
        assert accepted(parse_target, text) is ValueError


@pytest.mark.parametrize(
    "text",
    ["192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "[2001:db8::1]", "2001:db8::1", "probe.example.net:8443", "probe"],
)
def test_where_probes_go(text: str) -> None:
    assert parse_probe_at(text) == text


@pytest.mark.parametrize(
    "text", ["192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "[x]:80", "192.0.2.300", "a:b:c", "", "a b:80", ":80"]
)
def test_where_probes_cannot_go(text: str) -> None:
    assert accepted(parse_probe_at, text) is ValueError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a:1", ("a", "1")),
        ("[::1]:53", ("::1", "53")),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
        ("a", ("a", None)),
        ("a:", ("a", "")),
    ],
)
def test_host_and_port(text: str, parts: tuple[str, str | None]) -> None:
    assert split_port(text) == parts


def test_suggestions_are_near_and_keep_their_spelling() -> None:
    assert did_you_mean("wieght", ["weight", "drain"]) == ', did you mean "weight"?'
    assert did_you_mean("AMS", ["ams", "nyc"]) == ', did you mean "ams"?'
    assert did_you_mean("frankfurt", ["ams", "nyc"]) == ""
