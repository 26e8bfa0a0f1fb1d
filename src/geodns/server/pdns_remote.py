"""The protocol of PowerDNS's remote backend on a unix socket: one JSON object a line in, one out.

Knows the methods, and the JSON types that PowerDNS demands: a TTL that is a string counts as 0. Knows nothing of sockets, of
how a stream is cut into lines, or of records (`pdns_answer`). ``false`` says "no data", which PowerDNS may remember for all
clients; so whatever goes wrong is ``null``, which it tells its client as SERVFAIL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import WireError
from ..lookup import FAILED
from ..snapshot import Zone
from ..wire.constants import EMPTY
from ..wire.name import name_text
from ..wire.rdata_text import parse_type, type_text, write_generic
from .pdns_answer import Lookup, Power, PowerText, parse_client, parse_qname, zone_id

NULL, FALSE, TRUE = (b'{"result": %s}\n' % word for word in (b"null", b"false", b"true"))
ZONES_AT_ONCE = 200  # zones written between two looks at the sockets: about a millisecond
SERIAL_FROM_END = 20  # octets: the serial is the first of five numbers at the end of an SOA, RFC 1035 3.3.13
NOTHING = write_generic(b"")

# Octets at once, or in pieces; an empty piece says that there is nothing yet, and to ask again after a while.
Reply = bytes | Iterator[bytes]
_encode = json.JSONEncoder(separators=(",", ":")).encode


class RemoteSession:
    """One connection. Nothing is agreed on in this protocol, so it remembers nothing."""

    failure = NULL

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._methods: Mapping[str, Callable[[Mapping[str, Any]], Reply]] = {
            "lookup": self._answer_lookup,
            "initialize": lambda _: TRUE,
            "getAllDomains": lambda _: self._list_zones(),
            "getDomainInfo": self._answer_info,
            "getDomainMetadata": lambda _: b'{"result": []}\n',
            "getAllDomainMetadata": lambda _: b'{"result": {}}\n',
        }

    def answer(self, line: bytes | None) -> Reply:
        """The reply to one *line* (without its end; None: too long to be read)."""
        question = None if line is None else _read(line)
        if question is None:
            return self._misread()
        # What we do not offer is a plain no: transfers (`list`), keys, metadata that could be set, searches.
        method = self._methods.get(question[0])
        return FALSE if method is None else method(question[1])

    def _misread(self) -> bytes:
        self._lookup.misread()
        return NULL

    def _answer_lookup(self, given: Mapping[str, Any]) -> bytes:
        qname, qtype, remote, subnet = (given.get(key) for key in ("qname", "qtype", "remote", "real-remote"))
        if not (isinstance(qname, str) and isinstance(qtype, str) and isinstance(remote, str)):
            return self._misread()
        name = parse_qname(qname)
        try:
            client = parse_client(remote, subnet if isinstance(subnet, str) else None)
            rtype = parse_type(qtype)
        except (WireError, ValueError):
            return self._misread()
        # `zone-id` is not looked at: it may be -1, from before a reload, or another backend's.
        return self._misread() if name is None else _write_records(qname, self._lookup.find(name, rtype, client))

    def _list_zones(self) -> Iterator[bytes]:
        """All zones, in pieces. PowerDNS refuses every name while its list is empty, for minutes: so it waits for ours."""
        while (zones := self._lookup.zones()) is None:
            yield b""
        yield b'{"result": ['
        for at in range(0, len(zones), ZONES_AT_ONCE):
            piece = ",".join([_encode(_describe(zone)) for zone in zones[at : at + ZONES_AT_ONCE]])
            yield (("," if at else "") + piece).encode()
        yield b"]}\n"

    def _answer_info(self, given: Mapping[str, Any]) -> bytes:
        text = given.get("name")
        name = parse_qname(text) if isinstance(text, str) else None
        if name is None:
            return self._misread()
        if self._lookup.zones() is None:
            return NULL
        zone = self._lookup.zone(name)
        return FALSE if zone is None else _result(_describe(zone))


def _read(line: bytes) -> tuple[str, Mapping[str, Any]] | None:
    """Method and parameters; None for what is no question."""
    try:
        question = json.loads(line)
    except (ValueError, RecursionError):  # among the former: no UTF-8, and numbers of thousands of digits
        return None
    if not isinstance(question, dict):
        return None
    method, given = question.get("method"), question.get("parameters", {})
    return (method, given) if isinstance(method, str) and isinstance(given, dict) else None


def _write_records(qname: str, power: Power) -> bytes:
    status, zone, records = power
    if status == FAILED:
        return NULL
    return _result([_write_record(qname, zone, record) for record in records])


def _write_record(qname: str, zone: int, record: PowerText) -> Mapping[str, object]:
    rtype, ttl, text, scope, mine = record
    # Here PowerDNS has a word of its own for a name that exists and holds nothing. A zone may have data of the type that
    # stands for it elsewhere.
    nothing = rtype == EMPTY and text == NOTHING
    return {
        "qtype": "ENT" if nothing else type_text(rtype),
        "qname": qname,
        "content": "" if nothing else text,
        "ttl": ttl,
        "domain_id": zone,
        "scopeMask": scope,
        "auth": int(mine),
    }


def _describe(zone: Zone) -> Mapping[str, Any]:
    return {
        "id": zone_id(zone),
        "zone": name_text(zone.apex),
        "kind": "native",
        "masters": [],
        "serial": int.from_bytes(zone.soa[-SERIAL_FROM_END:][:4], "big"),
        "notified_serial": 0,
        "last_check": 0,
    }


def _result(value: object) -> bytes:
    return b'{"result": %s}\n' % _encode(value).encode()
