"""The tcp probe: connections, and what is sent and expected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.health.probes.servers import Talk, drip, hang, make_target, probe_against, probe_once, reset, send, unused_port

from geodns.config.model_checks import LONGEST_REPLY
from geodns.health.state import Verdict


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_connection_is_enough(address: str) -> None:
    outcome = probe_against(hang, address, type="tcp")
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.UP, True, "connected")


def test_what_is_sent_arrives() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+" + await reader.readuntil(b"\n"))
        await reader.read()

    assert probe_against(talk, type="tcp", send="größe\r\n", expect="+größe\r\n").verdict is Verdict.UP


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1, max_size=20), st.binary(max_size=40), st.booleans(), st.integers(1, 7))
@example("220 ", b"220 mail.example.com\r\n", True, 3)
def test_always_up_if_the_reply_begins_with_what_is_expected(text: str, more: bytes, right: bool, step: int) -> None:
    """However it is cut."""
    wanted = text.encode()
    octets = wanted + more if right else more

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(octets), step):
            writer.write(octets[at : at + step])
            await writer.drain()
        writer.close()

    outcome = probe_against(talk, type="tcp", expect=text)
    assert (outcome.verdict is Verdict.UP) == octets.startswith(wanted), outcome.text
    assert outcome.seen


def test_nobody_waits_for_more_of_a_wrong_reply() -> None:
    outcome = probe_against(send(b"-ERR"), type="tcp", expect="+PONG", timeout="5s", interval="9s")
    assert outcome.text == 'replied "-ERR", expected "+PONG"'
    assert outcome.seconds < 1


def test_of_a_long_reply_no_more_is_read_than_can_be_expected() -> None:
    text = "x" * LONGEST_REPLY
    assert probe_against(send(b"x" * 10_000_000), type="tcp", expect=text).verdict is Verdict.UP
    assert (
        probe_against(send(b"x" * (LONGEST_REPLY - 1) + b"y" * 10_000_000), type="tcp", expect=text).verdict is Verdict.DOWN
    )


@pytest.mark.parametrize(
    ("talk", "written", "seen", "text"),
    [
        (hang, {"expect": "x"}, False, "no reply within 0.2 s"),
        (reset, {"expect": "x", "send": "y"}, True, "connection reset by peer"),
        (drip(b"abcdefghijkl"), {"expect": "abcdefghijklmno", "send": "y"}, True, "no end of the reply within 0.2 s"),
    ],
    ids=["hang", "reset", "drip"],
)
def test_servers_that_mean_ill(talk: Talk, written: dict[str, Any], seen: bool, text: str) -> None:
    outcome = probe_against(talk, type="tcp", timeout="200ms", **written)
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, seen, text)
    assert outcome.seconds < 1.2


def test_an_end_without_a_reply() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    outcome = probe_against(leave, type="tcp", expect="x")
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, True)
    assert outcome.text == 'connection closed without a reply, expected "x"'


def test_a_refusal() -> None:
    outcome = asyncio.run(probe_once(make_target("127.0.0.1", unused_port(), type="tcp")))
    assert (outcome.verdict, outcome.seen, outcome.text) == (Verdict.DOWN, True, "connection refused")
