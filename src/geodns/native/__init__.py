"""The native engine: a shadow of the reference, which answers octet for octet the same, or declines.

Knows from which sources an extension was built. Knows nothing of what they do: `tables` opens blocks, `answer` answers.
Importing this package loads no extension; `geodns.engine` does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

FOLDER = Path(__file__).parent


class Extension(Protocol):
    """A module that was built from one .pyx file and what all share."""

    __name__: str
    SOURCE_DIGEST: str


def find_shared(folder: Path) -> list[str]:
    """The files in *folder* that every extension is built from beside its own."""
    return sorted(map(str, folder.glob("*.pxd")))


def find_digest(folder: Path, name: str) -> str:
    """Digest of the sources of the extension *name* in *folder*, hexadecimal: its own and what all share."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (folder / f"{name}.pyx", *map(Path, find_shared(folder))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def find_stale(*extensions: Extension) -> list[str]:
    """The names of those that were built from other sources than lie beside them; an installed wheel has none there."""
    names = {extension.__name__.rpartition(".")[2]: extension for extension in extensions}
    return [
        name
        for name, extension in names.items()
        if (FOLDER / f"{name}.pyx").exists() and find_digest(FOLDER, name) != extension.SOURCE_DIGEST
    ]
