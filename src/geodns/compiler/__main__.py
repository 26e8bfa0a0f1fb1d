"""`python -m geodns.compiler FILE [--state=DIR] [--images=DIR]`: the compiler as a process of its own, for the daemon.

Knows its stdin (closes when the daemon is gone), its stdout (the hand-over, once), its niceness. Knows nothing of how
anything is compiled.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
from pathlib import Path

from ..errors import GeodnsError
from .handover import Handover, Refusal, pack, refuse
from .serials import read_serials

NICENESS = 10  # queries come first


def main() -> int:
    """Compile, hand over, return 0: refusals are handed over too. Anything else means that this process failed."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.nice(NICENESS)
    parser = argparse.ArgumentParser(prog="geodns.compiler")
    parser.add_argument("path", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    out = os.dup(1)
    os.dup2(2, 1)  # nothing that prints may spoil the hand-over
    octets = pack(_compile(options.path, options.state, options.images))
    with os.fdopen(out, "wb") as pipe:
        pipe.write(octets)
    return 0


def _compile(path: Path, state: Path | None, images: Path | None) -> Handover | Refusal:
    try:
        from .build import build, hand_over  # noqa: PLC0415 - an import that fails is told by the pipe too

        return hand_over(build(path, images, read_serials(state)))
    except GeodnsError as error:
        return refuse(error)
    except Exception:
        lines = ("the compiler failed, which is a bug in geodns:", *traceback.format_exc().splitlines())
        return Refusal(lines, 1)


def _die_with_parent() -> None:
    """Wait for the end of stdin, which nobody ever writes to: the daemon is gone, and so are we."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
