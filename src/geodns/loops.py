"""The native loops of the compiler, where they were built and nobody asked for the reference.

Knows how they are found, and that they must be built from the sources beside them. Knows nothing of what they do: each
shadows a function of `geo` or `compiler`, and those choose.
"""

from __future__ import annotations

import logging
import os

from .native import find_stale

try:
    from .native import distance, layers, records, walk
except ImportError:  # never built, or for another Python
    FIT = False
else:
    _stale = find_stale(distance, layers, records, walk)
    FIT = not _stale
    if _stale:
        logging.getLogger(__name__).warning(
            "%s: built from other sources than those beside it; the reference compiles (build again: make run, make test)",
            ", ".join(_stale),
        )

__all__ = ["are_native", "distance", "layers", "records", "walk"]


def are_native() -> bool:
    """May the loops be used? `GEODNS_PURE=1` forces the reference."""
    return FIT and os.environ.get("GEODNS_PURE", "") in {"", "0"}
