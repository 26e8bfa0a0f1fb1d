"""Names in wire form: what is one, where it ends, and its text, with dnspython as the other opinion."""

from __future__ import annotations

import dns.exception
import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.errors import WireError
from geodns.wire.name import ROOT, count_labels, is_below, is_name, label_starts, name_text, parse_name_text, skip_name

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=8).filter(
    lambda labels: sum(map(len, labels)) + len(labels) < 255
)


def wire_of(labels: list[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + ROOT


@given(LABELS)
def test_always_reads_what_dnspython_writes(labels: list[bytes]) -> None:
    theirs = dns.name.Name([*labels, b""])
    wire = theirs.to_wire()
    assert wire is not None
    assert is_name(wire)
    assert skip_name(b"x" * 12 + wire + b"rest", 12) == 12 + len(wire)
    assert count_labels(wire) == len(labels)
    assert wire.lower() == theirs.canonicalize().to_wire()
    assert parse_name_text(name_text(wire)) == wire
    assert dns.name.from_text(name_text(wire)) == theirs
    assert parse_name_text(theirs.to_text()) == wire


@given(st.binary(max_size=300))
def test_always_agrees_with_dnspython_on_what_a_name_is(octets: bytes) -> None:
    try:
        _, used = dns.name.from_wire(octets, 0)
        whole = used == len(octets)
    except dns.exception.DNSException:
        whole = False
    assert is_name(octets) == whole  # at offset 0 every pointer leads nowhere


@given(st.binary(max_size=80), st.integers(0, 80))
def test_never_leaves_the_message(octets: bytes, at: int) -> None:
    try:
        end = skip_name(octets, at)
    except WireError:
        return
    assert at < end <= len(octets)


@given(LABELS, LABELS)
def test_always_counts_suffixes_at_label_boundaries(upper: list[bytes], lower: list[bytes]) -> None:
    name, ancestor = wire_of(lower + upper).lower(), wire_of(upper).lower()
    if len(name) <= 255:
        assert is_below(name, ancestor)
    labels, above = [x.lower() for x in lower], [x.lower() for x in upper]
    expected = labels[len(labels) - len(above) :] == above if len(above) <= len(labels) else False
    assert is_below(wire_of(labels), wire_of(above)) == expected


def test_a_suffix_inside_a_label_is_not_an_ancestor() -> None:
    assert not is_below(parse_name_text("notexample.com."), parse_name_text("example.com."))
    # the octets of the ancestor stand inside one label of the name
    assert not is_below(b"\x05a\x03com\x00\x00", b"\x03com\x00\x00"[:-1])


def test_a_name_of_255_octets_is_one_and_of_256_is_not() -> None:
    longest = wire_of([b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61])
    assert len(longest) == 255
    assert is_name(longest)
    assert skip_name(longest, 0) == 255
    too_long = wire_of([b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 62])
    assert not is_name(too_long)
    with pytest.raises(WireError, match="256 octets"):
        skip_name(too_long, 0)


def test_127_labels_are_a_name() -> None:
    name = wire_of([b"x"] * 127)
    assert is_name(name)
    assert len(label_starts(name)) == 128


@pytest.mark.parametrize(
    ("octets", "at"),
    [
        (bytes(12) + b"\x01a\xc0\x0c", 12),  # to itself
        (bytes(12) + b"\xc0\x0c", 12),  # exactly to itself
        (bytes(12) + b"\xc0\x20", 12),  # forwards
        (bytes(12) + b"\xff\xff", 12),  # past the end
        (bytes(12) + b"\xc0", 12),  # half
        (bytes(12) + b"\xc0\x00", 12),  # into the header
        (bytes(12) + b"\x00\xc0\x0f\xc0\x0d", 13),  # two that point at each other, the first
        (bytes(12) + b"\x43abc\x00", 12),  # label type 01
        (bytes(12) + b"\x83abc\x00", 12),  # label type 10
        (bytes(12) + b"\x05abc", 12),  # cut off
        (bytes(12), 12),  # nothing
    ],
)
def test_skip_name_refuses(octets: bytes, at: int) -> None:
    with pytest.raises(WireError):
        skip_name(octets, at)


def test_a_pointer_backwards_ends_a_name() -> None:
    assert skip_name(bytes(12) + b"\x01a\x00\x01b\xc0\x0c", 15) == 19


def test_text_escapes_what_people_could_misread() -> None:
    assert name_text(b"\x05w w.a\x02\x00\xff\x00") == r"w\032w\.a.\000\255."
    assert name_text(ROOT) == "."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a..b.", "a label of 0 octets"),
        (".a.", "a label of 0 octets"),
        ("a" * 64 + ".", "a label of 64 octets"),
        ("ex\u00e4mple.", "is not ASCII"),
        ("a\\", "backslash"),
        ("a\\256.", "not an escape"),
        ("a\\12", "not an escape"),
        ("a." * 128, "at most 255"),
    ],
)
def test_text_that_is_no_name_says_why(text: str, said: str) -> None:
    with pytest.raises(WireError, match=said):
        parse_name_text(text)
