"""What pydantic found wrong, in the words of the operator.

Knows the kinds of validation errors and the keys of every model. Knows nothing of files.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from .model import Config
from .model_checks import CHECK_TYPES
from .scalars import did_you_mean
from .tree import describe

_KINDS = {
    "model": "a mapping",
    "dict": "a mapping",
    "tuple": "a list",
    "list": "a list",
    "int": "a whole number",
    "float": "a number",
}


def tell(error: Any) -> str:
    """One error as a sentence that goes behind the path."""
    kind, given = error["type"], error["input"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "missing":
        return f'"{error["loc"][-1]}" is missing'
    if kind == "extra_forbidden":
        return tell_unknown(str(error["loc"][-1]), known_keys(error["loc"][:-1]))
    if kind == "union_tag_not_found":
        return (
            f'"type" is missing (one of {", ".join(CHECK_TYPES)})'
            if isinstance(given, dict)
            else f"must be a mapping, got {describe(given)}"
        )
    if kind == "union_tag_invalid":
        word = str(given["type"])
        return f'type "{word}" is not known (one of {", ".join(CHECK_TYPES)}){did_you_mean(word, CHECK_TYPES)}'
    wanted = _KINDS.get(kind.split("_")[0])
    return f"must be {wanted}, got {describe(given)}" if wanted else error["msg"]


def tell_unknown(key: str, known: list[str]) -> str:
    """``unknown key "wieght", did you mean "weight"?``, or what is known where nothing is near."""
    hint = did_you_mean(key, known) or f" (known: {', '.join(known)})"
    return f'unknown key "{key}"{hint}'


def is_misspelt(error: Any, errors: list[Any]) -> bool:
    """Whether the missing key of *error* stands there under another spelling, which has a complaint of its own."""
    if error["type"] != "missing":
        return False
    *path, key = error["loc"]
    beside = [
        str(other["loc"][-1]) for other in errors if other["type"] == "extra_forbidden" and other["loc"][:-1] == tuple(path)
    ]
    return any(did_you_mean(word, known_keys(tuple(path))) == f', did you mean "{key}"?' for word in beside)


def known_keys(path: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand in the mapping at *path*, a path as pydantic gives it (with the tag of a union)."""
    hint: Any = Config
    for step in path:
        hint = _descend(_bare(hint), step)
    hint = _bare(hint)
    if not (isinstance(hint, type) and issubclass(hint, BaseModel)):
        return []
    names = [name for name in hint.model_fields if name not in ("kind", "rrsets")]
    return [*names, "include"] if hint is Config else names


def _bare(hint: Any) -> Any:
    """*hint* without `Annotated` and "or None"."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else hint
    return hint


def _descend(hint: Any, step: int | str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return CHECK_TYPES.get(str(step))
    if get_origin(hint) is dict:
        return get_args(hint)[1]
    if get_origin(hint) is tuple:
        return get_args(hint)[0]
    if isinstance(hint, type) and issubclass(hint, BaseModel) and step in hint.model_fields:
        return hint.model_fields[str(step)].annotation
    return None
