"""What stands in the compiled zones: names, cuts, glue, services, SOA and serials, YAML over master file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import dns.name
import dns.rdataset
import dns.zone
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geodns.compiler.naming import name_parts
from geodns.compiler.zones import build_zones
from geodns.compiler.zones.drafts import pick_serial
from geodns.compiler.zones.records import wire_of
from geodns.config.load import read_config
from geodns.snapshot import ADDRESSES, FALLBACK, Zones
from geodns.wire.constants import AAAA, CNAME, DS, MX, NS, SOA, TXT, A
from geodns.wire.name import is_below, label_starts, name_text, parse_name_text
from geodns.wire.rdata import rdata_of, ttl_of

from .zone_text import BASE, compile_right, compile_text, node_of, rdata_at, read_block


def zone_yaml(records: str, extra: str = "") -> str:
    return f"zones:\n  example.com:\n    ns: [ns1.example.net.]\n{extra}    records: {{{records}}}\n"


def with_file(extra: str = "") -> str:
    return f"zones:\n  example.com:\n    file: zone\n{extra}"


OWNERS = st.lists(st.sampled_from(("a", "b", "c", "*")), min_size=1, max_size=4).map(".".join)
LINES = st.lists(
    st.tuples(
        OWNERS,
        st.sampled_from(("A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1", "TXT x", "NS ns.elsewhere.example.", "NS ns.a")),
    ),
    max_size=12,
)


def expected(text: str) -> tuple[dict[bytes, dict[int, set[bytes]]], dict[bytes, bytes]]:
    """Names with their rdata, and names with the cut above them, from dnspython's own reading of the zone.

    RFC 1034 4.2.1 and 4.3.2: what is at or below the topmost NS belongs to others, but for the NS and glue.
    """
    zone = dns.zone.from_text(text, "example.com.", relativize=False, check_origin=False)
    data = {wire_of(name): zone[name] for name in zone.nodes if len(zone[name])}
    apex = parse_name_text("example.com.")
    servers = {owner: node.get_rdataset(1, NS) for owner, node in data.items() if owner != apex}
    owners = {owner for owner, found in servers.items() if found}
    cuts = {owner for owner in owners if not any(owner[at:] in owners for at in label_starts(owner)[1:])}
    glue = {wire_of(ns.target) for cut in cuts for ns in servers[cut] or ()}
    names: dict[bytes, dict[int, set[bytes]]] = {}
    for owner, node in data.items():
        for at in label_starts(owner):
            if is_below(owner[at:], apex):
                names.setdefault(owner[at:], {})
        cut = next((cut for cut in cuts if is_below(owner, cut)), None)
        for rdataset in node:
            kept = (
                cut is None or (rdataset.rdtype == NS and owner == cut) or (rdataset.rdtype in (A, AAAA) and owner in glue)
            )
            if kept:
                names[owner][int(rdataset.rdtype)] = {rdata.to_wire() or b"" for rdata in rdataset}
    above = {owner: cut for owner in names for cut in cuts if is_below(owner, cut)}
    return names, above


@settings(deadline=None, max_examples=150)
@given(LINES)
def test_always_the_names_rrsets_and_cuts_that_dnspython_sees(lines: list[tuple[str, str]]) -> None:
    assume(not any(owner.startswith("*") and rdata.startswith("NS") for owner, rdata in lines))
    text = "$TTL 300\n@ SOA ns1.example.net. host.example.net. 1 2 3 4 5\n@ NS ns1.example.net.\n"
    text += "".join(f"{owner} {rdata}\n" for owner, rdata in lines)
    zones, complaints = compile_text(with_file(), {"zone": text})
    assume(zones is not None)  # NS without address and the like: the catalogue has them
    assert zones is not None and all("warning" in complaint for complaint in complaints)
    names, above = expected(text)
    found = {
        name: {rtype: {rdata_of(tail) for tail in rrset.tails} for rtype, rrset in node.rrsets.items()}
        for name, node in zones.names.items()
    }
    assert found == names
    assert {name: node.cut.name for name, node in zones.names.items() if node.cut} == above
    for name, node in zones.names.items():
        wildcard = zones.names.get(b"\x01*" + name)
        assert node.wildcard is (wildcard if node.cut is None else None)
    assert zones.deepest == max(len(label_starts(name)) - 1 for name in zones.names)


DELEGATIONS = """
      sub: {NS: [ns1.sub, NS2.Sub, ns.other, ns.elsewhere.example.],
           DS: '1 13 2 ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB'},
      ns1.sub: {A: [192.0.2.1, 192.0.2.2], AAAA: "2001:db8::1"}, ns2.sub: {A: 192.0.2.3},
      other: {NS: ns.other}, ns.other: {A: 192.0.2.4}, www.deep: {A: 192.0.2.5}, lame.deep: {NS: ns.elsewhere.example.}
"""


def test_glue_is_that_of_name_servers_below_the_cut_and_of_siblings() -> None:
    """RFC 9471 3.1 and 3.2; names in our own zone are looked up, names elsewhere are not ours to give."""
    cut = node_of(compile_right(zone_yaml(DELEGATIONS)), "sub.example.com.").cut
    assert cut is not None and cut.ds is not None
    assert [rdata_of(tail) for tail in cut.ns.tails][1] == parse_name_text("ns2.sub.example.com.")
    assert [(name_text(owner), [rdata_of(tail).hex() for tail in tails]) for owner, tails in cut.glue] == [
        ("ns1.sub.example.com.", ["c0000201", "c0000202"]),
        ("ns1.sub.example.com.", ["20010db8000000000000000000000001"]),
        ("ns2.sub.example.com.", ["c0000203"]),
        ("ns.other.example.com.", ["c0000204"]),
    ]


def test_names_below_a_cut_carry_it_and_those_above_do_not() -> None:
    zones = compile_right(zone_yaml(DELEGATIONS))
    sub = node_of(zones, "sub.example.com.")
    assert set(sub.rrsets) == {NS, DS}
    assert node_of(zones, "ns1.sub.example.com.").cut == sub.cut
    assert node_of(zones, "deep.example.com.").cut is None
    assert node_of(zones, "lame.deep.example.com.").cut is not None


NESTED = """
zones:
  example.com:
    ns: [ns1.example.net.]
    records:
      sub: {NS: ns1.sub, DS: "1 13 2 ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"}
      ns1.sub: {A: 192.0.2.1}
      www: {A: 192.0.2.1}
      gone: {NS: ns.elsewhere.example.}
  sub.example.com:
    ns: [ns1]
    records: {ns1: {A: 192.0.2.2}}
  x.gone.example.com:
    ns: [ns1.example.net.]
  a.b.example.com:
    ns: [ns1.example.net.]
"""


def test_the_deepest_of_nested_zones_answers_and_its_parent_has_its_ds() -> None:
    zones = compile_right(NESTED)
    sub = node_of(zones, "sub.example.com.")
    assert sub.zone.apex == sub.name and sub.cut is None
    assert set(sub.rrsets) == {NS, SOA}
    assert rdata_at(zones, "ns1.sub.example.com.", A) == [bytes((192, 0, 2, 2))]
    assert sub.zone.parent is node_of(zones, "example.com.").zone
    assert sub.zone.parent_ds is not None and rdata_of(sub.zone.parent_ds.tails[0]) == bytes((0, 1, 13, 2)) + b"\xab" * 32


def test_above_a_nested_zone_its_ancestors_exist_in_the_parent() -> None:
    zones = compile_right(NESTED)
    between = node_of(zones, "b.example.com.")
    assert name_text(between.zone.apex) == "example.com." and not between.rrsets and between.cut is None


def test_a_zone_below_a_delegation_of_another_keeps_to_itself() -> None:
    zones = compile_right(NESTED)
    inner = node_of(zones, "x.gone.example.com.")
    assert inner.cut is None and inner.zone.parent_ds is None
    assert node_of(zones, "gone.example.com.").cut is not None


MASTER = """
$TTL 3600
@ 7200 SOA ns1.example.net. host.example.net. 17 1 2 3 4
@ NS ns1.example.net.
www A 192.0.2.1
www 60 TXT old
www AAAA 2001:db8::1
alias CNAME www
kept 30 A 192.0.2.2
"""
OVER = """    records:
      www: {A: 192.0.2.9, MX: 10 www}
      alias: {service: www}
      quick: {A: 192.0.2.8, ttl: 20}
      quicker: {A: {values: [192.0.2.8], ttl: 10}, TXT: x, ttl: 20}
services:
  www: {check: off, pools: {ams: [192.0.2.10]}}
"""


def test_an_rrset_in_yaml_replaces_that_of_the_file() -> None:
    zones = compile_right(with_file(OVER), {"zone": MASTER})
    assert rdata_at(zones, "www.example.com.", A) == [bytes((192, 0, 2, 9))]
    assert set(node_of(zones, "www.example.com.").rrsets) == {A, TXT, AAAA, MX}


def test_a_service_replaces_addresses_and_alias_of_the_file() -> None:
    node = node_of(compile_right(with_file(OVER), {"zone": MASTER}), "alias.example.com.")
    assert node.service is not None and not node.rrsets


@pytest.mark.parametrize(
    ("name", "rtype", "ttl"),
    [
        ("kept", A, 30),
        ("www", A, 3600),
        ("www", TXT, 60),
        ("www", AAAA, 3600),
        ("quick", A, 20),
        ("quicker", A, 10),
        ("quicker", TXT, 20),
    ],
)
def test_the_ttl_is_the_rrsets_the_owners_the_files_or_the_zones(name: str, rtype: int, ttl: int) -> None:
    zones = compile_right(with_file("    ttl: 77\n" + OVER), {"zone": MASTER})
    assert ttl_of(node_of(zones, f"{name}.example.com.").rrsets[rtype].tails[0]) == ttl


@pytest.mark.parametrize(
    ("extra", "text", "ttl"),
    [
        ("    ttl: 77\n", "@ NS ns1.example.net.\nwww A 192.0.2.1\n", 77),
        ("    ttl: 77\n", "@ 5 NS ns1.example.net.\nwww A 192.0.2.1\n", 77),
        ("", "@ NS ns1.example.net.\nwww A 192.0.2.1\n", 300),
        ("", "@ 5 NS ns1.example.net.\nwww A 192.0.2.1\n", 5),  # RFC 1035 5.1: the last one stated
        ("", "@ SOA a.example.net. b.example.net. 1 2 3 4 99\n@ NS ns1.example.net.\nwww A 192.0.2.1\n", 300),
    ],
)
def test_without_a_ttl_in_the_file(extra: str, text: str, ttl: int) -> None:
    zones = compile_right(with_file(extra), {"zone": text})
    assert ttl_of(node_of(zones, "www.example.com.").rrsets[A].tails[0]) == ttl


def soa_of(zones: Zones) -> list[int]:
    """TTL, serial, refresh, retry, expire, minimum of example.com."""
    tail = node_of(zones, "example.com.").zone.soa
    return [ttl_of(tail), *(int.from_bytes(tail[at : at + 4], "big") for at in range(len(tail) - 20, len(tail), 4))]


def test_the_soa_without_any() -> None:
    zone = node_of(compile_right(zone_yaml("", "    soa: {serial: 9}\n")), "example.com.").zone
    assert rdata_of(zone.soa)[:-20] == parse_name_text("ns1.example.net.") + parse_name_text("hostmaster.example.com.")
    assert soa_of(compile_right(zone_yaml("", "    soa: {serial: 9}\n"))) == [300, 9, 3600, 900, 1209600, 60]
    assert ttl_of(zone.negative_soa) == 60 and zone.negative_soa[8:] == zone.soa[8:]


def test_keys_of_soa_override_the_files_one_by_one() -> None:
    zones = compile_right(with_file("    soa: {retry: 7, negative_ttl: 8, rname: a.b@example.org}\n"), {"zone": MASTER})
    assert soa_of(zones) == [7200, 17, 1, 7, 3, 8]
    assert rdata_of(node_of(zones, "example.com.").zone.soa)[:-20] == parse_name_text("ns1.example.net.") + (
        b"\x03a.b\x07example\x03org\x00"
    )
    zones = compile_right(with_file("    soa: {ttl: 3}\n"), {"zone": MASTER})
    assert ttl_of(node_of(zones, "example.com.").zone.negative_soa) == 3


def test_ns_of_the_configuration_replace_those_of_the_file() -> None:
    zones = compile_right(with_file("    ns: [other.example.net.]\n"), {"zone": MASTER})
    assert rdata_at(zones, "example.com.", NS) == [parse_name_text("other.example.net.")]


@given(st.integers(0, 2**32 - 1), st.none() | st.integers(0, 2**32 - 1))
def test_always_a_serial_that_is_not_lower_than_the_last(new: int, last: int | None) -> None:
    """RFC 1982 3.2: lower is what is more than half of the circle ahead."""
    serial, stays = pick_serial(new, None, last, 0)
    assert serial == (last if stays else new)
    assert last is None or (serial - last) % 2**32 < 2**31


def test_the_given_serial_then_the_files_then_the_newest_file() -> None:
    assert pick_serial(3, 2, None, 1) == (3, False)
    assert pick_serial(None, 2, None, 1) == (2, False)
    assert pick_serial(None, None, None, 1) == (1, False)


def test_a_serial_that_would_go_back_stays_and_says_so() -> None:
    zones, complaints = compile_text(with_file(), {"zone": MASTER}, {"example.com.": 20})
    assert zones is not None and soa_of(zones)[1] == 20
    assert complaints == ["zone:3: warning: the serial is lower than 20, which was served before and stays"]
    assert soa_of(compile_right(with_file(), {"zone": MASTER}, {"example.com.": 16}))[1] == 17
    assert soa_of(compile_right(zone_yaml(""), None, {"example.com.": 2_000_000_000}))[1] == 2_000_000_000


def test_without_a_serial_it_is_the_newest_modification_time() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config, zone, included = Path(folder, "geodns.yaml"), Path(folder, "zone"), Path(folder, "included")
        config.write_text(with_file() + BASE)
        zone.write_text("@ NS ns1.example.net.\n$INCLUDE included\n")
        included.write_text("www A 192.0.2.1\n")
        for path, mtime in ((config, 1000), (zone, 3000), (included, 2000)):
            os.utime(path, (mtime, mtime))
        for newest, path in ((3000, zone), (4000, included), (5000, config)):
            os.utime(path, (newest, newest))
            loaded = read_config(config)
            block, _ = build_zones(loaded, name_parts(loaded.config))
            assert soa_of(read_block(block))[1] == newest


SERVICES = """
zones:
  example.com: {ns: [ns1.example.net.], records: {www: {service: www}, "*": {service: cdn}}}
services:
  www:
    check: off
    ttl: {min: 5, max: 60}
    answers: all
    pick: sticky
    up_threshold: 0.25
    all_down: {service: last}
    pools:
      nyc: [{address: 198.51.100.10, weight: 3}, {address: 198.51.100.11, drain: true}, "2001:DB8::1"]
      away: [203.0.113.1]
  cdn: {check: off, ttl: 7, pools: {ams: [Edge.Example.Net.]}}
  last: {check: off, all_down: {addresses: [192.0.2.7, "2001:db8::7", 192.0.2.8]}, pools: {ams: [192.0.2.10]}}
"""


def test_a_service_has_its_pools_members_and_fallback() -> None:
    zones = compile_right(SERVICES)
    www, cdn, last = (next(s for s in zones.services if s.name == name) for name in ("www", "cdn", "last"))
    assert node_of(zones, "www.example.com.").service is www
    wildcard = node_of(zones, "example.com.").wildcard
    assert wildcard is not None and wildcard.service is cdn
    assert www.all_down == FALLBACK and www.fallback is last and last.number < www.number
    assert (www.answers, www.sticky, www.choice, cdn.choice, www.ttl_min, cdn.ttl_min) == (0, True, True, False, 5, 7)
    assert (www.types, cdn.types, last.types) == (frozenset({A, AAAA}), frozenset({CNAME}), frozenset({A}))
    assert www.pool_of[0] == -1 and zones.pools[www.pool_of[1]].datacenter == "nyc"
    plan = zones.pools[www.pool_of[1]]
    assert (plan.service, plan.up_threshold, plan.ttl_min, plan.ttl_max) == ("www", 250_000, 5, 60)
    assert [(m.text, m.rtype, m.weight, m.drained) for m in plan.members] == [
        ("198.51.100.10", A, 3, False),
        ("198.51.100.11", A, 1, True),
        ("2001:db8::1", AAAA, 1, False),
    ]
    assert zones.pools[www.pool_of[2]].members[0].drained, "the datacenter is drained"
    assert zones.pools[cdn.pool_of[0]].members[0].rdata == parse_name_text("edge.example.net.")
    assert last.all_down == ADDRESSES
    assert [rdata_of(tail) for tail in last.last_resort[A]] == [bytes((192, 0, 2, 7)), bytes((192, 0, 2, 8))]
    assert len(last.last_resort[AAAA]) == 1 and ttl_of(last.last_resort[A][0]) == 30


def test_sticky_keys_are_the_same_everywhere_and_for_ever() -> None:
    """Frozen: another value would move every sticky client of a running installation."""
    zones = compile_right(SERVICES)
    www = next(service for service in zones.services if service.name == "www")
    member = zones.pools[www.pool_of[1]].members[0]
    assert (www.key, www.datacenter_keys[1], member.key) == (KEY_WWW, KEY_NYC, KEY_MEMBER)


KEY_WWW, KEY_NYC, KEY_MEMBER = 0x7C660A1C1A82F1F0, 0xBDA759608BDC0656, 0xD1EA6BC6B8C0E4FA


def test_the_shape_follows_pools_and_members_but_not_records() -> None:
    base = compile_right(SERVICES).shape
    assert compile_right(SERVICES.replace("records: {", "records: {a: {A: 192.0.2.1}, ")).shape == base
    assert compile_right(SERVICES.replace("203.0.113.1", "203.0.113.2")).shape != base


def test_errors_give_no_block() -> None:
    zones, complaints = compile_text(zone_yaml("www: {A: x}"))
    assert zones is None and len(complaints) == 1


def test_no_zones_at_all() -> None:
    zones = compile_right("")
    assert not zones.names and not zones.zones and zones.deepest == 0


OWNER_TEXTS = ("@", "a", "b.a", "*", "*.a", "x.b.a", "a.example.com", "b.example.com.", "sub", "ns.sub", "ü", "a..b", ".")
RIGHT = "A: 192.0.2.1 | CNAME: host | CNAME: b.example. | NS: ns.x. | TXT: x | service: www | service: cdn | MX: 10 host"
WRONG = "CNAME: a | NS: ns.sub | NS: sub | MX: 10 a | DNAME: a | DS: 1 2 3 4 | SRV: 0 0 1 sub | SOA: a b 1 2 3 4 5 | A: x"
MANY_SERVICES = """
services:
  www: {check: off, pools: {ams: [192.0.2.1]}}
  cdn: {check: off, pools: {ams: [a.example.com.]}}
zones:
"""


@st.composite
def any_zones(draw: st.DrawFn, values_text: str, most: int) -> str:
    value = st.sampled_from(values_text.split(" | "))
    text = MANY_SERVICES
    for apex in draw(st.lists(st.sampled_from(("example.com", "a.example.com", "b.a.example.com")), unique=True)):
        server = draw(st.sampled_from(("ns.example.net.", "a", "ns.sub", "b.a.example.com.")[: 4 if most > 1 else 1]))
        text += f"  {apex}:\n    ns: [{server}]\n    records:\n"
        for owner in draw(st.lists(st.sampled_from(OWNER_TEXTS[: -3 if most == 1 else None]), unique=True, max_size=5)):
            values = {value.split(":")[0]: value for value in draw(st.lists(value, min_size=1, max_size=most))}
            text += f'      "{owner}": {{{", ".join(values.values())}}}\n'
        text += "      host: {A: 192.0.2.1}\n"
    return text


@settings(deadline=None, max_examples=120)
@given(any_zones(f"{RIGHT} | {WRONG}", 2) | any_zones(RIGHT, 1))
def test_always_either_a_block_or_an_error_with_its_line(text: str) -> None:
    zones, complaints = compile_text(text)
    errors = [complaint for complaint in complaints if "warning: " not in complaint]
    assert (zones is None) == bool(errors)
    lines = text.count("\n")
    assert all(1 <= int(complaint.split(":")[1]) <= lines for complaint in complaints)


@settings(deadline=None, max_examples=120)
@given(any_zones(RIGHT, 1))
def test_never_a_service_that_answers_cnames_beside_data_or_a_cname_beside_anything(text: str) -> None:
    zones, _ = compile_text(text)
    for node in zones.names.values() if zones else ():
        aliases = CNAME in node.rrsets or (node.service is not None and CNAME in node.service.types)
        assert not aliases or len(node.rrsets) + (node.service is not None) == 1
        if node.name == node.zone.apex:
            assert {NS, SOA} <= node.rrsets.keys() and node.cut is None
        elif node.cut is None:
            assert NS not in node.rrsets and SOA not in node.rrsets


def test_what_the_data_plane_cannot_write_for_powerdns_comes_as_text() -> None:
    """Types that PowerDNS parses and `wire.rdata_text` leaves out, and no others; also where PowerDNS need not know them."""
    zones = compile_right(
        """
zones:
  example.com:
    ns: [ns1.example.net.]
    records:
      here: {LOC: ["52 22 23 N 4 53 32 E 0m"], APL: ["1:10.0.0.0/8 !1:10.1.0.0/16"], TXT: [x], TYPE65300: ['\\# 1 00']}
      there: {LOC: ["52 22 23 N 4 53 32 E 0m"], HIP: ["2 200100107B1A74DF365639CC39F1D578 AwEAAbdx"]}
"""
    )
    assert {(rtype, text) for (rtype, _), text in zones.texts.items()} == {
        (29, "52 22 23.000 N 4 53 32.000 E 0.00m"),
        (42, "1:10.0.0.0/8 !1:10.1.0.0/16"),
    }
    assert zones.texts[29, rdata_at(zones, "here.example.com.", 29)[0]].startswith("52 ")
