"""Facts as JSON: one form for the command line and the API.

Knows dataclasses, and how a large document is written in small steps. Knows nothing of what the facts mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache
from operator import attrgetter
from typing import Any

PIECE = 400  # values that are written at once, about: some tens of microseconds

LEAVES = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """What JSON has no form for: facts become objects, what follows from them included, fractions numbers, the rest text."""
    if is_facts(value):
        kind: type = type(value)
        names, read = _keys_of(kind)
        return dict(zip(names, read(value), strict=True))
    return float(value) if isinstance(value, Fraction) else str(value)


def is_facts(value: Any) -> bool:
    """Is it a dataclass's instance?"""
    return is_dataclass(value) and not isinstance(value, type)


@cache
def _keys_of(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The keys of a dataclass as JSON, its fields and then its properties; and how they are read, all at once."""
    follows = (name for name, member in vars(kind).items() if isinstance(member, property))
    names = (*(field.name for field in fields(kind)), *follows)
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda value: tuple(getattr(value, name) for name in names)


def to_json(facts: Any, indent: int | None = 2) -> str:
    """*facts* as one JSON document; for the main thread of the daemon there is `write_pieces`."""
    return json.dumps(facts, default=plain, indent=indent, ensure_ascii=False)


_encode = json.JSONEncoder(default=plain, ensure_ascii=False, separators=(",", ":")).encode


def write_pieces(facts: Any) -> Iterator[str]:
    """*facts* as one JSON document without blanks, in pieces of which each is soon made.

    A status of 10,000 members takes hundreds of milliseconds, which no query shall wait for.
    """
    if _count(facts, PIECE) <= PIECE:
        yield _encode(facts)
        return
    facts = plain(facts) if is_facts(facts) else facts
    if isinstance(facts, Mapping):
        yield "{"
        for number, (name, value) in enumerate(facts.items()):
            yield f"{',' if number else ''}{_encode(str(name))}:"
            yield from write_pieces(value)
        yield "}"
    else:
        yield "["
        for number, value in enumerate(facts):
            if number:
                yield ","
            yield from write_pieces(value)
        yield "]"


def _count(value: Any, most: int) -> int:
    """How many values are inside; whatever is above *most* stands for all that is more."""
    if isinstance(value, Mapping):
        inside: Iterable[Any] = value.values()
    elif isinstance(value, (tuple, list)):
        inside = value
    elif is_facts(value):
        kind: type = type(value)
        inside = _keys_of(kind)[1](value)
    else:
        return 1
    count = 1
    for one in inside:
        count += 1 if type(one) in LEAVES else _count(one, most - count)
        if count > most:
            break
    return count
