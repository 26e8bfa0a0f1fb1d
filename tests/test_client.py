"""The client, against the server that it is for and against others that answer in its place."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.operations import OVERRIDE, REFUSED
from tests.server.served import Served, serving

from geodns import client as clients
from geodns.client import Client, parse_url, read_reply
from geodns.errors import ControlError, TokenError, UnreachableError

TOKEN = "correct-horse-battery"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, TOKEN) as one:
        yield one


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@contextmanager
def answering(speak: Callable[[socket.socket], None], heard: list[bytes] | None = None) -> Iterator[str]:
    """A server that *speaks* to its one client after a request has arrived, which *heard* keeps; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                request = connection.recv(1 << 16)
                if heard is not None:
                    heard.append(request)
                speak(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join(10)


def unreachable(client: Client) -> str:
    """What is said when nobody answers; always one line."""
    with pytest.raises(UnreachableError) as caught:
        client.get("status")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_over_the_control_socket_nothing_is_needed(served: Served) -> None:
    client = Client.open(served.path)
    assert client.where == str(served.path)
    assert client.get("pools", {"pattern": "www/a*&b=c é", "other": None})[0]["service"] == "www"
    assert client.post("drain", {"target": "ams", "owner": "é"})["applied"] is True
    assert served.operations.asked == [("pools", "www/a*&b=c é"), ("override", "ams", "drain", None, "", "é", False)]


def test_over_http_with_the_token(served: Served, token_file: Path) -> None:
    client = Client.open(None, served.url, token_file)
    assert client.where == served.url and TOKEN not in repr(client)
    assert client.get("overrides")[0]["reason"] == OVERRIDE.reason
    assert client.post("reload", {"dry_run": True})["ok"] is True
    assert Client.open(at=served.url + "/").get("status")["pid"] == 1, "reading from loopback needs no token"


def test_the_path_of_a_socket_is_an_address_too(served: Served) -> None:
    assert Client.open(at=str(served.path)).get("status")["version"] == "1"


def test_a_refusal_has_status_and_text(served: Served) -> None:
    with pytest.raises(ControlError, match="needs the token") as caught:
        Client.open(at=served.url).post("reload", {})
    assert caught.value.status == 401
    served.operations.refusal = REFUSED
    with pytest.raises(ControlError) as caught:
        Client.open(served.path).post("drain", {"target": "asm"})
    assert (caught.value.status, str(caught.value)) == (404, str(REFUSED))


def test_the_first_socket_that_answers_is_taken(served: Served, tmp_path: Path) -> None:
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))
    client = Client.open([tmp_path / "none.sock", dead, served.path])
    assert client.get("status")["pid"] == 1
    assert client.where == f"{tmp_path}/none.sock or {dead} or {served.path}"
    text = unreachable(Client.open([tmp_path / "none.sock", dead]))
    assert text == (
        f"no daemon answers: {tmp_path}/none.sock: no such file or directory; "
        f"{dead}: Connection refused (is the daemon running?)"
    )


def test_where_the_control_socket_is_switched_off_that_is_said() -> None:
    assert unreachable(Client.open(())) == "no daemon answers: the control socket is switched off"


def test_the_usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/here:/run/there")
    assert Client.open().sockets == (Path("/run/here/control.sock"), *clients.USUAL)
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert Client.open(None).sockets == clients.USUAL


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    text = unreachable(Client.open(at=f"http://127.0.0.1:{port}"))
    assert text == f"no daemon answers: http://127.0.0.1:{port}: Connection refused (is the daemon running?)"


def test_a_name_that_nobody_knows() -> None:
    assert "http://name.invalid: " in unreachable(Client.open(at="http://name.invalid"))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 400 Bad Request\r\nContent-Length: 14\r\n\r\n{"error": 1234}',
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    ],
)
def test_another_server_is_told_from_a_daemon(said: bytes) -> None:
    with answering(lambda connection: connection.sendall(said)) as url:
        text = unreachable(Client.open(at=url))
        assert text.startswith(f"{url}: ")


def test_a_server_that_says_nothing_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PATIENCE", 0.1)
    done = threading.Event()

    def wait(connection: socket.socket) -> None:
        done.wait(10)

    with answering(wait) as url:
        began = time.monotonic()
        assert unreachable(Client.open(at=url)) == f"{url}: connected, but said nothing for 0.1 s"
        assert time.monotonic() - began < 5
        done.set()


def test_a_reply_without_end_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MOST", 100_000)

    def speak(connection: socket.socket) -> None:
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(b" " * 10_000)
        except ConnectionError:
            return

    with answering(speak) as url:
        assert "not with the API of geodns" in unreachable(Client.open(at=url))


def test_plain_http_where_tls_was_wanted() -> None:
    with answering(lambda connection: connection.sendall(OK)) as url:
        text = unreachable(Client.open(at=url.replace("http://", "https://")))
    assert text.startswith("no daemon answers: https://127.0.0.1:")


def test_a_reload_has_more_patience_than_a_question() -> None:
    """It compiles a whole configuration."""
    assert clients.RELOAD_PATIENCE > clients.PATIENCE and "reload" in clients.SLOW


def test_the_token_is_sent_by_http_alone(token_file: Path) -> None:
    heard: list[bytes] = []
    with answering(lambda connection: connection.sendall(OK), heard) as url:
        Client.open(at=f"{url}/behind/a%20proxy", token_file=token_file).get("status")
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "GET /behind/a%20proxy/api/v1/status HTTP/1.1" and f"Authorization: Bearer {TOKEN}" in lines
    assert Client.open(at="/a.sock", token_file=token_file).token is None
    with pytest.raises(TokenError):
        Client.open(at="http://127.0.0.1", token_file=token_file.with_name("none"))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "127.0.0.1",
            "127.0.0.1:5301",
            "ftp://a",
            "http://",
            "http://a:b",
            "http://a:0",
            "http://a:99999",
            "http://[::1",
        ),
        *("http://user:word@a", "http://a/?b", "http://a/#b", "http://a\x1b", "http://a b", "relative/path", "HTTP//a"),
    ],
)
def test_what_is_no_address_is_wrong_usage(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a URL like http://192\.0\.2\.1:5301 or the path of a socket, got"):
        Client.open(at=text)


@pytest.mark.parametrize("text", ["http://[2001:db8::1]:5301", "https://geodns.example", "HTTP://A:1/b/"])
def test_what_is_an_address(text: str) -> None:
    assert parse_url(text).hostname


@given(st.text(max_size=30))
@settings(deadline=None)
def test_an_address_is_one_or_wrong_usage(text: str) -> None:
    for candidate in (text, f"http://{text}"):
        try:
            url = parse_url(candidate)
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert url.hostname and url.path.isascii() and " " not in url.path


@given(st.integers(100, 599), st.binary(max_size=50) | st.dictionaries(st.sampled_from(["error", "a"]), st.text()))
@settings(deadline=None)
def test_whatever_is_replied_is_a_result_or_an_error_of_ours(status: int, said: bytes | dict[str, str]) -> None:
    octets = said if isinstance(said, bytes) else json.dumps(said).encode()
    try:
        result = read_reply("here", status, octets)
    except ControlError as error:
        assert isinstance(said, dict) and str(error) == said["error"] and not 200 <= status < 300
    except UnreachableError:
        assert isinstance(said, bytes) or not 200 <= status < 300
    else:
        assert 200 <= status < 300 and (result == said or isinstance(said, bytes))


def test_certificates_are_verified(tmp_path: Path) -> None:
    """The context is the standard library's, which verifies; nothing of ours switches that off."""
    (connection,) = [one for _, one in Client.open(at="https://geodns.example")._connections()]
    assert connection._context.verify_mode == ssl.CERT_REQUIRED and connection._context.check_hostname  # type: ignore[attr-defined]
