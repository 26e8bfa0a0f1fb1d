"""Facts as JSON: one form for the command line and the API.

Knows dataclasses, and how a large document is written in small steps. Knows nothing of what the facts mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache
from typing import Any

PIECE = 8  # values of a sequence that are written at once; a longer one is written value by value


def plain(value: Any) -> Any:
    """What JSON has no form for: facts become objects, what follows from them included, fractions numbers, the rest text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in names_of(type(value))}
    return float(value) if isinstance(value, Fraction) else str(value)


@cache
def names_of(kind: type) -> tuple[str, ...]:
    """The keys of a dataclass as JSON: its fields, then its properties."""
    follows = (name for name, member in vars(kind).items() if isinstance(member, property))
    return (*(field.name for field in fields(kind)), *follows)


def to_json(facts: Any, indent: int | None = 2) -> str:
    """*facts* as one JSON document; for the main thread of the daemon there is `write_pieces`."""
    return json.dumps(facts, default=plain, indent=indent, ensure_ascii=False)


_encode = json.JSONEncoder(default=plain, ensure_ascii=False, separators=(",", ":")).encode


def write_pieces(facts: Any) -> Iterator[str]:
    """*facts* as one JSON document without blanks, in pieces of which each is soon made.

    A status of 10,000 members takes hundreds of milliseconds, which no query shall wait for.
    """
    facts = plain(facts) if is_dataclass(facts) and not isinstance(facts, type) else facts
    if _is_small(facts):
        yield _encode(facts)
    elif isinstance(facts, Mapping):
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


def _is_small(value: Any, depth: int = 4) -> bool:
    """Has *value* nothing inside that is longer than `PIECE`, down to *depth*? Keys of an object do not count."""
    if isinstance(value, Mapping):
        inside = tuple(value.values()) if len(value) <= 4 * PIECE else None
    elif isinstance(value, (tuple, list)):
        inside = tuple(value) if len(value) <= PIECE else None
    elif is_dataclass(value) and not isinstance(value, type):
        inside = tuple(getattr(value, name) for name in names_of(type(value)))
    else:
        return True
    return inside is not None and depth > 0 and all(_is_small(one, depth - 1) for one in inside)
