"""The native engine: a shadow of the reference, which answers octet for octet the same, or declines.

Knows from which sources an extension was built. Knows nothing of what they do: `tables` opens blocks, `answer` answers.
Importing this package loads no extension; `geodns.engine` does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def find_shared(folder: Path) -> list[str]:
    """The files in *folder* that every extension is built from beside its own."""
    return sorted(map(str, folder.glob("*.pxd")))


def find_digest(folder: Path, name: str) -> str:
    """Digest of the sources of the extension *name* in *folder*, hexadecimal: its own and what all share."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (folder / f"{name}.pyx", *map(Path, find_shared(folder))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
