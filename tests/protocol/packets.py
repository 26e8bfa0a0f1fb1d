"""Packets as octets, so that a test can also break them; and the two ways to send one to a daemon.

Knows the layout of messages (RFC 1035 4.1, RFC 6891 6.1.2, RFC 7871 6). Knows nothing of what is right.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import dns.edns
import dns.message
import dns.name
import dns.rdatatype

ID = 0x2B67
PROBE_ID = 0xBEEF
PATIENCE = 5.0
RD, AD, CD, Z, QR, AA, TC, RA = 0x0100, 0x0020, 0x0010, 0x0040, 0x8000, 0x0400, 0x0200, 0x0080
ECS, COOKIE, NSID, KEEPALIVE, PADDING = 8, 10, 3, 11, 12


def wire_name(text: str) -> bytes:
    """A name in wire form, its case as written."""
    return dns.name.from_text(text).to_wire() or b"\0"


def header(flags: int = 0, counts: tuple[int, int, int, int] = (1, 0, 0, 0), ident: int = ID) -> bytes:
    """The twelve octets before the question."""
    return struct.pack("!6H", ident, flags, *counts)


def question(name: str | bytes, rtype: str | int = "A", rclass: int = 1) -> bytes:
    """One question; *name* as text or already in wire form."""
    number = dns.rdatatype.from_text(rtype) if isinstance(rtype, str) else rtype
    return (wire_name(name) if isinstance(name, str) else name) + struct.pack("!HH", number, rclass)


def option(code: int, octets: bytes = b"") -> bytes:
    """One EDNS option."""
    return struct.pack("!HH", code, len(octets)) + octets


def subnet(family: int, source: int, address: bytes, scope: int = 0) -> bytes:
    """A client subnet option, well formed or not."""
    return option(ECS, struct.pack("!HBB", family, source, scope) + address)


def opt(options: bytes = b"", *, size: int = 1232, version: int = 0, flags: int = 0, rcode: int = 0) -> bytes:
    """An OPT record."""
    return b"\0" + struct.pack("!HHBBHH", 41, size, rcode, version, flags, len(options)) + options


def query(name: str | bytes, rtype: str | int = "A", *, flags: int = 0, rclass: int = 1, edns: bytes | None = None) -> bytes:
    """A whole query; *edns* is an OPT record (or several records, then the count is that of OPTs beginning)."""
    counts = (1, 0, 0, 0 if edns is None else 1)
    return header(flags, counts) + question(name, rtype, rclass) + (edns or b"")


@dataclass(frozen=True, slots=True)
class Daemon:
    """Where the daemon under test listens."""

    address: str
    port: int
    probe: bytes  # a question that it answers, with PROBE_ID

    def exchange(self, packet: bytes, transport: str) -> bytes | None:
        """The reply to *packet*, or None for silence (or, over TCP, a connection that was closed).

        Behind it goes an ordinary question, on the same socket: when that is answered, there was nothing to come before
        (the daemon reads by one thread, and nothing sent here over UDP is one that the native engine leaves to Python).
        So silence costs no waiting, and every exchange shows that the server lives on.
        """
        return (self._over_udp if transport == "udp" else self._over_tcp)(packet)

    def _over_udp(self, packet: bytes) -> bytes | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE)
            asking.connect((self.address, self.port))
            asking.send(packet)
            asking.send(self.probe)
            first = asking.recv(65535)
            if first[:2] == self.probe[:2]:
                assert_probe_answered(first)
                return None
            assert_probe_answered(asking.recv(65535))
            return first

    def _over_tcp(self, packet: bytes) -> bytes | None:
        with self.connect() as asking:
            try:
                send_messages(asking, [packet, self.probe])
                first = receive_message(asking)
                if first is not None and first[:2] != self.probe[:2]:
                    assert_probe_answered(receive_message(asking))
                    return first
            except ConnectionError:
                first = None
        if first is None:  # closed: then a new connection must do
            with self.connect() as asking:
                send_messages(asking, [self.probe])
                first = receive_message(asking)
        assert_probe_answered(first)
        return None

    def connect(self) -> socket.socket:
        """A TCP connection to the daemon."""
        return socket.create_connection((self.address, self.port), PATIENCE)


def send_messages(asking: socket.socket, packets: Iterable[bytes]) -> None:
    """Send *packets* in one go, each with its length before it."""
    asking.sendall(b"".join(struct.pack("!H", len(packet)) + packet for packet in packets))


def receive_message(asking: socket.socket) -> bytes | None:
    """The next message of a TCP connection; None when the other side has closed it."""
    size = receive_octets(asking, 2)
    return None if size is None else receive_octets(asking, int.from_bytes(size, "big"))


def receive_octets(asking: socket.socket, count: int) -> bytes | None:
    """Exactly *count* octets; None at the end of the stream."""
    found = b""
    while len(found) < count:
        more = asking.recv(count - len(found))
        if not more:
            return None
        found += more
    return found


def assert_probe_answered(reply: bytes | None) -> None:
    """*reply* is a whole, positive answer to the ordinary question."""
    assert reply is not None, "the daemon does not answer an ordinary question any more"
    message = parse(reply)
    assert message.id == PROBE_ID
    assert message.rcode() == 0
    assert message.answer, "the ordinary question has no answer"


def parse(reply: bytes | None) -> dns.message.Message:
    """*reply* decoded by a library that is not ours; it must be there, and hold nothing behind its last record."""
    assert reply is not None, "no reply"
    return dns.message.from_wire(reply)


def find_options(message: dns.message.Message, code: int) -> list[dns.edns.Option]:
    """All options of one code in the OPT of *message*."""
    return [found for found in message.options if found.otype == code]
