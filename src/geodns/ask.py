"""Asking another server one question, and reading what it replies with suspicion.

Knows sockets, time-outs and dnslib, which is used nowhere else. Knows nothing of our own zones: this is for probes,
for `python -m geodns.ask` (a container's health check), and for whoever wants to see what a server says.
"""

from __future__ import annotations

import argparse
import secrets
import socket
import struct
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, cast

import dnslib

from .errors import GeodnsError
from .wire.constants import FAMILY_IPV4, FAMILY_IPV6, HEADER_SIZE, OPTION_SUBNET, TCP_SIZE
from .wire.name import label_starts, name_text, parse_name_text, skip_name
from .wire.stream import frame

PORT = 53
EDNS_SIZE = 1232  # RFC 9715: what passes everywhere unfragmented
SUBNET = struct.Struct("!HBB")  # RFC 7871 6: family, source prefix length, scope prefix length

Subnet = IPv4Network | IPv6Network


class AskError(GeodnsError):
    """No reply in time, or one that makes no sense; the text names the server."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a reply, rdata in presentation form."""

    name: str
    ttl: int
    rtype: str
    rdata: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said."""

    rcode: str  # "NOERROR"; "RCODE23" where it has no name
    authoritative: bool
    truncated: bool  # also over TCP: a fault of the server's
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    scope: int | None  # of client subnet; None where the reply says nothing of it
    transport: str  # "udp" or "tcp"
    size: int  # octets
    seconds: float


def ask(
    server: str, port: int, name: str, qtype: str, *, subnet: Subnet | None = None, tcp: bool = False, timeout: float = 2.0
) -> Reply:
    """Ask the *server* (an address) for *name* and *qtype*; by UDP, and again by TCP if the reply is truncated.

    *timeout* in seconds holds for each of the two. Raises AskError, and WireError for a name that cannot be asked for.
    """
    query = write_query(name, qtype, subnet)
    began = time.monotonic()
    transport = "tcp" if tcp else "udp"
    try:
        octets = (_ask_tcp if tcp else _ask_udp)(server, port, query, began + timeout)
        if not tcp and octets[2] & 2:  # RFC 1035 4.1.1: TC; RFC 7766 5: then TCP must be tried
            transport = "tcp"
            octets = _ask_tcp(server, port, query, time.monotonic() + timeout)
    except TimeoutError as error:
        raise AskError(f"{server} port {port}: no reply over {transport} within {timeout:g} s") from error
    except OSError as error:
        raise AskError(f"{server} port {port}: {error.strerror or error}") from error
    return _read(octets, f"{server} port {port}", transport, time.monotonic() - began)


def write_query(name: str, qtype: str, subnet: Subnet | None = None, *, recurse: bool = False) -> bytes:
    """A query with a random id; *recurse* sets RD. Raises AskError, and WireError for a name that cannot be asked for."""
    wire = parse_name_text(name)
    starts = label_starts(wire)
    labels = tuple(wire[at + 1 : at + 1 + wire[at]] for at in starts[:-1])
    options = []
    if subnet is not None:
        family = FAMILY_IPV4 if subnet.version == 4 else FAMILY_IPV6
        kept = subnet.network_address.packed[: (subnet.prefixlen + 7) // 8]  # RFC 7871 6: as many octets as needed
        options = [dnslib.EDNSOption(OPTION_SUBNET, SUBNET.pack(family, subnet.prefixlen, 0) + kept)]
    query = dnslib.DNSRecord(
        dnslib.DNSHeader(id=secrets.randbits(16), rd=int(recurse)),
        q=dnslib.DNSQuestion(dnslib.DNSLabel(labels), _type_number(qtype)),
    )
    query.add_ar(dnslib.EDNS0(udp_len=EDNS_SIZE, opts=options))
    return bytes(query.pack())


def _type_number(qtype: str) -> int:
    """The number of a type. RFC 3597 5: TYPE65400 names one that has no name here."""
    known = dnslib.QTYPE.reverse.get(qtype.upper())
    if known is not None:
        return int(known)
    digits = qtype.upper().removeprefix("TYPE")
    if digits != qtype.upper() and digits.isascii() and digits.isdigit() and int(digits) <= 0xFFFF:
        return int(digits)
    raise AskError(f"{qtype}: not a record type")


def _ask_udp(server: str, port: int, query: bytes, deadline: float) -> bytes:
    """The reply to *query*; whatever else arrives on the socket is passed over. The kernel keeps other senders out."""
    family = socket.AF_INET6 if ip_address(server).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((server, port))
        asking.send(query)
        while True:
            asking.settimeout(_left(deadline))
            octets = asking.recv(TCP_SIZE)
            if belongs(octets, query):
                return octets


def _ask_tcp(server: str, port: int, query: bytes, deadline: float) -> bytes:
    with socket.create_connection((server, port), _left(deadline)) as asking:
        asking.sendall(frame(query))
        octets = _receive(asking, int.from_bytes(_receive(asking, 2, deadline)), deadline)
    if not belongs(octets, query):
        raise AskError(f"{server} port {port}: the reply over tcp belongs to another question")
    return octets


def _receive(asking: socket.socket, count: int, deadline: float) -> bytes:
    """*count* octets. Raises OSError where the server closes before them, or *deadline* passes."""
    octets = b""
    while len(octets) < count:
        asking.settimeout(_left(deadline))
        more = asking.recv(count - len(octets))
        if not more:
            raise ConnectionResetError("the server closed the connection")
        octets += more
    return octets


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def belongs(octets: bytes, query: bytes) -> bool:
    """Does the reply have our id, QR, and our question? RFC 5452 9.1; a FORMERR may leave the question out."""
    question = query[HEADER_SIZE : skip_name(query, HEADER_SIZE) + 4]
    if len(octets) < HEADER_SIZE or octets[:2] != query[:2] or not octets[2] & 0x80:
        return False
    return octets[4:6] == b"\0\0" or octets[HEADER_SIZE : HEADER_SIZE + len(question)].lower() == question.lower()


def _read(octets: bytes, server: str, transport: str, seconds: float) -> Reply:
    try:
        parsed = dnslib.DNSRecord.parse(octets)
        rcode, scope = parsed.header.rcode, None
        for extra in parsed.ar:
            if extra.rtype == dnslib.QTYPE.OPT:
                rcode |= (extra.ttl >> 24) << 4  # RFC 6891 6.1.3: the upper bits of the rcode
                scope = next((o.data[3] for o in extra.rdata if o.code == OPTION_SUBNET and len(o.data) > 3), scope)
        return Reply(
            dnslib.RCODE.forward.get(rcode, f"RCODE{rcode}"),
            bool(parsed.header.aa),
            bool(parsed.header.tc),
            tuple(map(_record, parsed.rr)),
            tuple(map(_record, parsed.auth)),
            scope,
            transport,
            len(octets),
            seconds,
        )
    except Exception as error:  # dnslib leaks UnicodeDecodeError, struct.error, IndexError and more beside its own
        raise AskError(f"{server}: a reply of {len(octets)} octets that cannot be read: {error!r}") from error


def _record(rr: Any) -> Record:
    name = b"".join(bytes((len(label),)) + label for label in rr.rname.label) + b"\0"
    rtype = dnslib.QTYPE.forward.get(rr.rtype, f"TYPE{rr.rtype}")
    return Record(name_text(name), int(rr.ttl), rtype, str(rr.rdata))


def main(arguments: list[str] | None = None) -> int:
    """`python -m geodns.ask @127.0.0.1 -p 5300 www.example.com A`; 0 if a server is there and able, else 1.

    REFUSED is able: a health check need not know any name of the zones. SERVFAIL is not.
    """
    parser = argparse.ArgumentParser(prog="python -m geodns.ask", description="Ask a DNS server one question.")
    parser.add_argument("server", metavar="@ADDRESS")
    parser.add_argument("name")
    parser.add_argument("qtype", nargs="?", default="A", metavar="TYPE")
    parser.add_argument("-p", "--port", type=int, default=PORT)
    parser.add_argument("--subnet", metavar="ADDRESS/BITS", type=lambda text: ip_network(text, strict=False))
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS")
    given = parser.parse_args(arguments)
    server = cast(str, given.server).removeprefix("@")
    try:
        ip_address(server)
        reply = ask(
            server, given.port, given.name, given.qtype, subnet=given.subnet, tcp=given.tcp, timeout=given.timeout
        )  # fmt: skip
    except (GeodnsError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    _show(reply)
    return 1 if reply.rcode == "SERVFAIL" else 0


def _show(reply: Reply) -> None:
    facts = [reply.rcode, *(["aa"] if reply.authoritative else []), *(["tc"] if reply.truncated else [])]
    scope = "" if reply.scope is None else f", scope {reply.scope}"
    print(f";; {' '.join(facts)}: {reply.size} octets over {reply.transport} in {reply.seconds * 1000:.1f} ms{scope}")
    for record in reply.answer + reply.authority:
        print(f"{record.name} {record.ttl} IN {record.rtype} {record.rdata}")


if __name__ == "__main__":
    sys.exit(main())
