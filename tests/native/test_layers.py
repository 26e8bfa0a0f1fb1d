"""Renumbering and merging natively against `compiler.layers`."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.native.both import same

from geodns.compiler.layers import Layer, find_distinct, merge, renumber
from geodns.native import layers as native

LAB = settings(deadline=None, max_examples=300)
numbers = st.integers(0, 6)


def flat(layer: Layer) -> tuple[str, list[int], str, list[int]]:
    return layer.starts.typecode, layer.starts.tolist(), layer.values.typecode, layer.values.tolist()


@LAB
@given(
    st.sampled_from(["I", "Q"]),
    st.lists(numbers, max_size=30),
    st.lists(st.integers(0, 3), min_size=7, max_size=7),
    st.data(),
)
def test_always_merged_as_the_reference_merges(form: str, values: list[int], kinds: list[int], data: st.DataObject) -> None:
    forced = sorted(data.draw(st.sets(st.integers(0, len(values) - 1), max_size=4))) if values else []
    layer = Layer(array(form, [i * i << 28 & 0xFFFFFFFF | i for i in range(len(values))]), array("I", values))
    same(lambda: flat(merge(layer, kinds, forced)))


@LAB
@given(st.lists(numbers, max_size=30), st.lists(st.integers(0, 2**32 - 1), min_size=7, max_size=7))
def test_always_renumbered_as_the_reference_renumbers(values: list[int], new: list[int]) -> None:
    same(lambda: list(find_distinct(array("I", values))))
    same(lambda: renumber(array("I", values), new))
    asked: list[int] = []

    class Asked(dict[int, int]):
        def __missing__(self, key: int) -> int:
            asked.append(key)
            self[key] = new[key]
            return new[key]

    same(lambda: renumber(array("I", values), Asked()))
    assert asked == 2 * list(dict.fromkeys(values)), "each distinct value once, in the order of appearance"


def test_numbers_out_of_bounds_are_refused() -> None:
    one, two = array("I", [0]), array("I", [0, 2])
    with pytest.raises(IndexError, match="value 2 of 2"):
        native.translate(two, two)
    with pytest.raises(IndexError, match="value 2 of 1"):
        native.merge(two, two, one, array("I"))
    with pytest.raises(ValueError, match="1 starts and 2 values"):
        native.merge(one, two, two, array("I"))
