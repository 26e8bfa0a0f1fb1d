"""Asking: against servers made up here that say right, wrong and senseless things."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.ask import AskError, ask, main
from geodns.errors import WireError
from geodns.wire.stream import frame

Respond = Callable[[bytes], list[bytes]]


def silence(query: bytes) -> list[bytes]:
    return []


def answer_udp(receiver: socket.socket, respond: Respond) -> None:
    while True:
        query, peer = receiver.recvfrom(4096)
        if query == b"end":
            return
        for reply in respond(query):
            receiver.sendto(reply, peer)


def answer_tcp(listener: socket.socket, respond: Respond) -> None:
    while True:
        accepted, _ = listener.accept()
        with accepted:
            octets = accepted.recv(4096)
            if octets == b"end":
                return
            for reply in respond(octets[2:]):
                accepted.sendall(reply)


@contextmanager
def serving(udp: Respond, tcp: Respond = silence) -> Iterator[int]:
    """A server on a free port that sends what *udp* and *tcp* return for each query; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        where = listener.getsockname()
        receiver.bind(where)
        threads = [
            threading.Thread(target=answer_udp, args=(receiver, udp)),
            threading.Thread(target=answer_tcp, args=(listener, tcp)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield where[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", where)
            with socket.create_connection(where) as connection:
                connection.sendall(b"end")
            for thread in threads:
                thread.join()


def reply_to(query: bytes, *, scope: int | None = None, truncated: bool = False, rcode: int = 0) -> bytes:
    asked = dns.message.from_wire(query)
    reply = dns.message.make_response(asked)
    reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.Rcode(rcode))
    if truncated:
        reply.flags |= dns.flags.TC
    elif rcode == 0:
        reply.answer.append(dns.rrset.from_text(asked.question[0].name, 30, "IN", "A", "192.0.2.1", "192.0.2.2"))
    if scope is not None:
        option = next(o for o in asked.options if isinstance(o, dns.edns.ECSOption))
        reply.use_edns(0, options=[dns.edns.ECSOption(option.address, option.srclen, scope)])
    return reply.to_wire()


def test_answer_is_read() -> None:
    with serving(lambda query: [reply_to(query)]) as port:
        reply = ask("127.0.0.1", port, "www.example.com", "A")
    assert (reply.rcode, reply.authoritative, reply.truncated, reply.transport) == ("NOERROR", True, False, "udp")
    assert sorted((r.name, r.ttl, r.rtype, r.rdata) for r in reply.answer) == [  # dnspython shuffles
        ("www.example.com.", 30, "A", "192.0.2.1"),
        ("www.example.com.", 30, "A", "192.0.2.2"),
    ]
    assert reply.scope is None


@pytest.mark.parametrize(
    ("subnet", "octets"), [("20.1.2.0/23", "20.1.2.0"), ("2001:db8:8000::/33", "2001:db8:8000::"), ("0.0.0.0/0", "0.0.0.0")]
)
def test_subnet_goes_out_and_scope_comes_back(subnet: str, octets: str) -> None:
    seen: list[dns.edns.ECSOption] = []

    def respond(query: bytes) -> list[bytes]:
        seen.extend(o for o in dns.message.from_wire(query).options if isinstance(o, dns.edns.ECSOption))
        return [reply_to(query, scope=17)]

    with serving(respond) as port:
        reply = ask("127.0.0.1", port, "www.example.com", "A", subnet=ip_network(subnet))
    assert reply.scope == 17
    assert [(o.address, o.srclen, o.scopelen) for o in seen] == [(octets, ip_network(subnet).prefixlen, 0)]


def test_truncated_reply_is_asked_again_over_tcp() -> None:
    with serving(lambda query: [reply_to(query, truncated=True)], lambda query: [frame(reply_to(query))]) as port:
        reply = ask("127.0.0.1", port, "www.example.com", "A")
    assert reply.transport == "tcp"
    assert len(reply.answer) == 2


def test_reply_over_tcp_may_come_in_pieces() -> None:
    def respond(query: bytes) -> list[bytes]:
        whole = frame(reply_to(query))
        return [whole[i : i + 1] for i in range(len(whole))]

    with serving(silence, respond) as port:
        assert len(ask("127.0.0.1", port, "www.example.com", "A", tcp=True).answer) == 2


def test_replies_to_others_are_passed_over() -> None:
    def respond(query: bytes) -> list[bytes]:
        right = reply_to(query)
        wrong_id = bytes((right[0] ^ 1,)) + right[1:]
        wrong_name = right.replace(b"example", b"exbmple", 1)
        return [b"", b"x", query, wrong_id, wrong_name, right]

    with serving(respond) as port:
        assert ask("127.0.0.1", port, "www.example.com", "A").rcode == "NOERROR"


def test_silence_is_an_error_that_names_the_server() -> None:
    with (
        serving(silence) as port,
        pytest.raises(AskError, match=rf"^127\.0\.0\.1 port {port}: no reply over udp within 0\.05 s$"),
    ):
        ask("127.0.0.1", port, "www.example.com", "A", timeout=0.05)


def test_nobody_there_is_an_error() -> None:
    with serving(silence) as port:
        pass
    with pytest.raises(AskError, match="Connection refused"):
        ask("127.0.0.1", port, "www.example.com", "A")


def test_connection_that_ends_early_is_an_error() -> None:
    with (
        serving(silence, lambda query: [frame(reply_to(query))[:-3]]) as port,
        pytest.raises(AskError, match="closed the connection"),
    ):
        ask("127.0.0.1", port, "www.example.com", "A", tcp=True)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12), st.integers(0, 60))
def test_never_raises_anything_but_ask_error(changes: list[tuple[int, int]], cut: int) -> None:
    """Damage anything behind the question, which is what makes the reply ours."""

    def respond(query: bytes) -> list[bytes]:
        reply = bytearray(reply_to(query))
        first = 12 + len(b"\x03www\x07example\x03com\x00") + 4
        for at, octet in changes:
            reply[first + at % (len(reply) - first)] = octet
        return [bytes(reply[: max(first, len(reply) - cut)])]

    with serving(respond) as port:
        try:
            reply = ask("127.0.0.1", port, "www.example.com", "A")
        except AskError as error:
            assert "\n" not in str(error)
        else:
            assert reply.rcode == "NOERROR" or reply.rcode.startswith(("BAD", "RCODE"))


def test_label_that_dnslib_cannot_read_is_an_error_in_one_line() -> None:
    """It takes labels for UTF-8."""
    with serving(lambda query: [reply_to(query)]) as port, pytest.raises(AskError, match="cannot be read") as caught:
        ask("127.0.0.1", port, r"a\255b.example.com.", "A")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("qtype", "number"), [("a", 1), ("TYPE65400", 65400), ("HTTPS", 65), ("ANY", 255)])
def test_types_by_name_and_number(qtype: str, number: int) -> None:
    seen = []

    def respond(query: bytes) -> list[bytes]:
        seen.append(int(dns.message.from_wire(query).question[0].rdtype))
        return [reply_to(query, rcode=5)]

    with serving(respond) as port:
        assert ask("127.0.0.1", port, "www.example.com", qtype).rcode == "REFUSED"
    assert seen == [number]


def test_what_cannot_be_asked() -> None:
    with pytest.raises(AskError, match="NOTYPE: not a record type"):
        ask("127.0.0.1", 1, "www.example.com", "NOTYPE")
    with pytest.raises(WireError):
        ask("127.0.0.1", 1, "a..b", "A")


@pytest.mark.parametrize(("rcode", "status"), [(0, 0), (3, 0), (5, 0), (2, 1)])
def test_command_tells_a_server_that_is_able(rcode: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda query: [reply_to(query, rcode=rcode)]) as port:
        assert main(["@127.0.0.1", "-p", str(port), "www.example.com", "A"]) == status
    out = capsys.readouterr().out
    assert out.startswith(f";; {dns.rcode.to_text(dns.rcode.Rcode(rcode))} aa: ")
    assert ("www.example.com. 30 IN A 192.0.2.1" in out.splitlines()) is (rcode == 0)


def test_command_fails_where_nobody_replies(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(silence) as port:
        assert main(["@127.0.0.1", "-p", str(port), "--timeout", "0.05", "."]) == 1
    assert capsys.readouterr().err == f"127.0.0.1 port {port}: no reply over udp within 0.05 s\n"
    assert main(["@localhost", "."]) == 1
