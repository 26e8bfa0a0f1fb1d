"""How failures are put into words, and which of them show that somebody is there."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodns.health.probes.finding import LONGEST_TEXT, Trail, Unable, Unresolved, explain_error, late, one_line, quote
from geodns.health.state import Verdict

DOWN, UNKNOWN = Verdict.DOWN, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("error", "verdict", "seen", "text"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), DOWN, True, "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "x"), DOWN, True, "connection reset by peer"),
        (BrokenPipeError(errno.EPIPE, "x"), DOWN, True, "broken pipe"),
        (OSError(errno.EHOSTUNREACH, "x"), DOWN, False, "no route to host"),
        (OSError(errno.ENETUNREACH, "x"), DOWN, False, "network is unreachable"),
        (TimeoutError(errno.ETIMEDOUT, "x"), DOWN, False, "connection timed out"),
        (OSError(errno.EMFILE, "x"), UNKNOWN, True, "cannot probe: too many open files"),
        (OSError(errno.EADDRNOTAVAIL, "x"), UNKNOWN, True, "cannot probe: cannot assign requested address"),
        (PermissionError(errno.EPERM, "x"), UNKNOWN, True, "cannot probe: operation not permitted"),
        (socket.gaierror(socket.EAI_NONAME, "No such"), DOWN, False, "name cannot be resolved: No such"),
        (Unresolved("a.b cannot be resolved"), DOWN, False, "a.b cannot be resolved"),
        (Unable("no file"), UNKNOWN, True, "no file"),
        (ConnectionResetError(), DOWN, True, "connection closed in the handshake"),
        (EOFError(), DOWN, True, "connection closed without a reply"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)  # fmt: skip
def test_what_an_error_says(error: Exception, verdict: Verdict, seen: bool, text: str) -> None:
    found = explain_error(error)
    assert found is not None and (found.verdict, found.seen, found.text) == (verdict, seen, text)


@given(st.sampled_from(sorted(errno.errorcode)))
def test_every_error_of_the_system_has_words(number: int) -> None:
    found = explain_error(OSError(number, os.strerror(number)))
    assert found is not None and found.verdict is not Verdict.UP and found.text


def test_a_fault_of_ours_has_none() -> None:
    assert explain_error(KeyError("x")) is None
    assert explain_error(OSError("without a number")) is None


@given(st.text(max_size=400), st.integers(5, 250))
def test_a_text_is_always_one_short_line_that_a_terminal_shows(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most and (not line or line.isprintable()) and len(line.splitlines()) <= 1


@given(st.binary(max_size=400))
def test_what_a_stranger_sent_is_quoted_whatever_it_is(octets: bytes) -> None:
    line = quote(octets)
    assert len(line) <= 42 and line.isprintable() and line[0] == line[-1] == '"'


def test_letters_of_others_are_shown() -> None:
    assert one_line("die größe\r\n\x1b[31m ist 5") == "die größe [31m ist 5"
    assert one_line("x" * 300) == "x" * (LONGEST_TEXT - 3) + "..."


def test_a_time_out_tells_what_was_waited_for_and_whether_anything_came() -> None:
    trail = Trail()
    assert late(trail, 2.0) == (DOWN, "no connection within 2 s", False, None)
    trail.hear()
    assert late(trail, 0.5) == (DOWN, "no end of the reply within 0.5 s", True, None)
