"""What crosses the socket pair: whole again however it was cut, and refused where it is none of ours."""

from __future__ import annotations

import json
import logging
import math
import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config.model_checks import HttpCheck, TcpCheck
from geodns.health.messages import (
    LARGEST_DOWN,
    LARGEST_UP,
    LATEST,
    LONGEST_SAID,
    LONGEST_TEXT,
    Frames,
    MessageError,
    Pulse,
    Said,
    Slice,
    read_down,
    read_up,
    write_list,
    write_outcomes,
    write_pulse,
    write_said,
)
from geodns.health.state import Outcome, Verdict
from geodns.health.targets import Target

CHECKS = (HttpCheck(type="http", headers={"X-From": "geodns"}), TcpCheck(type="tcp", port=25, send="EHLO\r\n"))


def make_target(number: int) -> Target:
    check = CHECKS[number % 2]
    return Target(
        f"key {number}", f"subject {number}", check, "web", f"10.0.{number >> 8}.{number & 255}", 80, "m", ("ams", "nyc")
    )


outcomes = st.builds(
    Outcome,
    key=st.text(max_size=40),
    verdict=st.sampled_from(Verdict),
    seen=st.booleans(),
    text=st.text(max_size=LONGEST_TEXT),
    seconds=st.floats(0, 1e6),
    weight=st.none() | st.integers(0, 65535),
    expires=st.none() | st.floats(-1e9, LATEST),
)


@settings(deadline=None)
@given(payloads=st.lists(st.binary(max_size=300), max_size=8), cuts=st.lists(st.integers(1, 50), min_size=1))
def test_always_the_same_frames_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(payload).to_bytes(4) + payload for payload in payloads)
    frames, found, at, turn = Frames(300), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += frames.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == payloads
    assert frames.feed(b"") == []


def test_a_frame_that_is_too_long_is_refused_before_it_is_kept() -> None:
    frames = Frames(1000)
    assert frames.feed((1000).to_bytes(4)) == []
    assert frames.feed(bytes(1000)) == [bytes(1000)]
    with pytest.raises(MessageError, match="a frame of 1001 octets, at most 1000 are taken"):
        frames.feed((1001).to_bytes(4))


@settings(deadline=None)
@given(found=st.lists(outcomes, max_size=450))
def test_always_the_same_outcomes(found: list[Outcome]) -> None:
    frames = Frames(LARGEST_UP).feed(b"".join(write_outcomes(found)))
    assert len(frames) == math.ceil(len(found) / 200)
    back = [one for frame in frames for one in read_up(frame)]
    assert back == found
    assert all(type(one) is Outcome and type(one.verdict) is Verdict for one in back)


def test_the_text_of_an_outcome_is_cut_at_both_ends() -> None:
    """The daemon keeps it: what an overtaken prober sends has the same bound."""
    (frame,) = Frames(LARGEST_UP).feed(b"".join(write_outcomes([Outcome("k", Verdict.DOWN, True, "x" * 9999, 0.1)])))
    assert read_up(frame) == [Outcome("k", Verdict.DOWN, True, "x" * LONGEST_TEXT, 0.1)]
    sent = json.dumps({"outcomes": [["k", "down", True, "x" * 9999, 0.1, None, None]]}).encode()
    assert read_up(sent) == read_up(frame)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 350])
def test_a_list_comes_whole_in_slices(count: int) -> None:
    targets = [make_target(number) for number in range(count)]
    urgent = {target.key for target in targets[::3]}
    parts = [read_down(frame) for frame in Frames(LARGEST_DOWN).feed(b"".join(write_list(targets, urgent)))]
    assert [target for part in parts for target in part.targets] == targets
    assert {key for part in parts for key in part.urgent} == urgent
    assert [part.first for part in parts] == [True] + [False] * (len(parts) - 1)
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert max(len(part.targets) for part in parts) <= 100


def test_packing_a_long_list_never_takes_the_loop_for_long() -> None:
    """Ten thousand targets, the daemon packs one slice at a time: the median of them, which other work cannot spoil."""
    targets = [make_target(number) for number in range(10_000)]
    took = []
    frames = write_list(targets, {target.key for target in targets})
    while True:
        began = time.thread_time()
        if next(frames, None) is None:
            break
        took.append(time.thread_time() - began)
    assert len(took) == 100
    assert sorted(took)[50] < 0.005


@pytest.mark.parametrize("lateness", [None, 0.0013])
def test_pulse_and_line_come_as_they_were_sent(lateness: float | None) -> None:
    pulse, said = Pulse(5000, 12, 3, lateness, 1.5), Said(logging.WARNING, "two\nlines")
    frames = Frames(LARGEST_UP).feed(write_pulse(pulse) + write_said(said) + write_said(Said(logging.ERROR, "y" * 10**6)))
    assert [read_up(frame) for frame in frames] == [pulse, said, Said(logging.ERROR, "y" * LONGEST_SAID)]


WRONG_UP = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"outcomes": 1}',
    b'{"outcomes": [1]}',
    b'{"outcomes": [[]]}',
    b'{"outcomes": [["k", "sideways", true, "", 0.1, null, null]]}',
    b'{"outcomes": [["k", "up", 1, "", 0.1, null, null]]}',
    b'{"outcomes": [["k", "up", true, null, 0.1, null, null]]}',
    b'{"outcomes": [["k", "up", true, "", "0.1", null, null]]}',
    b'{"outcomes": [[["k"], "up", true, "", 0.1, null, null]]}',
    b'{"outcomes": [["k", ["up"], true, "", 0.1, null, null]]}',
    b'{"outcomes": [["k", "up", true, "", 0.1, -1, null]]}',
    b'{"outcomes": [["k", "up", true, "", 0.1, 65536, null]]}',
    b'{"outcomes": [["k", "up", true, "", 0.1, null, null, 7]]}',
    b'{"outcomes": [["k", "up", true, "", 0.1, null, "soon"]]}',
    b'{"outcomes": [["k", "up", true, "", 0.1, null, true]]}',
    b'{"outcomes": [["k", "up", true, "", 0.1, null, NaN]]}',
    b'{"outcomes": [["k", "up", true, "", 0.1, null, Infinity]]}',
    b'{"pulse": [1, 2, 3]}',
    b'{"pulse": [1, 2, 3, [], 0.5]}',
    b'{"pulse": ["1", 2, 3, null, 0.5]}',
    b'{"said": [1, "too low"]}',
    b'{"said": [999999, "too high"]}',
    b'{"said": [30]}',
    b"[" * 100_000,
    b'{"outcomes": [["k", "up", true, "", ' + b"9" * 5000 + b", null, null]]}",
    pickle.dumps(["outcomes"]),
]


@pytest.mark.parametrize("frame", WRONG_UP, ids=lambda frame: repr(frame[:50]))
def test_what_is_no_message_of_the_prober_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError, match="octets that"):
        read_up(frame)


@settings(deadline=None)
@given(
    frame=st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps({"outcomes": value}).encode()
    )
)
def test_never_anything_but_a_message_or_a_refusal(frame: bytes) -> None:
    try:
        found = read_up(frame)
    except MessageError:
        return
    assert isinstance(found, (list, Pulse, Said))


class Trap:
    """Pickled by somebody who wants code to be run when it is read."""

    sprung = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Trap, "sprung", True)


def test_never_code_from_below() -> None:
    """What a prober that was taken over sends is never unpickled."""
    with pytest.raises(MessageError):
        read_up(pickle.dumps(Trap()))
    assert not Trap.sprung


@pytest.mark.parametrize("frame", [b"", b"garbage", pickle.dumps(["targets"]), pickle.dumps(Slice(True, True, (), ()))[:-3]])
def test_what_is_no_list_of_the_daemon_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError):
        read_down(frame)
