"""The native loops of the compiler, where they were built and nobody asked for the reference.

Knows how they are found. Knows nothing of what they do: each shadows a function of `geo` or `compiler`, and those choose.
"""

from __future__ import annotations

import os

try:
    from .native import records, walk
except ImportError:  # never built, or for another Python
    BUILT = False
else:
    BUILT = True

__all__ = ["are_native", "records", "walk"]


def are_native() -> bool:
    """May `records` and `walk` be used? `GEODNS_PURE=1` forces the reference."""
    return BUILT and os.environ.get("GEODNS_PURE", "") in ("", "0")
