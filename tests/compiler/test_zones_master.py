"""Master files: entries and their lines, includes, generated records; and whatever stands in one, it never raises."""

from __future__ import annotations

import random
from pathlib import Path

import dns.name
import dns.zone
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geodns.compiler.zones.master import MasterFile, read_master, split_entries
from geodns.compiler.zones.records import Written
from geodns.errors import Place
from geodns.wire.name import name_text

APEX = dns.name.from_text("example.com.")
HERE = Written(Place("geodns.yaml", 3, 5), "zones.example.com.file")


def read(path: Path, text: str | bytes, ttl: int | None = None) -> MasterFile:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_master(path, APEX, ttl, HERE)


def shown(found: MasterFile) -> list[str]:
    """Owner, TTL, type and rdata of each record."""
    return [f"{name_text(r.owner)} {r.ttl} {r.rdata.rdtype.name} {r.rdata}" for r in found.records]


EVERYTHING = r"""
$TTL 1h ; the default
@ IN SOA ns1 ( host.example.com. ; opened here
        1 2 3
        4 5 )
  NS ns1
ns1 300 IN A 192.0.2.1
    IN 60 AAAA 2001:db8::1
txt TXT "a ( b ; c" "d\"e" plain ; a ( comment
$ORIGIN sub
@ A 192.0.2.2
$ORIGIN example.com.
$GENERATE 1-5/2 host-${0,3} A 192.0.2.$
\(odd\) A 192.0.2.3
"""


def test_a_file_with_all_that_the_format_has(tmp_path: Path) -> None:
    found = read(tmp_path / "zone", EVERYTHING)
    assert not found.complaints and found.ttl == 3600
    assert shown(found) == [
        "example.com. 3600 SOA ns1.example.com. host.example.com. 1 2 3 4 5",
        "example.com. 3600 NS ns1.example.com.",
        "ns1.example.com. 300 A 192.0.2.1",
        "ns1.example.com. 60 AAAA 2001:db8::1",
        r'txt.example.com. 3600 TXT "a ( b ; c" "d\"e" "plain"',
        "sub.example.com. 3600 A 192.0.2.2",
        "host-001.example.com. 3600 A 192.0.2.1",
        "host-003.example.com. 3600 A 192.0.2.3",
        "host-005.example.com. 3600 A 192.0.2.5",
        r"\(odd\).example.com. 3600 A 192.0.2.3",
    ]
    assert [record.written.place.line for record in found.records] == [3, 6, 7, 8, 9, 11, 13, 13, 13, 14]


def test_line_ends_of_all_kinds_and_a_byte_order_mark(tmp_path: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        found = read(tmp_path / "zone", b"\xef\xbb\xbf" + EVERYTHING.replace("\n", end).encode())
        assert not found.complaints and len(found.records) == 10
        assert found.records[-1].written.place.line == 14


def test_comments_may_be_in_any_encoding_and_records_may_not(tmp_path: Path) -> None:
    found = read(tmp_path / "zone", b'; f\xfcr\na A 192.0.2.1 ; f\xfcr\nb TXT "f\xfcr"\n')
    assert shown(found) == ["a.example.com. 300 A 192.0.2.1"]
    assert [str(complaint) for complaint in found.complaints] == [f'{tmp_path}/zone:3: \'"b TXT "f\\udcfcr""\' is not UTF-8']


def test_includes_are_relative_to_the_file_that_names_them_and_leave_the_origin(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one").write_text("$INCLUDE two deeper\n@ A 192.0.2.1\n")
    (tmp_path / "sub" / "two").write_text("$TTL 7\n@ A 192.0.2.2\n$ORIGIN elsewhere.example.com.\n")
    found = read(tmp_path / "zone", '$TTL 9\n$include "sub/one" one ; comment\nwww A 192.0.2.3\n')
    assert shown(found) == [
        "deeper.one.example.com. 7 A 192.0.2.2",
        "one.example.com. 9 A 192.0.2.1",
        "www.example.com. 9 A 192.0.2.3",
    ]
    assert found.files == [tmp_path / "zone", tmp_path / "sub" / "one", tmp_path / "sub" / "two"]
    assert found.ttl == 9


def test_includes_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("$INCLUDE b\n")
    (tmp_path / "b").write_text("$INCLUDE a\n")
    found = read(tmp_path / "zone", "$INCLUDE a\n" * 3)
    assert {complaint.text for complaint in found.complaints} == {f"{tmp_path}/a includes itself"}


def test_a_zone_of_too_many_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small").write_text("a A 192.0.2.1\n")
    found = read(tmp_path / "zone", "$INCLUDE small\n" * 1005)
    assert len(found.files) == len(found.records) + 1 == 1000
    assert [complaint.text for complaint in found.complaints] == [
        f"{tmp_path}/small is one file too many, at most 1000 belong to a zone"
    ] * 6


@pytest.mark.parametrize("ttl", [None, 0, 77])
def test_the_zones_own_ttl_stands_in_for_a_missing_one(tmp_path: Path, ttl: int | None) -> None:
    found = read(tmp_path / "zone", "a A 192.0.2.1\nb 5 A 192.0.2.1\nc A 192.0.2.1\n", ttl)
    assert [record.ttl for record in found.records] == ([300, 5, 5] if ttl is None else [ttl, 5, ttl])


def test_a_flood_of_mistakes_is_counted(tmp_path: Path) -> None:
    complaints = read(tmp_path / "zone", "a A x\n" * 5000).complaints
    assert len(complaints) == 101
    assert complaints[-1].text == "and 4900 more mistakes in this file"


@pytest.mark.parametrize("path", [Path("/"), Path("/dev/zero")])
def test_a_directory_and_a_device_are_no_files(path: Path) -> None:
    found = read_master(path, APEX, None, HERE)
    assert [str(c) for c in found.complaints] == [
        f"geodns.yaml:3:5: zones.example.com.file: {path} cannot be read: it is not a file"
    ]


@given(st.text(st.sampled_from('ab ();"\\\n\t'), max_size=60))
@example("a ( b\n) c\n")
def test_always_every_line_in_at_most_one_entry(text: str) -> None:
    lines = text.split("\n")
    last = 0
    for first, entry, closed in split_entries(text):
        assert first > last and lines[first - 1] == entry.split("\n")[0]
        last = first + entry.count("\n")
        assert closed or last == len(lines)


WORDS = 'www A 192.0.2.1 ( ) " ; \\ $TTL $ORIGIN $INCLUDE $GENERATE 1-3 @ IN 300 TXT SOA ü $ { 4294967296 TYPE1'
PIECES = WORDS.split()
PIECES += ["\n", " ", "\x00", "\udcfc", "a" * 64, "\\# 4 01020304"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20), st.sampled_from(("", " ")))
def test_never_raises_whatever_stands_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], glue: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "zone"
    found = read(path, glue.join(parts).encode("utf-8", "surrogateescape"))
    assert all(complaint.place.file == str(path) for complaint in found.complaints)


def test_never_raises_for_a_file_with_octets_changed(tmp_path: Path) -> None:
    chance = random.Random(2)
    original = EVERYTHING.encode()
    for _ in range(400):
        octets = bytearray(original)
        for _ in range(chance.randrange(1, 6)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        read(tmp_path / "zone", bytes(octets))


def test_the_same_records_as_dnspythons_own_reading(tmp_path: Path) -> None:
    """Splitting into entries changes nothing in what a right file says."""
    text = EVERYTHING.replace("\n$TTL", "$TTL")
    zone = dns.zone.from_text(text, "example.com.", relativize=False)
    theirs = {(name.to_text(), ttl, rdata.to_text()) for name, ttl, rdata in zone.iterate_rdatas()}
    ours = {(name_text(r.owner), r.ttl, r.rdata.to_text()) for r in read(tmp_path / "zone", text).records}
    assert ours == theirs
