"""Which engine answers: the native one where it can be used, else the reference.

Knows how the native engine is found, and when it must not be trusted. Knows nothing of what it does.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from .native import find_stale

if TYPE_CHECKING:
    from .native.answer import Rules, Shadow
    from .native.tables import Names, Root

PURE, NATIVE = "pure", "native"
_log = logging.getLogger(__name__)


class Native(NamedTuple):
    """The doors of the native engine; threads are `server.native_udp`, to be imported only where this is there."""

    Names: type[Names]
    Root: type[Root]
    Rules: type[Rules]
    Shadow: type[Shadow]


class Found(NamedTuple):
    """What came of looking for the native engine; *trouble* is what should not be, one line, most often empty."""

    native: Native | None
    trouble: str


def load() -> Native | None:
    """The native engine; None where GEODNS_PURE asks for the reference, it was not built, or is unfit (with a warning)."""
    if os.environ.get("GEODNS_PURE", "") not in {"", "0"}:
        return None
    native, trouble = find()
    if trouble:
        _log.warning("the native engine is not used: %s; the reference answers", trouble)
    return native


def name() -> str:
    """`native` or `pure`."""
    return PURE if load() is None else NATIVE


@cache
def find() -> Found:
    """Look for the extensions, once: were they built, for this Python, from these sources and for these blocks?"""
    try:
        from .native import answer, tables, udp  # noqa: PLC0415  (whoever asks for a version alone needs none of it)
    except ImportError as error:
        if find_spec(f"{__package__}.native.answer") is None:  # no compiler where it was installed: that is no fault
            return Found(None, "")
        return Found(None, str(error))
    stale = find_stale(answer, tables, udp)
    if stale:
        return Found(
            None, f"{', '.join(stale)}: built from other sources than those beside it; build again (make run, make test)"
        )
    return Found(Native(tables.Names, tables.Root, answer.Rules, answer.Shadow), "")
