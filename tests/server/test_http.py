"""The HTTP server on real sockets: what it answers, and whom it refuses."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.operations import METRICS, REFUSED
from tests.server.served import LIMIT, Served, read_all, serving

from geodns.client import Client
from geodns.server.http_exchange import MOST_BODY, MOST_TAKEN

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, TOKEN) as one:
        yield one


def error_of(octets: bytes) -> str:
    """The text of an error, which is all that there is."""
    said = json.loads(octets)
    assert list(said) == ["error"]
    return str(said["error"])


def test_health_and_readiness(served: Served) -> None:
    assert served.request("GET", "/healthz")[::2] == (200, b"ok\n")
    assert served.request("GET", "/readyz")[::2] == (200, b"ready\n")
    served.operations.is_ready = False
    assert served.request("GET", "/readyz")[::2] == (503, b"not ready\n")
    assert served.request("GET", "/healthz")[::2] == (200, b"ok\n")


def test_metrics_have_the_type_that_prometheus_client_names(served: Served) -> None:
    status, headers, body = served.request("GET", "/metrics", headers={"Host": "any.example"})
    assert (status, headers["Content-Type"], body) == (200, METRICS, b"# TYPE up gauge\nup 1\n")


def test_one_scrape_serves_all_of_a_second(served: Served) -> None:
    """Strangers may ask as often as they like, and it is not cheap."""
    for _ in range(20):
        assert served.request("GET", "/metrics")[0] == 200
    assert served.operations.scrapes <= 3
    served.server._fresh_until = 0.0
    before = served.operations.scrapes
    assert served.request("GET", "/metrics")[0] == 200
    assert served.operations.scrapes == before + 1


def test_a_scrape_that_fails_is_our_mistake_and_the_next_may_succeed(served: Served) -> None:
    served.operations.refusal = RuntimeError("broken")
    assert served.request("GET", "/metrics")[0] == 500
    served.operations.refusal = None
    served.server._fresh_until = 0.0
    assert served.request("GET", "/metrics")[0] == 200


def test_reading_from_loopback_needs_no_token(served: Served) -> None:
    assert served.request("GET", "/api/v1/status")[0] == 200


def test_writing_needs_the_token(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    body = '{"target": "ams"}'
    with caplog.at_level(logging.WARNING):
        status, headers, octets = served.request("POST", "/api/v1/drain", body)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="geodns"') and "token" in error_of(octets)
        for _ in range(3):
            assert served.request("POST", "/api/v1/drain", body, {"Authorization": f"Bearer {TOKEN}x"})[0] == 401
    assert [record.getMessage() for record in caplog.records] == ["the API was asked with a wrong token from 127.0.0.1"]
    assert served.operations.asked == []
    assert served.request("POST", "/api/v1/drain", body, BEARER)[0] == 200
    assert served.operations.asked == [("override", "ams", "drain", None, "", "127.0.0.1", False)]


def test_without_a_configured_token_nothing_is_written_over_tcp(served: Served) -> None:
    served.server.token = None  # as a reload may say
    status, _, octets = served.request("POST", "/api/v1/reload", "{}", BEARER)
    assert status == 403 and "server.api_token_file" in error_of(octets)
    assert served.request("GET", "/api/v1/status")[0] == 200


def test_beyond_loopback_reading_needs_the_token(served: Served) -> None:
    """A peer that is not on this machine cannot be had here; one that a proxy of ours speaks for is the same."""
    for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        assert served.request("GET", "/api/v1/status", headers={name: "192.0.2.1"})[0] == 401
        assert served.request("GET", "/api/v1/status", headers={name: "192.0.2.1", **BEARER})[0] == 200
        assert served.request("GET", "/metrics", headers={name: "192.0.2.1"})[0] == 200


def test_a_peer_with_another_address_of_this_machine_is_not_on_loopback(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has loopback alone")
        address = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has loopback alone")
    with serving(tmp_path, TOKEN) as served:
        from geodns.server.accept import Listener

        outside = socket.create_server((address, 0))
        outside.setblocking(False)

        async def listen() -> None:
            served.server._listeners.append(Listener(outside, served.server._welcome))
            served.server._listeners[-1].resume()

        served.run(listen())
        found = {}
        for path in ("/api/v1/status", "/metrics", "/healthz", "/api/v1/openapi.json"):
            connection = http.client.HTTPConnection(address, outside.getsockname()[1], timeout=LIMIT)
            connection.request("GET", path)
            found[path] = connection.getresponse().status
            connection.close()
        assert found == {"/api/v1/status": 401, "/metrics": 200, "/healthz": 200, "/api/v1/openapi.json": 401}


def test_a_page_of_a_stranger_cannot_read_us_under_its_own_name(served: Served) -> None:
    """DNS rebinding: the browser connects to 127.0.0.1, and names the stranger in Host."""
    status, headers, octets = served.request("GET", "/api/v1/status", headers={"Host": "evil.example"})
    assert status == 403 and "Host" in error_of(octets)
    assert not [name for name in headers if name.lower().startswith("access-control")]
    for host in ("127.0.0.1:5301", "localhost", "[::1]:5301"):
        assert served.request("GET", "/api/v1/status", headers={"Host": host})[0] == 200
    assert served.request("GET", "/api/v1/status", headers={"Host": "evil.example", **BEARER})[0] == 200


def test_the_control_socket_needs_no_token_and_says_which_user(served: Served) -> None:
    client = Client.open(served.path)
    client.post("drain", {"target": "ams"})
    client.post("drain", {"target": "ams", "owner": "alice"})
    assert [asked[5] for asked in served.operations.asked] == [f"uid {os.geteuid()}", "alice"]


def test_over_tcp_the_owner_has_an_address(served: Served) -> None:
    served.request("POST", "/api/v1/undrain", '{"target": "ams", "owner": "alice"}', BEARER)
    assert served.operations.asked == [("end", "ams", ("drain",), "alice at 127.0.0.1")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/Status", 404),
        ("GET", "/api/v1/status/", 404),
        ("GET", "/api/v1/../../etc/passwd", 404),
        ("POST", "/api/v1/status", 405),
        ("GET", "/api/v1/drain", 405),
        ("HEAD", "/api/v1/drain", 405),
        ("OPTIONS", "/api/v1/status", 405),
        ("PUT", "/healthz", 405),
        ("GET", "/api/v1/explain", 400),
        ("GET", "/api/v1/status?x=1", 400),
        ("GET", "/api/v1/pools?pattern=%1b%5b2J", 400),
        ("GET", "/api/v1/pools?pattern=" + "x" * 9000, 400),
    ],
)
def test_errors_are_json_with_a_status(served: Served, method: str, path: str, status: int) -> None:
    found, headers, octets = served.request(method, path)
    assert (found, headers["Content-Type"]) == (status, "application/json")
    assert method == "HEAD" or error_of(octets)
    if status == 405:
        assert headers["Allow"] == ("POST" if "drain" in path else "GET, HEAD")
    assert served.operations.asked == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/openapi.json"])
def test_head_is_get_without_a_body(served: Served, path: str) -> None:
    status, headers, octets = served.request("HEAD", path)
    other, expected, body = served.request("GET", path)
    assert (status, octets) == (other, b"") and headers["Content-Length"] == expected["Content-Length"] == str(len(body))


def test_what_the_operator_got_wrong_comes_with_its_status(served: Served) -> None:
    served.operations.refusal = REFUSED
    status, _, octets = served.request("POST", "/api/v1/drain", '{"target": "asm"}', BEARER)
    assert (status, error_of(octets)) == (404, str(REFUSED))


def test_a_mistake_of_ours_is_logged_and_not_told(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.operations.refusal = RuntimeError("the secret of the house")
    for _ in range(5):
        status, _, octets = served.request("GET", "/api/v1/status")
        assert status == 500 and b"secret" not in octets and "log of the daemon" in error_of(octets)
    (record,) = caplog.records
    assert record.getMessage() == "GET /api/v1/status failed, which is a bug in geodns"
    assert record.exc_info is not None and "secret" in str(record.exc_info[1])


@pytest.mark.parametrize("size", [MOST_BODY + 1, 50 * MOST_TAKEN])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_whatever_it_says_of_its_size(served: Served, size: int, chunked: bool) -> None:
    client = served.connect()
    with client:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        client.sendall(
            f"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{length}\r\n\r\n".encode()
        )
        try:
            client.sendall(f"{size:x}\r\n".encode() * chunked + b"x" * size)
        except ConnectionError:
            assert size > MOST_TAKEN
        said = read_all(client)
    if said or size <= MOST_TAKEN:  # who sends so much before we can reply is cut off without a word
        assert said.startswith(b"HTTP/1.1 413 ") and error_of(said.partition(b"\r\n\r\n")[2])
    assert served.operations.asked == []


def test_a_body_that_says_it_is_large_is_refused_before_it_comes(served: Served) -> None:
    with served.connect() as client:
        client.sendall(f"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode())
        client.sendall(f"Content-Length: {MOST_BODY + 1}\r\n\r\n".encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_a_body_is_read_only_from_who_may(served: Served) -> None:
    began = time.monotonic()
    said = served.ask(b"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 401 ") and time.monotonic() - began < 5
