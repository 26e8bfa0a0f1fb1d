"""The compiler under both engines: what each makes of the same input, blocks and words alike.

Knows how the native loops are switched off for a while. Where there is a compiler they must have been built.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from geodns import loops
from geodns.errors import DatabaseError

T = TypeVar("T")

if not loops.FIT:
    if shutil.which(os.environ.get("CC", "cc")):
        raise RuntimeError("the native loops are not built, or from other sources: make test builds them")
    pytest.skip("no compiler, so no native loops", allow_module_level=True)


@contextmanager
def engine(name: str) -> Iterator[None]:
    """The compiler works natively, or as the reference."""
    before = loops.FIT
    loops.FIT = name == "native"
    try:
        yield
    finally:
        loops.FIT = before


def under(name: str, work: Callable[[], T]) -> T | str:
    """What *work* gives under one engine, or the text of its DatabaseError."""
    with engine(name):
        try:
            return work()
        except DatabaseError as error:
            return str(error)


def same(work: Callable[[], T]) -> T | str:
    """What *work* gives under both engines, or the text of its DatabaseError; fails where they differ."""
    pure, native = under("pure", work), under("native", work)
    assert native == pure
    return native
