"""What clients cannot do to the HTTP server: slow ones, many, hostile ones; what else is spoken there; its end."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.operations import FakeOperations
from tests.server.served import LIMIT, Served, read_all, serving

from geodns.server import http as serving_http
from geodns.server.http_exchange import CHUNK, MOST_TAKEN, Bounds

TOKEN = "correct-horse-battery"
QUICK = Bounds(clients=4, request=0.2, reply=0.2, finish=0.2)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, TOKEN) as one:
        yield one


def wait_until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def closes(client: socket.socket, within: float) -> bool:
    """Does the server close *client* without a word?"""
    began = time.monotonic()
    said = read_all(client)
    return said == b"" and time.monotonic() - began < within


def test_every_reply_has_the_same_headers_and_no_version(served: Served) -> None:
    replies = [
        served.ask(request.encode())
        for request in (
            "GET /healthz HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /api/v1/drain HTTP/1.1\r\nHost: x\r\n\r\n",
            "no http at all\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            f"GET /healthz HTTP/1.1\r\nHost: x\r\nA: {'x' * 20_000}\r\n\r\n",
        )
    ]
    for reply in replies:
        head = reply.partition(b"\r\n\r\n")[0].decode().lower()
        assert "\r\nserver: geodns\r\n" in head and "aiohttp" not in head and "python" not in head
        assert "x-content-type-options: nosniff" in head and "default-src 'none'" in head and "no-store" in head
        assert "\r\nconnection: close" in head or head.startswith("http/1.0")
    assert [int(reply.split()[1]) for reply in replies] == [200, 404, 401, 400, 400, 400]


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: f"GET /{text} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))
@settings(deadline=None, max_examples=60)
def test_whatever_arrives_the_next_client_is_served(shared: Served, octets: bytes) -> None:
    said = shared.ask(octets)
    assert said == b"" or re.match(rb"HTTP/1\.[01] (200|400|401|403|404|405|413) ", said)
    assert shared.request("GET", "/healthz")[0] == 200


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("shared"), TOKEN, bounds=Bounds(request=0.05, reply=1, finish=0.05)) as one:
        yield one


def test_one_request_a_connection(served: Served) -> None:
    said = served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    assert said.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /he", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"POST /api/v1/reload HTTP/1.1\r\nContent-Length: 5\r\n"],
)
def test_who_does_not_come_to_the_point_is_closed(tmp_path: Path, control: bool, sent: bytes) -> None:
    with serving(tmp_path, TOKEN, bounds=QUICK) as served, ExitStack() as stack:
        client = stack.enter_context(served.connect_control() if control else served.connect())
        client.sendall(sent)
        assert closes(client, 5)


def test_an_octet_at_a_time_buys_no_time(tmp_path: Path) -> None:
    with serving(tmp_path, TOKEN, bounds=QUICK) as served, served.connect() as client:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            for octet in b"GET /" + b"x" * 5000:
                client.sendall(bytes([octet]))
                time.sleep(0.005)
        assert time.monotonic() - began < 5


def test_a_body_that_never_ends_is_closed_and_is_nobodys_mistake(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    request = f"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n{{"
    with serving(tmp_path, TOKEN, bounds=QUICK) as served:
        served.ask(request.encode())
        with served.connect() as client:
            client.sendall(request.encode())
        assert served.operations.asked == []
    assert caplog.records == []


def test_a_request_of_headers_has_an_end(served: Served) -> None:
    """Each is short enough, and there are not too many of them."""
    headers = "".join(f"A{number}: {'x' * 8000}\r\n" for number in range(1 + MOST_TAKEN // 8000))
    assert served.ask(f"GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()) == b""


def test_who_does_not_take_the_reply_is_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, bounds=QUICK) as served:
        served.operations.large = 20_000  # more than the kernel's buffers hold
        with served.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            wait_until(lambda: served.operations.asked and not served.server._open)


def test_a_long_operation_is_not_cut_short(tmp_path: Path) -> None:
    with serving(tmp_path, bounds=QUICK) as served, served.connect_control() as client:
        served.operations.gate = asyncio.Event()
        client.sendall(b"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        client.settimeout(2 * QUICK.request)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(LIMIT)
        served.set(served.operations.gate)
        assert read_all(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("control", [False, True])
def test_at_the_limit_the_oldest_that_has_not_asked_makes_room(tmp_path: Path, control: bool) -> None:
    bounds = Bounds(clients=4)
    with serving(tmp_path, bounds=bounds) as served, ExitStack() as stack:
        connect = served.connect_control if control else served.connect
        idle = []
        for _ in range(bounds.clients):
            idle.append(stack.enter_context(connect()))
            idle[-1].sendall(b"GET ")
            wait_until(lambda: len(served.server._open) == len(idle))
        assert served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", control).startswith(b"HTTP/1.1 200")
        assert closes(idle[0], 5)
        idle[1].sendall(b"/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(idle[1]).startswith(b"HTTP/1.1 200")


def test_at_the_limit_operations_under_way_are_finished(tmp_path: Path) -> None:
    bounds = Bounds(clients=3)
    with serving(tmp_path, TOKEN, bounds=bounds) as served, ExitStack() as stack:
        served.operations.gate = asyncio.Event()
        reload = f"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}"
        working = [stack.enter_context(served.connect()) for _ in range(bounds.clients)]
        for client in working:
            client.sendall(reload.encode())
        wait_until(lambda: len(served.operations.asked) == bounds.clients)
        assert served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        said = served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", control=True)
        assert said.startswith(b"HTTP/1.1 200"), "TCP clients never keep operators out of the control socket"
        served.set(served.operations.gate)
        assert all(read_all(client).startswith(b"HTTP/1.1 200") for client in working)


def test_a_large_status_leaves_queries_time(tmp_path: Path) -> None:
    """The loop turns at least as often as milliseconds of writing pass; each turn may answer a batch of queries."""
    operations = FakeOperations()
    operations.large = 20_000

    async def count() -> tuple[int, float, int]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turning = asyncio.create_task(turn())
        began = time.thread_time()
        octets = await serving_http.write_facts(await operations.status())
        took = time.thread_time() - began
        turning.cancel()
        return turns, took, len(octets)

    turns, took, size = asyncio.run(count())
    assert size > 10 * CHUNK and turns > took / (10 * serving_http.SLICE)


def test_what_is_no_http_goes_to_whom_it_is_for(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def other(connection: socket.socket, first: bytes) -> None:
        loop = asyncio.get_running_loop()
        heard.append(first)
        await loop.sock_sendall(connection, b"heard " + await loop.sock_recv(connection, 100))
        connection.close()

    with serving(tmp_path, other=other) as served:
        assert served.ask(b"GEODNS-SUCCESSION 1\n", control=True) == b"heard GEODNS-SUCCESSION 1\n", "nothing was taken away"
        assert b"GEODNS-S".startswith(heard[0]) or heard[0].startswith(b"GEODNS-S")
        assert served.ask(b"\x00", control=True) == b"heard \x00"
        assert len(heard) == 2
        assert served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", control=True).startswith(b"HTTP/1.1 200")
        said = served.ask(b"GEODNS-SUCCESSION 1\n")
        assert said.split()[1] == b"400" and len(heard) == 2, "over TCP there is HTTP alone"


def test_it_is_told_as_soon_as_it_can_be(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def other(connection: socket.socket, first: bytes) -> None:
        heard.append(first)
        connection.close()

    with serving(tmp_path, other=other) as served:
        for parts in ([b"GE", b"O"], [b"P", b"U", b"SH"]):
            with served.connect_control() as client:
                for part in parts:
                    client.sendall(part)
                    time.sleep(0.02)
                assert read_all(client) == b""
        assert heard in ([b"GEO", b"PUS"], [b"GEO", b"PUSH"])
        with served.connect_control() as client:
            for part in (b"G", b"E", b"T /healthz HTTP/1.1\r\nHost: x\r\n\r\n"):
                client.sendall(part)
                time.sleep(0.02)
            assert read_all(client).startswith(b"HTTP/1.1 200")


def test_without_another_language_it_is_closed(served: Served) -> None:
    assert served.ask(b"GEODNS-SUCCESSION 1\n", control=True) == b""


def test_a_conversation_that_fails_is_logged_and_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def other(connection: socket.socket, first: bytes) -> None:
        raise RuntimeError("broken")

    with serving(tmp_path, other=other) as served:
        assert served.ask(b"hello", control=True) == b""
    assert [record.getMessage() for record in caplog.records] == [
        "a conversation on the control socket failed, which is a bug in geodns"
    ]


def test_while_paused_clients_wait(served: Served) -> None:
    async def pause() -> None:
        served.server.pause()

    async def resume() -> None:
        served.server.resume()

    served.run(pause())
    with served.connect() as tcp, served.connect_control() as control:
        for client in (tcp, control):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(LIMIT)
        served.run(resume())
        assert [read_all(client)[:12] for client in (tcp, control)] == [b"HTTP/1.1 200"] * 2


def test_when_we_stop_what_is_under_way_is_finished(tmp_path: Path) -> None:
    with serving(tmp_path, bounds=Bounds(finish=5)) as served, served.connect_control() as working, served.connect() as idle:
        served.operations.gate = asyncio.Event()
        working.sendall(b"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        wait_until(lambda: served.operations.asked and len(served.server._open) == 2)
        stopping = asyncio.run_coroutine_threadsafe(served.server.stop(), served.loop)
        assert closes(idle, 3), "who has not asked is closed at once"
        with pytest.raises(ConnectionRefusedError):
            served.connect()
        served.set(served.operations.gate)
        assert read_all(working).startswith(b"HTTP/1.1 200")
        stopping.result(LIMIT)


def test_what_does_not_end_does_not_keep_us(tmp_path: Path) -> None:
    async def other(connection: socket.socket, first: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            connection.close()

    with serving(tmp_path, bounds=QUICK, other=other) as served, ExitStack() as stack:
        served.operations.gate = asyncio.Event()
        clients = [stack.enter_context(served.connect_control()) for _ in range(3)]
        clients[0].sendall(b"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        clients[1].sendall(b"hello")
        clients[2].sendall(b"G")
        wait_until(lambda: served.operations.asked and len(served.server._welcoming) == 2)
        began = time.monotonic()
        served.run(served.server.stop())
        assert time.monotonic() - began < 2
        assert [read_all(client) for client in clients] == [b""] * 3


def test_who_does_not_take_the_reply_does_not_keep_us(tmp_path: Path) -> None:
    with serving(tmp_path, bounds=Bounds(reply=60, finish=0.2)) as served, served.connect() as client:
        served.operations.large = 20_000  # more than the kernel's buffers hold
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        wait_until(lambda: any(exchange._replying for exchange in list(served.server._open)))
        began = time.monotonic()
        served.run(served.server.stop())
        assert time.monotonic() - began < 2
        wait_until(lambda: not served.server._open)


def test_a_server_that_was_never_started_stops() -> None:
    asyncio.run(serving_http.HttpServer(FakeOperations()).stop())
