"""TCP: RFC 1035 4.2.2, 7766, 7828, 9210 by the ids of our checklist."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time

import dns.flags
import dns.rcode
import pytest
from tests.protocol.packets import (
    KEEPALIVE,
    Daemon,
    assert_probe_answered,
    find_options,
    header,
    opt,
    option,
    parse,
    query,
    question,
    receive_message,
    receive_octets,
    send_messages,
    subnet,
)

NAMES = [
    "set.example.test",
    "www.example.test",
    "absent.example.test",
    "sub.example.test",
    "www.example.net",
    "alias.example.test",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edns", [None, opt(), opt(subnet(1, 24, b"\x14\1\2"))])
def test_T1_the_same_answers_on_the_same_port(daemon: Daemon, name: str, edns: bytes | None) -> None:
    packet = query(name, edns=edns)
    assert daemon.exchange(packet, "tcp") == daemon.exchange(packet, "udp")


def test_T2_a_query_may_arrive_octet_by_octet(daemon: Daemon) -> None:
    packet = query("set.example.test")
    with daemon.connect() as asking:
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in struct.pack("!H", len(packet)) + packet:
            asking.sendall(bytes([octet]))
        assert parse(receive_message(asking)).answer
        for size in (1, 2, 3, 20):  # the same connection, cut elsewhere
            whole = struct.pack("!H", len(packet)) + packet
            asking.sendall(whole[:size])
            asking.sendall(whole[size:])
            assert parse(receive_message(asking)).answer


def test_T3_length_and_message_leave_together(daemon: Daemon) -> None:
    """RFC 7766 8: both "SHOULD" go out in one write; one read on an idle loopback then finds both."""
    whole = 0
    for _ in range(5):
        with daemon.connect() as asking:
            send_messages(asking, [query("set.example.test")])
            first = asking.recv(65535)
            whole += len(first) == 2 + int.from_bytes(first[:2], "big")
    assert whole == 5


def test_T4_several_queries_without_waiting(daemon: Daemon) -> None:
    packets = [header(ident=i) + question(NAMES[i % len(NAMES)]) for i in range(200)]
    with daemon.connect() as asking:
        send_messages(asking, packets)
        found = [receive_message(asking) for _ in packets]
    assert sorted(parse(reply).id for reply in found) == list(range(200))
    for reply in found:
        message = parse(reply)
        assert message.question[0].name.to_text().rstrip(".") == NAMES[message.id % len(NAMES)]


def test_T5_the_answer_goes_to_the_connection_that_asked(daemon: Daemon) -> None:
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(daemon.connect()) for _ in range(8)]
        for i, asking in enumerate(open_ones):
            send_messages(asking, [header(ident=i) + question("set.example.test")])
        for i, asking in reversed(list(enumerate(open_ones))):
            assert parse(receive_message(asking)).id == i


def test_T6_idle_connections_are_closed(daemon: Daemon) -> None:
    """The configuration of the test says 2 s; a query starts the clock anew."""
    with daemon.connect() as asking:
        send_messages(asking, [daemon.probe])
        assert_probe_answered(receive_message(asking))
        begun = time.monotonic()
        assert receive_octets(asking, 1) is None
        assert 1.0 < time.monotonic() - begun < 4.9


def test_T7_T8_silent_connections_from_one_address_keep_nobody_out(daemon: Daemon) -> None:
    """30 connections an address are allowed; whoever comes next is served all the same, and UDP never notices."""
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(daemon.connect())
        assert parse(daemon.exchange(query("set.example.test"), "tcp")).answer
        assert parse(daemon.exchange(query("set.example.test"), "udp")).answer
        with socket.socket() as other:  # another address of the same machine
            other.bind(("127.0.0.9", 0))
            other.settimeout(5.0)
            other.connect((daemon.address, daemon.port))
            send_messages(other, [query("set.example.test")])
            assert parse(receive_message(other)).answer


def test_T9_who_asks_and_never_reads_is_cut_off(daemon: Daemon) -> None:
    """More is asked for than sockets hold; then either side of the connection ends, and nobody else waits."""
    packet = query("huge.example.test", "TXT")
    with socket.socket() as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking.settimeout(0.5)
        asking.connect((daemon.address, daemon.port))
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(400):  # 400 x 26 kB of replies
                send_messages(asking, [packet] * 10)
        assert parse(daemon.exchange(query("set.example.test"), "tcp")).answer
        assert parse(daemon.exchange(query("set.example.test"), "udp")).answer
        asking.settimeout(20.0)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while more := asking.recv(1 << 20):
                received += len(more)
        assert received < 400 * 10 * 26_000


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"\0\0", id="length 0"),
        pytest.param(b"\0\5hello", id="shorter than a header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), id="TLS"),
        pytest.param(random.Random(7).randbytes(3000), id="random"),
    ],
)
def test_T10_what_is_no_dns_is_closed_and_nobody_notices(daemon: Daemon, octets: bytes) -> None:
    with daemon.connect() as asking, contextlib.suppress(ConnectionError):
        asking.sendall(octets)
        asking.shutdown(socket.SHUT_WR)
        while asking.recv(65535):
            pass
    for transport in ("udp", "tcp"):
        assert parse(daemon.exchange(query("set.example.test"), transport)).answer


def test_T11_what_was_asked_before_the_end_is_answered(daemon: Daemon) -> None:
    packets = [header(ident=i) + question("set.example.test") for i in range(5)]
    with daemon.connect() as asking:
        send_messages(asking, packets)
        asking.shutdown(socket.SHUT_WR)
        assert sorted(parse(receive_message(asking)).id for _ in packets) == list(range(5))
        assert receive_octets(asking, 1) is None


def test_T12_keepalive(daemon: Daemon) -> None:
    """RFC 7828 3.3: over UDP ignored; over TCP two octets, in units of 100 ms, and true, if it is answered at all."""
    asked = query("set.example.test", edns=opt(option(KEEPALIVE)))
    over_udp = parse(daemon.exchange(asked, "udp"))
    assert over_udp.answer
    assert not find_options(over_udp, KEEPALIVE)
    with daemon.connect() as asking:
        send_messages(asking, [asked])
        reply = parse(receive_message(asking))
        assert reply.answer
        for found in find_options(reply, KEEPALIVE):
            octets = found.to_wire() or b""
            assert len(octets) == 2
            assert int.from_bytes(octets, "big") <= 20


@pytest.mark.parametrize("rtype", ["AXFR", "IXFR"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_T13_the_zone_is_not_given_away(daemon: Daemon, rtype: str, transport: str) -> None:
    reply = parse(daemon.exchange(query("example.test", rtype), transport))
    assert reply.rcode() in (dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.FORMERR, dns.rcode.NOTAUTH)
    assert not reply.answer


def test_T14_stateful_operations_are_notimp(daemon: Daemon) -> None:
    for transport in ("udp", "tcp"):
        reply = daemon.exchange(header(6 << 11, (0, 0, 0, 0)) + b"\0\1\0\4" + bytes(4), transport)
        assert reply is not None
        assert reply[3] & 15 == dns.rcode.NOTIMP
