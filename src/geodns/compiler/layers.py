"""Ranges of one family with a number each: renumbered, merged, laid over each other, cut.

Knows sorted starts. Knows nothing of what the numbers mean, but that 0 is nothing known.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from operator import ne

from .. import loops

NO_VALUE = -1


@dataclass(frozen=True, slots=True)
class Layer:
    """Ranges: *values[i]* holds from *starts[i]* up to the next start. It begins with 0; 0 as a value is nothing known."""

    starts: array[int]
    values: array[int]


def find_distinct(values: array[int]) -> Sequence[int]:
    """Each of *values* once, in the order of appearance."""
    return loops.layers.find_distinct(values) if loops.are_native() else list(dict.fromkeys(values))


def renumber(values: array[int], numbers: Sequence[int] | Mapping[int, int]) -> array[int]:
    """*numbers*[value] for each of *values*. A mapping is asked for each distinct value, in the order of appearance."""
    if not loops.are_native() or not values:
        return array("I", map(numbers.__getitem__, values))
    distinct = find_distinct(values)
    flat = array("I", bytes(4 * (max(distinct) + 1)))
    for value in distinct:
        flat[value] = numbers[value]
    return loops.layers.translate(values, flat)


def merge(layer: Layer, kinds: Sequence[int], forced: Sequence[int]) -> Layer:
    """*layer* with *kinds* of its values as values; neighbours that are equal become one but at *forced* indexes."""
    if loops.are_native():
        return Layer(*loops.layers.merge(layer.starts, layer.values, array("I", kinds), array("I", forced)))
    values = array("I", map(kinds.__getitem__, layer.values))
    begins = bytearray(map(ne, values, chain((NO_VALUE,), values)))
    for i in forced:
        begins[i] = 1
    return Layer(array(layer.starts.typecode, compress(layer.starts, begins)), array("I", compress(values, begins)))


def fill_gaps(above: Layer, below: Layer) -> Layer:
    """*above*, and where it knows nothing, *below*: the first file that knows an address wins whole."""
    if not any(below.values):
        return above
    if not any(above.values):
        return below
    starts, values, done = array(above.starts.typecode), array("I"), 0
    for i in [i for i, value in enumerate(above.values) if not value]:
        starts.extend(above.starts[done:i])
        values.extend(above.values[done:i])
        first = above.starts[i]
        j = bisect_right(below.starts, first) - 1
        k = bisect_left(below.starts, above.starts[i + 1]) if i + 1 < len(above.starts) else len(below.starts)
        starts.append(first)
        starts.extend(below.starts[j + 1 : k])
        values.extend(below.values[j:k])
        done = i + 1
    starts.extend(above.starts[done:])
    values.extend(above.values[done:])
    return Layer(starts, values)


def split(layer: Layer, edges: Sequence[int]) -> tuple[array[int], array[int]]:
    """Starts and values of *layer*, cut so that each of *edges*, which rise, is a start."""
    starts, values, done = array(layer.starts.typecode), array("I"), 0
    for edge in edges:
        i = bisect_left(layer.starts, edge, done)
        starts.extend(layer.starts[done:i])
        values.extend(layer.values[done:i])
        if i == len(layer.starts) or layer.starts[i] != edge:
            starts.append(edge)
            values.append(layer.values[i - 1])
        done = i
    starts.extend(layer.starts[done:])
    values.extend(layer.values[done:])
    return starts, values
