"""The console script: what must start quickly starts here, everything else goes to `cli`.

Knows the shapes of a command line that need no parser: ``--version``, a plain ``pipe`` and a plain ``serve``. Knows nothing
of what commands do. Starting the daemon costs no typer and no rich, and the shim for PowerDNS, of which there are many, not
even pathlib; a command line of any other shape does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import __version__

TYPE_CHECKING = False  # typing's own takes 4 ms to import
if TYPE_CHECKING:
    from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit status.

    0 is fine, 1 problems found, 2 wrong usage, 3 daemon not reachable.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if list(arguments) == ["--version"]:
        from .engine import name  # noqa: PLC0415

        print(f"geodns {__version__} ({name()})")
        return 0
    plain, socket, file = parse_pipe(arguments)
    if plain:
        from .pipe import run as run_pipe  # noqa: PLC0415

        return run_pipe(socket, file)
    plain, config = parse_serve(arguments)
    if not plain:
        from .cli import run  # noqa: PLC0415  (typer: 35 ms that the daemon need not pay)

        return run(arguments)
    from .daemon import serve  # noqa: PLC0415  (a version or a usage error needs no daemon)

    return serve(config)


def parse_pipe(arguments: Sequence[str]) -> tuple[bool, str | None, str | None]:
    """Is this a plain ``pipe --socket PATH`` or ``pipe -c FILE``, and which path, which file does it name?"""
    match list(arguments):
        case ["pipe", "--socket", path] if path and not path.startswith("-"):
            return True, path, None
        case ["pipe", "-c" | "--config", file] if file and not file.startswith("-"):
            return True, None, file
        case ["pipe", option] if option.startswith("--socket=") and len(option) > len("--socket="):
            return True, option.removeprefix("--socket="), None
        case ["pipe", option] if option.startswith("--config=") and len(option) > len("--config="):
            return True, None, option.removeprefix("--config=")
    return False, None, None


def parse_serve(arguments: Sequence[str]) -> tuple[bool, Path | None]:
    """Is this a plain ``serve [-c FILE]``, and which file does it name (None: the usual places)?

    Whatever else follows ``serve`` is left to `cli`, which knows the same words and can explain them.
    """
    from pathlib import Path  # noqa: PLC0415 (8 ms, which are many for the shim)

    match list(arguments):
        case ["serve"]:
            return True, None
        case ["serve", "-c" | "--config", path] if not path.startswith("-"):
            return True, Path(path)
        case ["serve", option] if option.startswith("--config=") and len(option) > len("--config="):
            return True, Path(option.removeprefix("--config="))
    return False, None
