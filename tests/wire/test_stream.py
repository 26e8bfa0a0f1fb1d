"""Framing: however a stream is cut, the same messages come out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geodns.wire.stream import LONGEST_FRAME, Framing, frame

MESSAGES = st.lists(st.binary(min_size=12, max_size=60), max_size=6)


@given(MESSAGES, st.lists(st.integers(1, 40), max_size=30))
def test_T2_T4_always_gives_the_messages_whatever_the_pieces(messages: list[bytes], sizes: list[int]) -> None:
    stream, framing, out, at = b"".join(map(frame, messages)), Framing(), [], 0
    for size in sizes:
        out += framing.feed(stream[at : at + size])
        at += size
    out += framing.feed(stream[at:])
    assert out == messages
    assert framing.pending == 0
    assert not framing.broken


@given(MESSAGES, st.integers(0, 11), st.binary(max_size=30))
def test_T10_a_length_below_a_header_ends_it_after_what_came_before(messages: list[bytes], length: int, rest: bytes) -> None:
    framing = Framing()
    assert framing.feed(b"".join(map(frame, messages)) + length.to_bytes(2, "big") + rest) == messages
    assert framing.broken
    assert framing.feed(frame(b"x" * 12)) == []
    assert framing.pending == 0


def test_T2_octet_by_octet() -> None:
    framing, out = Framing(), []
    for octet in frame(b"0123456789abcdef") * 2:
        out += framing.feed(bytes((octet,)))
    assert out == [b"0123456789abcdef"] * 2


def test_holds_at_most_one_unfinished_message() -> None:
    framing = Framing()
    framing.feed(b"\xff\xff" + bytes(65534))
    assert framing.pending == LONGEST_FRAME - 1
    assert framing.feed(b"\x00") == [bytes(65535)]
    assert framing.pending == 0
