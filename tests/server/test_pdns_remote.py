"""The remote backend's protocol: what PowerDNS asks, the JSON types that it demands, and one object for each line."""

from __future__ import annotations

import json
from typing import Any

import dns.rdata
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.powered import FixedLookup, power_snapshot

from geodns.lookup import records_at
from geodns.server.pdns_answer import parse_client
from geodns.server.pdns_remote import ZONES_AT_ONCE, RemoteSession
from geodns.snapshot import Snapshot
from geodns.wire.constants import EMPTY
from geodns.wire.name import name_text, parse_name_text
from geodns.wire.rdata import rdata_of, ttl_of

from ..snapshots import Small


def answer(session: RemoteSession, line: bytes | None) -> bytes:
    """All pieces; an empty one would be a wait."""
    reply = session.answer(line)
    return reply if isinstance(reply, bytes) else b"".join(reply)


def ask(method: str, snapshot: Snapshot | None = None, **parameters: Any) -> Any:
    """The result of a call."""
    session = RemoteSession(FixedLookup(snapshot or power_snapshot()))
    reply = answer(session, json.dumps({"method": method, "parameters": parameters}).encode())
    assert reply.endswith(b"}\n") and reply.count(b"\n") == 1
    decoded = json.loads(reply)
    assert decoded.keys() == {"result"}
    return decoded["result"]


def look_up(qname: str, qtype: str = "ANY", subnet: str = "127.0.0.1/32") -> Any:
    parameters: dict[str, Any] = {
        "local": "127.0.0.1",
        "qname": qname,
        "qtype": qtype,
        "real-remote": subnet,
        "remote": "127.0.0.1",
        "zone-id": 7,
    }
    return ask("lookup", **parameters)


def test_a_lookup_as_powerdns_wants_it() -> None:
    """Numbers are numbers: a TTL that is a string is taken as 0."""
    found = look_up("Www.example.test.", subnet="198.51.100.0/24")
    assert found == [
        {
            "qtype": "A",
            "qname": "Www.example.test.",
            "content": "203.0.113.10",
            "ttl": 30,
            "domain_id": 1,
            "scopeMask": 24,
            "auth": 1,
        }
    ]
    assert [type(found[0][key]) for key in ("ttl", "domain_id", "scopeMask", "auth")] == [int] * 4


def test_priorities_are_part_of_the_content_here() -> None:
    contents = {record["qtype"]: record["content"] for record in look_up("texts.example.test.")}
    assert contents["SRV"] == "10 20 5060 mail.example.test."
    assert contents["CAA"] == '0 issue "ca.example.net"'
    assert [record["content"] for record in look_up("example.test.", "MX")] == ["10 mail.example.test."]


def test_delegations_and_glue_are_not_authoritative() -> None:
    assert [(record["qtype"], record["auth"]) for record in look_up("child.example.test.")] == [("NS", 0)]
    assert [record["auth"] for record in look_up("ns.child.example.test.")] == [0, 0]


def test_a_name_that_holds_nothing_has_powerdnss_own_word() -> None:
    (found,) = look_up("b.c.example.test.")
    assert (found["qtype"], found["content"], found["scopeMask"]) == ("ENT", "", 0)
    (found,) = look_up("gone.example.test.")
    assert (found["qtype"], found["scopeMask"]) == ("ENT", 1)


@pytest.mark.parametrize(
    ("qname", "qtype"), [("nope.example.test.", "ANY"), ("www.example.test.", "SOA"), (".", "SOA"), ("a.", "ANY")]
)
def test_nothing_is_an_empty_list(qname: str, qtype: str) -> None:
    assert look_up(qname, qtype) == []


def test_the_apex_by_any_and_by_soa() -> None:
    soa = "ns1.example.test. hostmaster.example.test. 2024010101 3600 600 604800 60"
    assert [record["content"] for record in look_up("example.test.", "SOA", "0.0.0.0/0")] == [soa]
    assert [record["qtype"] for record in look_up("example.test.")] == ["NS", "SOA", "MX"]


def test_zones() -> None:
    zones = ask("getAllDomains", include_disabled=True)
    serials = {zone["zone"]: (zone["id"], zone["serial"]) for zone in zones}
    assert serials["example.test."] == (1, 2024010101)
    assert serials.keys() == {"example.test.", "sub.example.test."}
    for zone in zones:
        assert {key: value for key, value in zone.items() if key not in {"id", "zone", "serial"}} == {
            "kind": "native", "masters": [], "notified_serial": 0, "last_check": 0,
        }  # fmt: skip
        assert ask("getDomainInfo", name=zone["zone"]) == zone
        assert look_up(zone["zone"], "SOA")[0]["domain_id"] == zone["id"]
    assert ask("getDomainInfo", name="EXAMPLE.test") == next(zone for zone in zones if zone["zone"] == "example.test.")
    for name in ("www.example.test.", "test.", "."):
        assert ask("getDomainInfo", name=name) is False


@pytest.mark.parametrize("count", [0, 1, ZONES_AT_ONCE, ZONES_AT_ONCE + 1, 2 * ZONES_AT_ONCE + 3])
def test_many_zones_come_in_pieces(count: int) -> None:
    small = Small()
    for number in range(count):
        small.zone(f"z{number}.test.", {})
    session = RemoteSession(FixedLookup(small.snapshot()))
    reply = session.answer(b'{"method": "getAllDomains", "parameters": {}}')
    assert not isinstance(reply, bytes)
    pieces = list(reply)
    assert all(pieces) and len(pieces) == 2 + -(-count // ZONES_AT_ONCE)
    assert [zone["zone"] for zone in json.loads(b"".join(pieces))["result"]] == [
        f"z{number}.test." for number in range(count)
    ]


def test_metadata_is_empty_and_the_rest_a_plain_no() -> None:
    assert ask("initialize", path="/run/geodns.sock") is True
    assert ask("getAllDomainMetadata", name="example.test.") == {}
    assert ask("getDomainMetadata", name="example.test.", kind="SOA-EDIT") == []
    for method in (
        "list",
        "getDomainKeys",
        "getBeforeAndAfterNamesAbsolute",
        "setDomainMetadata",
        "directBackendCmd",
        "searchRecords",
        "getTSIGKey",
        "createDomain",
        "feedRecord",
        "getUpdatedMasters",
        "answer",
        "__init__",
        "",
    ):
        assert ask(method, zonename="example.test.", domain_id=2) is False  # fmt: skip


def test_before_anything_is_served_lookups_fail_and_zones_are_waited_for() -> None:
    """An empty list, or none, would make PowerDNS refuse every name until it asks again, minutes later."""
    lookup = FixedLookup(None)
    session = RemoteSession(lookup)
    question = {"method": "lookup", "parameters": {"qname": "example.test.", "qtype": "SOA", "remote": "0.0.0.0"}}
    assert session.answer(json.dumps(question).encode()) == b'{"result": null}\n'
    assert session.answer(b'{"method": "getDomainInfo", "parameters": {"name": "example.test."}}') == b'{"result": null}\n'
    reply = session.answer(b'{"method": "getAllDomains", "parameters": {"include_disabled": true}}')
    assert not isinstance(reply, bytes)
    assert [next(reply), next(reply)] == [b"", b""]
    lookup.snapshot = power_snapshot()
    assert len(json.loads(b"".join(reply))["result"]) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"method": 5}',
        b'{"method": "lookup", "parameters": []}',
        b'{"method": "lookup"}',
        b'{"method": "lookup", "parameters": {"qname": "a.", "qtype": "ANY"}}',
        b'{"method": "lookup", "parameters": {"qname": 5, "qtype": "ANY", "remote": "::"}}',
        b'{"method": "lookup", "parameters": {"qname": "a..b", "qtype": "ANY", "remote": "::"}}',
        b'{"method": "lookup", "parameters": {"qname": "a.", "qtype": "A B", "remote": "::"}}',
        b'{"method": "lookup", "parameters": {"qname": "a.", "qtype": "ANY", "remote": "nobody"}}',
        b'{"method": "getDomainInfo", "parameters": {"name": null}}',
        b"\xff\xfe{",
        b"[" * 60_000,
        b'{"method": ' + b"9" * 60_000 + b"}",
        b'{"a":' * 20_000,
    ],
)
def test_garbage_is_null_which_nobody_remembers(line: bytes) -> None:
    lookup = FixedLookup(power_snapshot())
    session = RemoteSession(lookup)
    assert session.answer(line) == b'{"result": null}\n'
    assert lookup.misreads == 1
    assert session.answer(b'{"method": "initialize", "parameters": {}}') == b'{"result": true}\n'


def test_a_line_too_long_is_one_line() -> None:
    lookup = FixedLookup(power_snapshot())
    assert RemoteSession(lookup).answer(None) == b'{"result": null}\n'
    assert lookup.misreads == 1


METHODS = st.sampled_from(
    ["lookup", "initialize", "list", "getAllDomains", "getDomainInfo", "getDomainMetadata", "getAllDomainMetadata"]
)
KEYS = st.sampled_from(["qname", "qtype", "remote", "real-remote", "zone-id", "name", "kind", "x"])
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
        st.sampled_from(["example.test.", "www.example.test", "ANY", "SOA", "127.0.0.1", "10.0.0.0/8", "::", "."]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=4,
)  # fmt: skip
QUESTIONS = st.fixed_dictionaries({"method": METHODS}, optional={"parameters": st.dictionaries(KEYS, VALUES, max_size=6)})


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=60), VALUES.map(lambda v: json.dumps(v).encode()), QUESTIONS.map(lambda q: json.dumps(q).encode())
    )
)
def test_always_one_object_with_a_result_for_a_line(line: bytes) -> None:
    reply = answer(RemoteSession(FixedLookup(power_snapshot())), line)
    assert reply.endswith(b"\n") and reply.count(b"\n") == 1 and reply.isascii()
    decoded = json.loads(reply)
    assert decoded.keys() == {"result"}
    assert decoded["result"] is None or isinstance(decoded["result"], (bool, list, dict))


@settings(deadline=None)
@given(st.data())
def test_always_the_records_of_records_at(data: st.DataObject) -> None:
    snapshot, draw = power_snapshot(), data.draw(st.integers(0, 2**64 - 1))
    owner = data.draw(st.sampled_from(sorted(snapshot.zones.names)))
    resolver, subnet = data.draw(st.ip_addresses()), data.draw(st.ip_addresses(v=4))
    given = {
        "qname": name_text(owner),
        "qtype": "ANY",
        "remote": str(resolver),
        "real-remote": f"{subnet}/24",
        "zone-id": -1,
    }
    reply = answer(
        RemoteSession(FixedLookup(snapshot, draw)), json.dumps({"method": "lookup", "parameters": given}).encode()
    )
    _, zone, records = records_at(snapshot, owner, parse_client(str(resolver), f"{subnet}/24"), draw)
    assert zone is not None
    wanted = [
        (scope, int(mine), zone.number + 1, rtype, ttl_of(tail), rdata_of(tail))
        for rtype, tails, scope, mine in records
        for tail in tails
    ]
    assert [read_record(record, name_text(owner)) for record in json.loads(reply)["result"]] == wanted


def read_record(record: dict[str, Any], asked: str) -> tuple[int, int, int, int, int, bytes]:
    assert record["qname"] == asked
    about = record["scopeMask"], record["auth"], record["domain_id"]
    if record["qtype"] == "ENT":
        return *about, EMPTY, record["ttl"], b""
    number = dns.rdatatype.from_text(record["qtype"])
    rdata = dns.rdata.from_text("IN", number, record["content"])
    return *about, int(number), record["ttl"], rdata.to_wire() or b""


def test_names_and_texts_are_escaped_once_for_json_and_once_for_dns() -> None:
    (found,) = look_up("dot\\.ted.odd.example.test.")
    assert (found["qname"], found["content"]) == ("dot\\.ted.odd.example.test.", '"tab\\009 \\"quoted\\""')
    assert parse_name_text(found["qname"]).startswith(b"\x07dot.ted\x03odd")
