"""The tls probe against servers with certificates of all kinds."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.health.probes.servers import (
    Talk,
    drip,
    hang,
    make_target,
    probe_against,
    probe_once,
    reply,
    reset,
    send,
    server_context,
    serving,
    unused_port,
)

from geodns.health.probes.certificate import DAY
from geodns.health.state import Outcome, Verdict

NAME = "www.example.com"
AUTHORITY = trustme.CA()
END = datetime(2040, 6, 1, tzinfo=UTC)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def shake_hands(context: ssl.SSLContext, address: str = "127.0.0.1", now: float | None = None, **check: Any) -> Outcome:
    """What a probe says; *now* in seconds since 1970."""

    async def run() -> Outcome:
        async with serving(hang, address, context) as port:
            options = {} if now is None else {"now": lambda: now}
            return await probe_once(make_target(address, port, type="tls", **check), **options)

    return asyncio.run(run())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_valid_certificate_tells_its_end(address: str, ca: str) -> None:
    names: list[str | None] = []
    context = server_context(AUTHORITY.issue_cert(NAME, not_after=END))
    context.sni_callback = lambda _, name, __: names.append(name)
    outcome = shake_hands(context, address, END.timestamp() - 12.5 * DAY, host=NAME, ca=ca)
    assert (outcome.verdict, outcome.text) == (Verdict.UP, "TLSv1.3, certificate expires in 12 days")
    assert names == [NAME]
    assert outcome.expires == END.timestamp()


@pytest.mark.parametrize(("days", "verdict"), [(14.1, Verdict.UP), (13.9, Verdict.DOWN), (-1.0, Verdict.DOWN)])
@pytest.mark.parametrize("verify", [True, False])
def test_a_certificate_that_ends_soon_is_a_failure_where_asked(days: float, verdict: Verdict, verify: bool, ca: str) -> None:
    """Also without verification, where the standard library would not tell its date."""
    context = server_context(AUTHORITY.issue_cert(NAME, not_after=END))
    now = END.timestamp() - days * DAY
    outcome = shake_hands(context, now=now, host=NAME, ca=ca, verify=verify, expires_within="14d")
    assert outcome.verdict is verdict
    assert ("expected no sooner than in 14 days" in outcome.text) == (verdict is Verdict.DOWN)


def test_an_expired_certificate(ca: str) -> None:
    past = datetime.now(UTC) - timedelta(days=2, hours=1)
    context = server_context(AUTHORITY.issue_cert(NAME, not_after=past, not_before=past - timedelta(days=1)))
    outcome = shake_hands(context, host=NAME, ca=ca)
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, True, "certificate: certificate has expired")
    outcome = shake_hands(context, host=NAME, verify=False)
    assert outcome.verdict is Verdict.UP and outcome.text.endswith("certificate expired 2 days ago")


def test_the_wrong_name(ca: str) -> None:
    context = server_context(AUTHORITY.issue_cert("other.example.com"))
    outcome = shake_hands(context, host=NAME, ca=ca)
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, True)
    assert outcome.text == "certificate: hostname mismatch (www.example.com)"
    assert shake_hands(context, ca=ca).text == "certificate: hostname mismatch (127.0.0.1)"


def test_an_authority_that_is_not_trusted(ca: str) -> None:
    context = server_context(trustme.CA().issue_cert(NAME))
    outcome = shake_hands(context, host=NAME, ca=ca)
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, True)
    assert outcome.text.startswith("certificate: ")
    assert shake_hands(context, host=NAME, verify=False).verdict is Verdict.UP


def test_a_file_may_name_the_very_certificate(tmp_path: Path) -> None:
    """Or an intermediate: whoever writes it means just that."""
    path = tmp_path / "pinned.pem"
    leaf, other = AUTHORITY.issue_cert(NAME), AUTHORITY.issue_cert(NAME)
    leaf.cert_chain_pems[0].write_to_path(path)
    assert shake_hands(server_context(leaf), host=NAME, ca=str(path)).verdict is Verdict.UP
    assert shake_hands(server_context(other), host=NAME, ca=str(path)).verdict is Verdict.DOWN


def test_the_other_side_learns_why_we_leave(ca: str) -> None:
    """An alert, not a mere end of the connection, for whoever reads its log."""

    context = server_context(trustme.CA().issue_cert(NAME))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # there the server's own handshake fails of it

    def accept(listener: socket.socket) -> str:
        accepted, _ = listener.accept()
        with accepted, pytest.raises(ssl.SSLError) as raised:
            context.wrap_socket(accepted, server_side=True)
        return str(raised.value)

    async def run() -> str:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            told = asyncio.create_task(asyncio.to_thread(accept, listener))
            await probe_once(make_target("127.0.0.1", listener.getsockname()[1], type="tls", host=NAME, ca=ca))
            return await asyncio.wait_for(told, 5)

    assert "ALERT_UNKNOWN_CA" in asyncio.run(run())


def test_a_file_of_authorities_that_cannot_be_read_is_our_fault(tmp_path: Path) -> None:
    context = server_context(AUTHORITY.issue_cert(NAME))
    outcome = shake_hands(context, host=NAME, ca=str(tmp_path / "none.pem"))
    assert outcome.verdict is Verdict.UNKNOWN and "none.pem cannot be read: No such file" in outcome.text
    (tmp_path / "bad.pem").write_text("no certificates")
    outcome = shake_hands(context, host=NAME, ca=str(tmp_path / "bad.pem"))
    assert outcome.verdict is Verdict.UNKNOWN and "bad.pem has no certificates to trust" in outcome.text


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


@pytest.mark.parametrize(
    ("talk", "seen", "text"),
    [
        (hang, False, "no TLS handshake within 0.2 s"),
        (drip(b"\x16\x03\x03\x40\x00"), True, "no end of the TLS handshake within 0.2 s"),
        (reset, True, "connection reset by peer"),
        (leave, True, "connection closed in the TLS handshake"),
        (send(b"220 mail.example.com ESMTP\r\n"), True, "TLS: wrong version number"),
        (reply(b""), False, "no TLS handshake within 0.2 s"),
    ],
    ids=["hang", "drip", "reset", "leave", "smtp", "http"],
)
def test_servers_that_speak_no_tls(talk: Talk, seen: bool, text: str) -> None:
    outcome = probe_against(talk, type="tls", timeout="200ms")
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, seen, text)
    assert outcome.seconds < 1.2


def test_a_refusal() -> None:
    outcome = asyncio.run(probe_once(make_target("127.0.0.1", unused_port(), type="tls")))
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, True, "connection refused")
