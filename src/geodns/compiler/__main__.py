"""`python -m geodns.compiler FILE [OPTIONS]`: the compiler as a process of its own, for the daemon.

Knows its stdin (what to compare with, if anything; it closes when the daemon is gone), its stdout (the hand-over, once), its
niceness. Knows nothing of how anything is compiled.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
from pathlib import Path

from ..errors import GeodnsError
from .handover import Handover, Old, Refusal, pack, refuse, unpack_old
from .serials import read_serials

NICENESS = 10  # on a machine that is busy with six other programs it means a thirtieth of a core


def main() -> int:
    """Compile, hand over, return 0: refusals are handed over too. Anything else means that this process failed."""
    parser = argparse.ArgumentParser(prog="geodns.compiler")
    parser.add_argument("path", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--old", type=int, default=0, help="so many octets on stdin: compare with that")
    parser.add_argument("--nice", action="store_true", help="queries are answered meanwhile, and come first")
    parser.add_argument("--last-good", action="store_true", help="compile what was kept in the state")
    options = parser.parse_args()
    old = _read_old(options.old) if options.old else None
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if options.nice:
        os.nice(NICENESS)
    out = os.dup(1)
    os.dup2(2, 1)  # nothing that prints may spoil the hand-over
    octets = pack(_compile(options, old))
    with os.fdopen(out, "wb") as pipe:
        pipe.write(octets)
    return 0


def _compile(options: argparse.Namespace, old: Old | None) -> Handover | Refusal:
    try:
        from . import work  # noqa: PLC0415 - an import that fails is told by the pipe too

        if options.last_good:
            return work.compile_last_good(options.path, options.state, options.images)
        return work.compile_files(options.path, options.state, options.images, read_serials(options.state), old)
    except GeodnsError as error:
        return refuse(error)
    except Exception:
        lines = ("the compiler failed, which is a bug in geodns:", *traceback.format_exc().splitlines())
        return Refusal(lines, 1)


def _read_old(size: int) -> Old:
    """What the daemon sends first. It has gone where there is less than it said."""
    octets = bytearray()
    while len(octets) < size:
        more = os.read(0, size - len(octets))
        if not more:
            os._exit(1)
        octets += more
    return unpack_old(bytes(octets))


def _die_with_parent() -> None:
    """Wait for the end of stdin, to which nobody writes any more: the daemon is gone, and so are we."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
