"""Where a block ends: against a model that reads it whole, for every way of cutting it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.pipe_link import DisorderError, has_ended

LINES = [b"DATA\tx", b"LOG\tx", b"END", b"FAIL", b"junk", b""]


def read(pieces: list[bytes], *, free: bool) -> str:
    """What the shim makes of *pieces*, as `Link` feeds them: whole, more, or disorder."""
    rest = b""
    for number, piece in enumerate(pieces, 1):
        *lines, rest = (rest + piece).split(b"\n")
        try:
            if has_ended(lines, rest, free):
                return "whole" if number == len(pieces) else "early"
        except DisorderError:
            return "disorder"
    return "more"


def judge(block: list[bytes], *, free: bool) -> str:
    """The rule in words: records, then one end, then nothing."""
    ends = [b"END"] if free else [b"END", b"FAIL"]
    first = next((number for number, line in enumerate(block) if line in ends), len(block))
    if not free and any(line[:5] not in {b"DATA\t", b"LOG\tx"} for line in block[:first]):
        return "disorder"
    if first == len(block):
        return "more"
    return "whole" if first == len(block) - 1 else "disorder"


@pytest.mark.parametrize("free", [False, True])
def test_every_small_block_in_one_piece(free: bool) -> None:
    for length in range(5):
        for block in product(LINES, repeat=length):
            piece = b"".join(line + b"\n" for line in block)
            assert read([piece], free=free) == judge(list(block), free=free), block


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(LINES[:2]), max_size=5), st.sampled_from([b"END", b"FAIL"]), st.data())
def test_always_whole_at_the_last_octet_and_never_before(records: list[bytes], end: bytes, data: st.DataObject) -> None:
    block = b"".join(line + b"\n" for line in [*records, end])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(block) - 1)), label="cuts")) if len(block) > 1 else []
    pieces = [block[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(block)], strict=True)]
    assert read(pieces, free=False) == "whole"
    assert read(pieces[:-1], free=False) == "more"


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.binary(min_size=1, max_size=10))
def test_never_ended_with_something_after_the_end(before: bytes, after: bytes) -> None:
    assert read([before + b"\nEND\n" + after], free=True) == "disorder"
