from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config import compose as module
from geodns.config.compose import compose, place_at
from geodns.config.tree import Entries, Items, Scalar, Written, describe, is_null, is_off, make_scalar
from geodns.errors import Place


def only_text(value: Written) -> object:
    """The tree without positions."""
    if isinstance(value, Entries):
        return {str(key): only_text(inner) for key, inner in value.items()}
    return [only_text(inner) for inner in value] if isinstance(value, Items) else str(value)


CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff\ufffe\uffff")
WORDS = st.text(CHARACTERS, max_size=8)
VALUES = st.recursive(WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4))
STYLES = st.fixed_dictionaries(
    {"default_style": st.sampled_from([None, "'", '"']), "default_flow_style": st.sampled_from([True, False, None])}
)


@given(st.dictionaries(WORDS, VALUES, max_size=4), STYLES)
@settings(deadline=None)
def test_always_gives_back_what_another_writer_wrote(value: dict[str, object], style: dict[str, Any]) -> None:
    """PyYAML's writer is the other opinion: anchors for what repeats, any style."""
    text: str = yaml.dump(value, **style, allow_unicode=True, sort_keys=False)
    root, complaints = compose(text, "f")
    assert complaints == []
    assert root is not None and only_text(root) == value


@given(st.dictionaries(WORDS, VALUES, max_size=4))
@settings(deadline=None, max_examples=50)
def test_always_reads_the_same_with_and_without_libyaml(value: dict[str, object]) -> None:
    text = yaml.dump(value, allow_unicode=True)
    fast, _ = compose(text, "f")
    parser = module._PARSER
    try:
        module._PARSER = yaml.SafeLoader
        slow, _ = compose(text, "f")
    finally:
        module._PARSER = parser
    assert fast is not None and slow is not None
    assert fast == slow and fast.keys_at == slow.keys_at


def test_positions_count_characters_from_one() -> None:
    root, _ = compose("é: {ü: x}\nb:\n  - 'q'\n", "f")
    assert root is not None
    assert root.keys_at == {"é": Place("f", 1, 1), "b": Place("f", 2, 1)}
    inner = root["é"]
    assert isinstance(inner, Entries) and inner.keys_at["ü"] == Place("f", 1, 5)
    items = root["b"]
    assert isinstance(items, Items) and isinstance(items[0], Scalar)
    assert items[0].place == Place("f", 3, 5) and not items[0].plain
    assert place_at("a\r\nb\rc\nd", 7, "f") == Place("f", 4, 1)


def test_reading_ends_behind_the_key_that_was_asked_for() -> None:
    root, complaints = compose("a: 1\nserver: {x: y}\nserver: twice\n{[", "f", only="server")
    assert complaints == [] and root is not None
    assert only_text(root) == {"a": "1", "server": {"x": "y"}}


def test_keys_of_a_merged_mapping_keep_their_places() -> None:
    root, complaints = compose("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", "f")
    assert complaints == [] and root is not None
    y = root["y"]
    assert isinstance(y, Entries)
    assert only_text(y) == {"b": "3", "a": "1"}
    assert y.keys_at == {"b": Place("f", 2, 13), "a": Place("f", 1, 8)}


def test_a_quoted_merge_key_is_a_key() -> None:
    root, complaints = compose('y: {"<<": x}\n', "f")
    assert complaints == [] and root is not None and only_text(root) == {"y": {"<<": "x"}}


def test_aliases_share_what_they_name_as_often_as_they_like() -> None:
    text = "x: &x [1, 2]\n" + "".join(f"k{number}: *x\n" for number in range(1000))
    root, complaints = compose(text, "f")
    assert complaints == [] and root is not None and root["k999"] is root["x"]


@pytest.mark.parametrize("word", ["", "~", "null", "NULL", "off", "Off", "no", "false"])
def test_bare_words_switch_off_and_quoted_ones_are_words(word: str) -> None:
    place = Place("f", 1, 1)
    assert is_off(make_scalar(word, place))
    assert not is_off(make_scalar(word, place, plain=False))
    assert is_null(make_scalar(word, place)) is (word.lower() in ("", "~", "null"))
    assert not is_null(make_scalar(word, place, plain=False))


def test_values_from_code_are_off_only_as_none_and_false() -> None:
    assert is_off(None) and is_off(False) and not is_off("off") and not is_off(0)
    assert is_null(None) and not is_null("") and not is_null(False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [({}, "a mapping"), ([], "a list"), ((), "a list"), (None, "nothing"), ("-3", "-3"), ("1.10", "1.10"), ("a b", '"a b"')],
)
def test_values_are_shown_as_written(value: object, shown: str) -> None:
    assert describe(value) == shown


def test_long_values_are_shown_in_part() -> None:
    assert describe("x" * 500) == '"' + "x" * 77 + '..."'
