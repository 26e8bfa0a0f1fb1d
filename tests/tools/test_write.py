"""The writer, read back by maxminddb."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from maxminddb.decoder import Decoder
from tools.lite_geoip.write import UINT16, UINT32, UINT64, Data, Shared, Value, write_pointer, write_tree


def read_back(data: Data, at: int) -> object:
    value: object = Decoder(bytes(data.octets), 0).decode(at)[0]
    return value


@pytest.mark.parametrize("size", [0, 1, 28, 29, 284, 285, 65820, 65821, 70000])
def test_texts_of_every_length_class(size: int) -> None:
    data = Data()
    at = data.add("x" * size)
    assert read_back(data, at) == "x" * size


@pytest.mark.parametrize("at", [0, 1, 2047, 2048, 526335, 526336, 134744063, 134744064])
def test_pointers_of_every_size_class(at: int) -> None:
    """A pointer is followed, so what comes out is the text that stands at its end."""
    octets = write_pointer(at)
    kind, size = octets[0] >> 5, octets[0] >> 3 & 3
    value = int.from_bytes(octets[1:], "big")
    if size < 3:
        value += (octets[0] & 7) << 8 * len(octets[1:])
    assert kind == 1
    assert value + (0, 2048, 526336, 0)[size] == at
    if at < 600_000:
        buffer = bytes(at) + Data().octets + b"\x42hi" + octets
        assert Decoder(buffer, 0).decode(at + 3)[0] == "hi"


@pytest.mark.parametrize(
    ("kind", "number"), [(UINT16, 0), (UINT16, 65535), (UINT32, 256), (UINT32, 2**32 - 1), (UINT64, 2**40)]
)
def test_numbers(kind: int, number: int) -> None:
    data = Data()
    assert read_back(data, data.add((kind, number))) == number


texts = st.sampled_from(["", "a", "en", "names", "x" * 40])
values = st.recursive(
    texts | st.floats(-180, 180),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(texts.filter(bool), part, max_size=4),
    max_leaves=20,
)


@given(st.lists(values, min_size=1, max_size=6))
def test_always_what_is_written_is_read_back(given_values: list[Value]) -> None:
    data = Data()
    places = [data.add(value) for value in given_values]
    assert [read_back(data, at) for at in places] == given_values


def test_what_repeats_is_a_pointer() -> None:
    record: dict[str, Value] = {"country": {"iso_code": "US", "names": {"en": "United States"}}}
    data = Data()
    data.add(record)
    first = len(data.octets)
    data.add(record)
    assert len(data.octets) - first <= 6


def test_equal_pairs_are_one_node_and_equal_labels_none() -> None:
    shared = Shared(labels=5)
    assert shared.find_node(3, 3) == 3
    one = shared.find_node(3, 4)
    assert shared.find_node(3, 4) == one != shared.find_node(4, 3)
    assert shared.find_node(one, one) != one  # two equal nodes are a node: the address has one bit more
    assert len(shared.pairs) == 3


def test_a_tree_that_needs_wider_records_is_refused() -> None:
    shared = Shared(labels=2)
    root = shared.find_node(0, 1)
    assert len(write_tree(shared, root, {1: 100})) == 6
    with pytest.raises(ValueError, match="1 nodes and their data need 25 bits a record, the file has 24"):
        write_tree(shared, root, {1: 1 << 24})
    with pytest.raises(ValueError, match="must be made last"):
        shared.find_node(1, 0)
        write_tree(shared, root, {1: 100})
    assert array("I").itemsize == 4
