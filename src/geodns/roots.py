"""Roots: the native form of each snapshot, made beside it.

Knows which parts of a root are made anew after a load and after a flip of health, and that neither may hold up a query.
Knows nothing of what a root holds, nor of who publishes it. Where the native engine is not used, every root is None.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from .image_choices import ChoicesWriter
from .snapshot import Choices, Maps, Zones
from .threads import in_thread

if TYPE_CHECKING:
    from .engine import Native
    from .native.tables import Names, Root


class Roots:
    """Makes one root after the other; *native* is the engine, if it is used."""

    def __init__(self, native: Native | None) -> None:
        self.native = native
        self._writer = ChoicesWriter()  # keeps what it wrote: after a flip only few pools are written anew

    async def open(self, maps: Maps, zones: bytes) -> Names | None:
        """The names of a load, out of both blocks: checked and hashed in a thread. Raises ImageError."""
        if self.native is None:
            return None
        return await in_thread(self.native.Names, maps.block, zones)

    def finish(self, names: Names | None, choices: Choices, zones: Zones) -> Generator[None, None, Root | None]:
        """The root of a load; *zones* are those of *names*. In slices, since every pool is written. Raises ImageError."""
        if self.native is None or names is None:
            return None
        return self.native.Root(names, None, (yield from self._writer.write_in_slices(choices, zones)))

    def flip(self, root: Root | None, choices: Choices, zones: Zones) -> Generator[None, None, Root | None]:
        """*root* under other *choices*; all else is shared. In slices, since one outage may touch every pool."""
        return None if root is None else root.with_choices((yield from self._writer.write_in_slices(choices, zones)))
