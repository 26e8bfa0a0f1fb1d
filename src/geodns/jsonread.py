"""JSON back into the facts that it was made of: what a client of the daemon shows in the words of `present`.

Knows dataclasses by their annotations, and the plain types inside them. Knows nothing of what they mean.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .errors import GeodnsError

T = TypeVar("T")
PLAIN: dict[type, tuple[type, ...]] = {  # our type to JSON's
    bool: (bool,),
    int: (int,),
    str: (str,),
    float: (int, float),
    Fraction: (int, float),
}


def read_facts(kind: type[T], value: object) -> T:
    """The *kind* that *value*, parsed JSON, stands for; whatever *kind* has no field for is left out.

    A field with a default may be missing: an older daemon does not know it, and must be operated until it is replaced.
    Raises GeodnsError where something is missing or of another type: two versions of geodns that do not fit.
    """
    try:
        return cast(T, _read(kind, value))
    except (TypeError, ValueError) as error:
        text = f"the daemon's reply does not read as {kind.__name__}; is it of another version? {error}"
        raise GeodnsError(text) from None


def _read(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        kinds = [one for one in get_args(kind) if one is not types.NoneType]
        return None if value is None and len(kinds) < len(get_args(kind)) else _read(kinds[0], value)
    if origin is tuple:
        return _read_tuple(get_args(kind), value)
    if is_dataclass(kind):
        return _read_dataclass(kind, value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if not isinstance(value, PLAIN[kind]) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(f"{value!r:.80} is no {kind.__name__}")
    return kind(value)


def _read_tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.80} is no list")
    if kinds[-1] is Ellipsis:
        return tuple(_read(kinds[0], item) for item in value)
    return tuple(_read(kind, item) for kind, item in zip(kinds, value, strict=True))


def _read_dataclass(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.80} is no object")
    hints = _hints(kind)
    optional = {field.name for field in fields(kind) if field.default is not MISSING}
    missing = [name for name in hints if name not in value and name not in optional]
    if missing:
        raise ValueError(f"{kind.__name__} without {', '.join(missing)}")
    return kind(**{name: _read(hint, value[name]) for name, hint in hints.items() if name in value})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass with their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
