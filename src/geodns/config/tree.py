"""What was written, where: the values of a YAML file before anybody gives them a type.

Knows that a scalar is its source text, and that every value and key has a position. Knows nothing of YAML syntax or
of which keys there are. The three types are what they look like (`str`, `list`, `dict`), so that the model reads
them as they are.
"""

from __future__ import annotations

import re

from ..errors import Place

# What switches off what can be off. Only unquoted: "off" in quotes is the word.
OFF_WORDS = frozenset({"", "~", "null", "off", "no", "false"})
NULL_WORDS = frozenset({"", "~", "null"})


class Scalar(str):
    """One value as its source text. `plain` tells that it stood without quotes."""

    __slots__ = ("column", "file", "line", "plain")

    file: str
    line: int
    column: int
    plain: bool

    @property
    def place(self) -> Place:
        return Place(self.file, self.line, self.column)


class Items(list["Written"]):
    """A list, and where it begins."""

    __slots__ = ("column", "file", "line")

    file: str
    line: int
    column: int

    @property
    def place(self) -> Place:
        return Place(self.file, self.line, self.column)


class Entries(dict[str, "Written"]):
    """A mapping, where it begins, and where each of its keys stands."""

    __slots__ = ("column", "file", "keys_at", "line")

    file: str
    line: int
    column: int
    keys_at: dict[str, Place]

    @property
    def place(self) -> Place:
        return Place(self.file, self.line, self.column)


Written = Scalar | Items | Entries


def make_scalar(text: str, place: Place, plain: bool = True) -> Scalar:
    """A scalar with its position."""
    scalar = Scalar(text)
    scalar.file, scalar.line, scalar.column, scalar.plain = place.file, place.line, place.column, plain
    return scalar


def make_items(place: Place) -> Items:
    """An empty list with its position."""
    items = Items()
    items.file, items.line, items.column = place.file, place.line, place.column
    return items


def make_entries(place: Place) -> Entries:
    """An empty mapping with its position."""
    entries = Entries()
    entries.file, entries.line, entries.column = place.file, place.line, place.column
    entries.keys_at = {}
    return entries


def is_null(value: object) -> bool:
    """Whether *value* is nothing: None, ``~``, ``null``, or a key with nothing behind it."""
    if isinstance(value, Scalar):
        return value.plain and value.lower() in NULL_WORDS
    return value is None


def is_off(value: object) -> bool:
    """Whether *value* switches off: nothing, or ``off``, ``no``, ``false``."""
    if isinstance(value, Scalar):
        return value.plain and value.lower() in OFF_WORDS
    return value is None or value is False


def describe(value: object) -> str:
    """*value* as complaints show it: a number or word as written, a list or mapping by its kind."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if is_null(value):
        return "nothing"
    text = str(value)
    if re.fullmatch(r"[+-]?[0-9][0-9A-Za-z.]*", text):
        return text
    return f'"{text[:77]}..."' if len(text) > 80 else f'"{text}"'
