"""The console script: what must start quickly starts here, everything else goes to `cli`.

Knows the shapes of a command line that need no parser: ``--version`` and a plain ``serve``. Knows nothing of what
commands do. Starting the daemon costs no typer and no rich; a command line of any other shape does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit status.

    0 is fine, 1 problems found, 2 wrong usage, 3 daemon not reachable.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if list(arguments) == ["--version"]:
        print(f"geodns {__version__}")
        return 0
    plain, config = parse_serve(arguments)
    if not plain:
        from .cli import run  # noqa: PLC0415  (typer: 35 ms that the daemon need not pay)

        return run(arguments)
    from .daemon import serve  # noqa: PLC0415  (a version or a usage error needs no daemon)

    return serve(config)


def parse_serve(arguments: Sequence[str]) -> tuple[bool, Path | None]:
    """Is this a plain ``serve [-c FILE]``, and which file does it name (None: the usual places)?

    Whatever else follows ``serve`` is left to `cli`, which knows the same words and can explain them.
    """
    match list(arguments):
        case ["serve"]:
            return True, None
        case ["serve", "-c" | "--config", path] if not path.startswith("-"):
            return True, Path(path)
        case ["serve", option] if option.startswith("--config=") and len(option) > len("--config="):
            return True, Path(option.removeprefix("--config="))
    return False, None
