"""Lines: however octets arrive, each line comes out once, and what is too long is one line too."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.wire.lines import LONGEST_LINE, Lines

# Short ones, and some about as long as a line may be.
SIZES = st.one_of(st.integers(0, 20), st.sampled_from((LONGEST_LINE - 1, LONGEST_LINE, LONGEST_LINE + 1, 3 * LONGEST_LINE)))


@settings(deadline=None)
@given(st.lists(SIZES, max_size=6), st.integers(0, 30), st.lists(st.integers(1, 2 * LONGEST_LINE), max_size=8))
def test_always_the_same_lines_however_the_octets_arrive(sizes: list[int], half: int, cuts: list[int]) -> None:
    sent = [bytes((97 + i,)) * size for i, size in enumerate(sizes)]
    stream = b"".join(line + b"\n" for line in sent) + b"z" * half
    lines, found, at = Lines(), [], 0
    for cut in (*cuts, len(stream)):
        found += lines.feed(stream[at : at + cut])
        assert lines.pending <= LONGEST_LINE
        at += cut
    assert found == [line if len(line) <= LONGEST_LINE else None for line in sent]
    assert lines.pending == half
    assert lines.begun == bool(half)


def test_a_line_that_never_ends_is_not_kept() -> None:
    lines = Lines()
    for _ in range(40):
        assert lines.feed(b"x" * 10_000) == []
        assert lines.pending <= LONGEST_LINE
        assert lines.begun
    assert lines.feed(b"\nnext\n") == [None, b"next"]
