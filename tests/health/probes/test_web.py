"""http and https: what is asked, what counts as a success, and servers that mean ill."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.health.probes.servers import (
    Talk,
    drip,
    hang,
    make_target,
    probe_against,
    probe_once,
    reply,
    reset,
    server_context,
    serving,
    unused_port,
)

from geodns.health.probes import Probes
from geodns.health.state import Outcome, Verdict

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NAME = "www.example.com"
END = datetime(2040, 6, 1, tzinfo=UTC)


def status(code: int, *fields: str, body: bytes = b"") -> bytes:
    head = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def recorded(seen: list[bytes], answer: Callable[[bytes], bytes]) -> Talk:
    """A server that keeps each request's head and replies with what *answer* makes of it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        writer.write(answer(head))
        await writer.drain()
        await reader.read()

    return talk


def fields(head: bytes) -> dict[str, str]:
    """The header fields of a request; each stands there once."""
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line]
    assert len({name.lower() for name, _ in lines}) == len(lines)
    return {name.lower(): value for name, value in lines}


@settings(deadline=None, max_examples=25)
@example(code=200, ranges=[(200, 399)])
@given(st.integers(200, 599), st.lists(st.tuples(st.integers(200, 599), st.integers(0, 99)), min_size=1, max_size=3))
def test_always_the_status_decides(code: int, ranges: list[tuple[int, int]]) -> None:
    spans = [(first, min(first + more, 599)) for first, more in ranges]
    wanted = [f"{first}-{last}" for first, last in spans]
    outcome = probe_against(reply(status(code)), type="http", expect={"status": wanted})
    assert (outcome.verdict is Verdict.UP) == any(code in range(first, last + 1) for first, last in spans)
    assert outcome.seen and outcome.text.startswith(f"status {code}")


def test_a_wrong_status_is_told_beside_what_was_expected() -> None:
    assert probe_against(reply(status(503)), type="http").text == "status 503, expected 200-399"
    found = probe_against(reply(status(301)), type="http", expect={"status": ["200", "401-403"]})
    assert found.text == "status 301, expected 200, 401-403"


def test_a_request_says_what_the_check_says_and_nothing_else() -> None:
    seen: list[bytes] = []
    path = "/a//b/../%7e%2F?x=1&y=%20+#c"
    more = {"X-Probe": "a: b", "user-agent": "me"}
    written: dict[str, Any] = {"path": path, "method": "POST", "host": "WWW.Example.com.", "headers": more}
    assert probe_against(recorded(seen, lambda _: OK), type="http", **written).verdict is Verdict.UP
    assert seen[0].startswith(b"POST /a//b/../%7e%2F?x=1&y=%20+ HTTP/1.1\r\n")
    sent = fields(seen[0])
    assert (sent["host"], sent["x-probe"], sent["user-agent"]) == (NAME, "a: b", "me")
    assert (sent["connection"], sent["accept-encoding"]) == ("close", "identity")
    assert set(sent) <= {
        "host", "x-probe", "user-agent", "connection", "accept-encoding", "accept", "content-length", "content-type"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "member", "wanted"),
    [("127.0.0.1", "", "127.0.0.1:{}"), ("::1", "", "[::1]:{}"), ("127.0.0.1", "edge.example.net.", "edge.example.net:{}")],
)
def test_without_a_host_the_member_is_asked_for(host: str, member: str, wanted: str) -> None:
    async def run() -> tuple[str, int]:
        seen: list[bytes] = []
        async with serving(recorded(seen, lambda _: OK), host) as port:
            assert (await probe_once(make_target(host, port, member, type="http"))).verdict is Verdict.UP
            return fields(seen[0])["host"], port

    found, port = asyncio.run(run())
    assert found == wanted.format(port)


def test_nothing_is_kept_between_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither connection nor cookie; and what the environment says of proxies is not asked for."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("no_proxy", "")
    seen: list[bytes] = []

    async def run() -> list[Verdict]:
        probes = Probes()
        async with serving(recorded(seen, lambda _: status(200, "Set-Cookie: a=b; Path=/"))) as port:
            target = make_target("127.0.0.1", port, type="http")
            found = [(await probes.probe(target)).verdict for _ in range(3)]
            await probes.close()
        return found

    assert asyncio.run(run()) == [Verdict.UP] * 3
    assert len(seen) == 3  # `recorded` answers one request on each connection
    assert not [head for head in seen if b"cookie" in head.lower()]


BODIES = [
    ("ok", b"all is ok here", True),
    ("ok", b"nothing", False),
    ("ok", b"", False),
    ("ok", b"x" * 65534 + b"ok", True),
    ("ok", b"x" * 65535 + b"ok", False),  # behind the first 64 KiB
    ("größe", "die größe".encode(), True),
    ("re:^(ok|fine)$", b"fine", True),
    ("re:^(ok|fine)$", b"not fine", False),
    ("re:gr.ße", "größe".encode(), True),
    ("re:b$", b"x" * 65535 + b"bc", True),
    ("re:c$", b"x" * 65535 + b"bc", False),
]


@pytest.mark.parametrize(("wanted", "body", "found"), BODIES, ids=range(len(BODIES)))
def test_the_first_64_kib_of_the_body_count(wanted: str, body: bytes, found: bool) -> None:
    outcome = probe_against(reply(status(200, body=body)), type="http", expect={"body": wanted})
    assert (outcome.verdict, outcome.seen) == (Verdict.UP if found else Verdict.DOWN, True), outcome.text


def test_a_body_is_taken_as_it_is_sent() -> None:
    """No compression is asked for, and none undone: a few octets cannot become a gigabyte here."""
    bomb = gzip.compress(b"ok" * 1_000_000)
    talk = reply(status(200, "Content-Encoding: gzip", body=bomb))
    assert probe_against(talk, type="http").verdict is Verdict.UP
    assert probe_against(talk, type="http", expect={"body": "okok"}).verdict is Verdict.DOWN


@pytest.mark.parametrize("wanted", ["re:^(a+)+$", "re:(a|aa)+$", "re:a*a*a*a*b", "re:a*b"])
def test_a_pattern_without_end_ends(wanted: str) -> None:
    outcome = probe_against(reply(status(200, body=b"a" * 65535 + b"!")), type="http", expect={"body": wanted})
    assert outcome.verdict is Verdict.DOWN
    assert "takes longer than 0.1 s" in outcome.text and outcome.seconds < 1.9


@pytest.mark.parametrize(
    ("talk", "verdict", "seen", "text"),
    [
        (hang, Verdict.DOWN, False, "no reply within 0.2 s"),
        (reset, Verdict.DOWN, True, "connection reset by peer"),
        (reply(b""), Verdict.DOWN, True, "connection closed without a reply"),
        (reply(b"HTTP/1.1 200 OK\r\nContent-Le"), Verdict.DOWN, True, "connection closed without a reply"),
        (reply(b"SSH-2.0-OpenSSH\r\n"), Verdict.DOWN, True, "not a reply in HTTP"),
        (reply(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000), Verdict.DOWN, True, "not a reply in HTTP"),
        (reply(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000), Verdict.DOWN, True, "not a reply in HTTP"),
        (reply(b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK), Verdict.UP, True, "status 200"),
        (drip(OK), Verdict.DOWN, True, "no end of the reply within 0.2 s"),
    ],
    ids=["hang", "reset", "close", "half", "ssh", "fields", "field", "continue", "drip"],
)
def test_a_server_that_means_ill(talk: Talk, verdict: Verdict, seen: bool, text: str) -> None:
    outcome = probe_against(talk, type="http", timeout="200ms")
    assert (outcome.verdict, outcome.seen, outcome.text) == (verdict, seen, text)
    assert outcome.seconds < 1.2


@pytest.mark.parametrize(("wanted", "verdict"), [("ok", Verdict.UP), ("nope", Verdict.DOWN), ("re:^ok", Verdict.DOWN)])
def test_a_body_that_never_ends_is_seen(wanted: str, verdict: Verdict) -> None:
    """An octet at a time: a text that is there already is enough."""
    talk = drip(b"HTTP/1.1 200 OK\r\n\r\nok", 0.001)
    outcome = probe_against(talk, type="http", timeout="400ms", expect={"body": wanted})
    assert (outcome.verdict, outcome.seen) == (verdict, True)
    assert outcome.seconds < 1.4


@pytest.mark.parametrize("wanted", [None, "nope", "re:nope"])
def test_of_a_gigabyte_64_kib_are_read(wanted: str | None) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(16384):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    outcome = probe_against(talk, type="http", expect={"body": wanted} if wanted else {})
    assert (outcome.verdict is Verdict.UP) == (wanted is None)
    assert sent < 16 << 20  # what the buffers of both kernels take
    assert outcome.seconds < 1


def test_refused_is_seen() -> None:
    outcome = asyncio.run(probe_once(make_target("127.0.0.1", unused_port(), type="http")))
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, True, "connection refused")


def test_a_connection_that_never_comes_is_not_seen() -> None:
    """A listener whose queue is full: the kernel lets further requests for a connection drop."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        where = full.getsockname()
        queued = [socket.socket() for _ in range(3)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(where)
        outcome = asyncio.run(probe_once(make_target("127.0.0.1", where[1], type="http", timeout="200ms")))
        for one in queued:
            one.close()
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, False, "no connection within 0.2 s")


def redirect(to: str, code: int = 302) -> bytes:
    return status(code, f"Location: {to}")


def test_a_redirect_is_a_reply_like_any_other() -> None:
    seen: list[bytes] = []
    outcome = probe_against(recorded(seen, lambda _: redirect("/two")), type="http")
    assert (outcome.text, len(seen)) == ("status 302", 1)


@pytest.mark.parametrize(
    "to", ["/two", "two", "http://www.example.com/two", "//WWW.example.com/two", "HTTP://www.example.com:80/two"]
)
def test_redirects_within_the_host_stay_at_the_member(to: str) -> None:
    """Also at the port that is probed, whatever port clients use."""
    seen: list[bytes] = []

    def answer(head: bytes) -> bytes:
        return status(204) if b" /two " in head else redirect(to)

    written: dict[str, Any] = {"host": NAME, "redirects": True, "headers": {"Authorization": "secret"}}
    outcome = probe_against(recorded(seen, answer), type="http", **written)
    assert (outcome.text, len(seen)) == ("status 204", 2)
    assert [fields(head)["host"] for head in seen] == [NAME] * 2
    assert [fields(head)["authorization"] for head in seen] == ["secret"] * 2


def test_redirects_to_others_go_there_without_our_secrets() -> None:
    async def run() -> tuple[str, list[bytes], int]:
        seen: list[bytes] = []
        written: dict[str, Any] = {"host": NAME, "redirects": True, "headers": {"Authorization": "secret"}}
        async with serving(recorded(seen, lambda _: status(299)), "127.0.0.2") as other:
            to = redirect(f"http://127.0.0.2:{other}/there?x=1")
            async with serving(reply(to)) as port:
                outcome = await probe_once(make_target("127.0.0.1", port, type="http", **written))
        return outcome.text, seen, other

    text, seen, other = asyncio.run(run())
    assert text == "status 299"
    assert seen[0].startswith(b"GET /there?x=1 HTTP/1.1\r\n")
    assert fields(seen[0])["host"] == f"127.0.0.2:{other}" and "authorization" not in fields(seen[0])


@pytest.mark.parametrize(
    ("code", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (307, "POST", "POST"), (308, "POST", "POST"),
     (301, "HEAD", "HEAD"), (303, "HEAD", "HEAD"), (303, "PUT", "GET"), (302, "PUT", "PUT"), (301, "GET", "GET")],
)  # fmt: skip
def test_the_method_after_a_redirect(code: int, method: str, then: str) -> None:
    seen: list[bytes] = []
    talk = recorded(seen, lambda head: status(204) if b" /two " in head else redirect("/two", code))
    assert probe_against(talk, type="http", method=method, redirects=True).text == "status 204"
    assert [head.split()[0].decode() for head in seen] == [method, then]


def test_a_loop_of_redirects_ends() -> None:
    seen: list[bytes] = []
    outcome = probe_against(recorded(seen, lambda _: redirect("/")), type="http", redirects=True)
    assert (outcome.verdict, outcome.text, len(seen)) == (Verdict.DOWN, "more than 10 redirects", 11)


@pytest.mark.parametrize("to", ["ftp://a.example/", "http://[", "file:///etc/passwd", "http://a:99999/", "mailto:a@b"])
def test_a_redirect_to_nowhere(to: str) -> None:
    outcome = probe_against(reply(redirect(to)), type="http", redirects=True)
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, True)
    assert outcome.text == f'redirects to "{to}", which is nothing for HTTP'


def test_a_redirect_to_a_name_that_nobody_knows_was_seen() -> None:
    """Whoever redirects has replied."""
    outcome = probe_against(reply(redirect("http://nowhere.invalid/")), type="http", redirects=True)
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, True)
    assert "nowhere.invalid cannot be resolved" in outcome.text


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_https_asks_for_the_host_and_verifies_it(address: str, authority: trustme.CA, tmp_path: Any) -> None:
    names: list[str | None] = []
    context = server_context(authority.issue_cert(NAME))
    context.sni_callback = lambda _, name, __: names.append(name)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    seen: list[bytes] = []
    talk = recorded(seen, lambda _: OK)
    written: dict[str, Any] = {"host": NAME, "ca": str(tmp_path / "ca.pem"), "expect": {"body": "ok"}}
    outcome = probe_against(talk, address, context, type="https", **written)
    assert outcome.text == "status 200, body as expected"
    assert names == [NAME] and fields(seen[0])["host"] == NAME


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_https_without_host_verifies_the_address(address: str, authority: trustme.CA, tmp_path: Any) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for identity, verdict in ((address, Verdict.UP), ("192.0.2.1", Verdict.DOWN)):
        context = server_context(authority.issue_cert(identity))
        outcome = probe_against(reply(OK), address, context, type="https", ca=str(tmp_path / "ca.pem"))
        assert outcome.verdict is verdict
    assert outcome.text == f"certificate: hostname mismatch ({address})" and outcome.seen


def test_https_redirects_stay_at_the_member_with_its_certificate(authority: trustme.CA, tmp_path: Any) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = server_context(authority.issue_cert(NAME))
    seen: list[bytes] = []
    talk = recorded(seen, lambda head: status(204) if b" /two " in head else redirect(f"https://{NAME}/two"))
    outcome = probe_against(talk, "127.0.0.1", context, type="https", host=NAME, redirects=True, ca=str(tmp_path / "ca.pem"))
    assert (outcome.text, len(seen)) == ("status 204", 2)


@pytest.mark.parametrize("body", [b"", b"ok"])
@pytest.mark.parametrize("verify", [True, False])
def test_https_tells_when_the_certificate_ends(body: bytes, verify: bool, authority: trustme.CA, tmp_path: Any) -> None:
    """Verified or not, and also where the connection is closed with the last header field."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = server_context(authority.issue_cert(NAME, not_after=END))
    talk = reply(status(200, body=body))
    outcome = probe_against(talk, "127.0.0.1", context, type="https", host=NAME, verify=verify, ca=str(tmp_path / "ca.pem"))
    assert (outcome.verdict, outcome.expires) == (Verdict.UP, END.timestamp())


def test_a_redirect_does_not_tell_of_the_certificate_of_others(authority: trustme.CA, tmp_path: Any) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = server_context(authority.issue_cert(NAME, not_after=END))
    theirs = server_context(authority.issue_cert("localhost"))

    async def run() -> Outcome:
        async with serving(reply(OK), tls=theirs) as other:
            to = redirect(f"https://localhost:{other}/")
            async with serving(reply(to), tls=ours) as port:
                check = {"host": NAME, "redirects": True, "ca": str(tmp_path / "ca.pem")}
                return await probe_once(make_target("127.0.0.1", port, type="https", **check))

    outcome = asyncio.run(run())
    assert (outcome.text, outcome.expires) == ("status 200", END.timestamp())


def test_what_https_was_told_is_not_told_in_the_clear(authority: trustme.CA, tmp_path: Any) -> None:
    """The same host, but everybody on the way could read it."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = server_context(authority.issue_cert(NAME))
    written: dict[str, Any] = {"host": NAME, "redirects": True, "ca": str(tmp_path / "ca.pem")}

    async def run() -> tuple[str, list[bytes]]:
        seen: list[bytes] = []
        async with serving(recorded(seen, lambda _: status(299))) as clear:
            to = recorded(seen, lambda _: redirect(f"http://{NAME}:{clear}/two"))
            async with serving(to, "127.0.0.1", context) as port:
                target = make_target("127.0.0.1", port, type="https", headers={"Authorization": "secret"}, **written)
                return (await probe_once(target)).text, seen

    text, seen = asyncio.run(run())
    assert text == "status 299"
    assert ["authorization" in fields(head) for head in seen] == [True, False]


@pytest.mark.parametrize("wanted", [hang, drip(b"\x16\x03\x03\x40\x00")], ids=["hang", "drip"])
def test_a_handshake_without_end(wanted: Talk) -> None:
    outcome = probe_against(wanted, type="https", timeout="200ms")
    assert outcome.verdict is Verdict.DOWN and outcome.seconds < 1.2
    assert outcome.seen == (wanted is not hang)


def test_https_to_a_server_that_speaks_http() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(status(400))
        await reader.read()

    outcome = probe_against(talk, type="https")
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, True)
    assert outcome.text.startswith("TLS: ")


def test_verification_can_be_left_out(authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("other.example.com"))
    assert isinstance(context, ssl.SSLContext)
    assert probe_against(reply(OK), "127.0.0.1", context, type="https", host=NAME).verdict is Verdict.DOWN
    assert probe_against(reply(OK), "127.0.0.1", context, type="https", host=NAME, verify=False).text == "status 200"
