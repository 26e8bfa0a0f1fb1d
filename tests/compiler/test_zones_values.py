"""Rdata in presentation form: every type that dnspython can write, and what YAML values have beyond master files."""

from __future__ import annotations

import json
import pkgutil

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY
import dns.rdtypes.IN
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.compiler.zones.values import SIGNED_TYPES, check_rtype, parse_rtype, parse_value
from geodns.wire.constants import SOA, TXT
from geodns.wire.rdata import rdata_of

from .zone_text import compile_text, node_of

APEX = dns.name.from_text("example.com.")
HOST = "host.example.net."
HEX = "ab" * 32
SAMPLES = {
    "A": "192.0.2.1",
    "AAAA": "2001:db8::1",
    "AFSDB": f"1 {HOST}",
    "AMTRELAY": "10 0 1 203.0.113.15",
    "APL": "1:192.0.2.0/24 !2:2001:db8::/32",
    "AVC": '"app-name:WOLFGANG"',
    "BRID": "AAEC",
    "CAA": '0 issue "ca.example.net; policy=ev"',
    "CDNSKEY": "257 3 13 AAEC",
    "CDS": f"1 13 2 {HEX}",
    "CERT": "PKIX 1 RSASHA256 AAEC",
    "CNAME": HOST,
    "CSYNC": "12345 3 A NS AAAA",
    "DHCID": "AAEC",
    "DLV": f"1 13 2 {HEX}",
    "DNAME": HOST,
    "DS": f"1 13 2 {HEX}",
    "DSYNC": f"CDS NOTIFY 5300 {HOST}",
    "EUI48": "00-00-5e-00-53-2a",
    "EUI64": "00-00-5e-ef-10-00-00-2a",
    "GPOS": '"-32.6882" "116.8652" "10.0"',
    "HHIT": "AAEC",
    "HINFO": '"Generic PC clone" "NetBSD-1.4"',
    "HIP": f"2 200100107b1a74df365639cc39f1d578 AAEC {HOST}",
    "HTTPS": f'1 {HOST} alpn="h2,h3" ipv4hint="192.0.2.1"',
    "IPSECKEY": f"10 3 2 {HOST} AAEC",
    "ISDN": '"isdn-number" "subaddress"',
    "KEY": "512 3 13 AAEC",
    "KX": f"10 {HOST}",
    "L32": "10 10.1.2.0",
    "L64": "10 2001:0DB8:1140:1000",
    "LOC": "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m",
    "LP": f"10 {HOST}",
    "MX": f"10 {HOST}",
    "NAPTR": f'100 10 "S" "SIP+D2U" "!^.*$!sip:info@example.com!" {HOST}',
    "NID": "10 0014:4fff:ff20:ee64",
    "NINFO": '"zone status"',
    "NS": HOST,
    "NSAP": "0x47000580005a0000000001e133ffffff00016100",
    "NSAP-PTR": HOST,
    "OPENPGPKEY": "AAEC",
    "PTR": HOST,
    "PX": f"10 {HOST} px400.example.net.",
    "RESINFO": '"qnamemin"',
    "RP": f"mbox.example.net. {HOST}",
    "RT": f"10 {HOST}",
    "SMIMEA": f"3 1 1 {HEX}",
    "SOA": f"{HOST} mbox.example.net. 1 2 3 4 5",
    "SPF": '"v=spf1 -all"',
    "SRV": f"0 5 5060 {HOST}",
    "SSHFP": f"4 2 {HEX}",
    "SVCB": f"0 {HOST}",
    "TLSA": f"3 1 1 {HEX}",
    "TXT": '"one string" "and; another"',
    "URI": '10 1 "ftp://ftp.example.com/public"',
    "WALLET": '"EXAMPLE" "01234567890abcdef"',
    "WKS": "192.0.2.1 6 21 22 25",
    "X25": '"311061700956"',
    "ZONEMD": f"2018031900 1 1 {'ab' * 48}",
    "TYPE65280": "\\# 3 010203",
}
IN_MESSAGES_ONLY = {"OPT", "TKEY", "TSIG"}
OF_SIGNED_ZONES = {"DNSKEY", "NSEC", "NSEC3", "NSEC3PARAM", "RRSIG", "SIG"}


def wire_by_dnspython(mnemonic: str, text: str) -> bytes:
    return dns.rdata.from_text("IN", mnemonic, text, APEX, relativize=False).to_wire() or b""


def test_every_type_that_dnspython_can_write_has_a_sample() -> None:
    folders = (dns.rdtypes.ANY, dns.rdtypes.IN)
    known = {found.name.replace("_", "-") for folder in folders for found in pkgutil.iter_modules(folder.__path__)}
    assert known - IN_MESSAGES_ONLY - OF_SIGNED_ZONES == SAMPLES.keys() - {"TYPE65280"}


@pytest.mark.parametrize("mnemonic", SAMPLES)
@pytest.mark.parametrize("source", ["yaml", "file"])
def test_every_type_goes_through(mnemonic: str, source: str) -> None:
    text, rtype = SAMPLES[mnemonic], parse_rtype(mnemonic)
    owner = '"@"' if rtype == SOA else "sub"
    files = {"zone": f"$TTL 300\n@ NS ns1.example.net.\nsub {mnemonic} {text}\n" if rtype != SOA else f"@ SOA {text}\n"}
    records = f"    records: {{{owner}: {{{mnemonic}: {json.dumps(text)}}}}}\n" if source == "yaml" else "    file: zone\n"
    beside = "    ns: [ns1.example.net.]\n" if rtype == SOA or source == "yaml" else ""
    zones, complaints = compile_text(f"zones:\n  example.com:\n{beside}{records}", files)
    assert zones is not None, complaints
    node = node_of(zones, "example.com." if rtype == SOA else "sub.example.com.")
    rdata = rdata_of(node.rrsets[rtype].tails[0])
    assert rdata == wire_by_dnspython(mnemonic, text)
    back = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), rdata, 0, len(rdata)).to_text()
    assert wire_by_dnspython(mnemonic, back) == rdata


@pytest.mark.parametrize("mnemonic", [*sorted(IN_MESSAGES_ONLY | OF_SIGNED_ZONES), "ANY", "AXFR", "TYPE0", "TYPE200"])
def test_types_that_no_zone_here_can_hold(mnemonic: str) -> None:
    with pytest.raises(ValueError, match=r"messages only|signed"):
        parse_rtype(mnemonic)


@given(st.integers(0, 65535))
def test_always_a_verdict_on_a_type(rtype: int) -> None:
    allowed = rtype not in SIGNED_TYPES and rtype not in (0, 41) and not 128 <= rtype <= 255
    try:
        check_rtype(rtype)
    except ValueError:
        assert not allowed
    else:
        assert allowed


def strings_of(text: str) -> list[bytes]:
    wire, strings = parse_value(TXT, text, APEX).to_wire() or b"", []
    while wire:
        strings.append(wire[1 : 1 + wire[0]])
        wire = wire[1 + wire[0] :]
    return strings


@given(st.text(st.characters(codec="utf-8"), max_size=600).filter(lambda text: not text.startswith('"')))
def test_always_a_literal_string_without_a_quote_in_front(text: str) -> None:
    strings = strings_of(text)
    assert b"".join(strings) == text.encode()
    assert all(len(string) == 255 for string in strings[:-1]) and len(strings[-1]) <= 255


def test_txt_in_master_file_syntax_with_a_quote_in_front() -> None:
    assert strings_of('"a b" c "d;e" \\"f') == [b"a b", b"c", b"d;e", b'"f']
    assert strings_of("v=spf1 ; -all") == [b"v=spf1 ; -all"]
    assert strings_of("\\065") == [b"\\065"]
    assert strings_of('"\\065"') == [b"A"]


@pytest.mark.parametrize(
    ("rtype", "text", "words"),
    [
        (15, "10 mail ; comment", "unquoted"),
        (15, "10 mail more", '"more" is left over'),
        (15, "10 mail\n20 other", "left over"),
        (16, '"a" "b', "missing"),
        (1, "192.0.2.1 192.0.2.2", "not an IPv4 address"),
        (28, "192.0.2.1", "not an IPv6 address"),
        (1, "010.0.0.1", "not an IPv4 address"),
        (5, "", "expected a name"),
        (5, f"{'a' * 64}.example.", "expected a name"),
        (33, "0 0 70000 x", "16-bit"),
    ],
)
def test_values_that_are_none(rtype: int, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_value(rtype, text, APEX)


def test_an_escaped_or_quoted_semicolon_is_data() -> None:
    assert parse_value(257, '0 issue "a;b"', APEX).to_wire() == b"\x00\x05issuea;b"
    assert parse_value(5, "a\\;b", APEX).to_wire() == b"\x03a;b" + (APEX.to_wire() or b"")


@settings(max_examples=50)
@given(st.sampled_from(sorted(SAMPLES)), st.text(max_size=40))
def test_never_anything_but_a_value_error(mnemonic: str, text: str) -> None:
    for written in (text, SAMPLES[mnemonic] + text, text + SAMPLES[mnemonic]):
        try:
            rdata = parse_value(parse_rtype(mnemonic), written, APEX)
        except ValueError as error:
            assert str(error)
        else:
            assert rdata.to_wire() is not None
