"""Searches regular expressions in texts that strangers send, in a process of its own: `python matcher.py SECONDS`.

Knows only that a search may take for ever: the kernel ends this process where one uses more processor time than it may.
Knows nothing of probes; nothing of ours is imported, so that it starts in milliseconds.
"""

from __future__ import annotations

import re
import signal
import struct
import sys

SIZES = struct.Struct("=II")  # of the pattern and of the text, both in UTF-8, which follow
FOUND, MISSING = b"1", b"0"


def main(seconds: float) -> None:
    """Reply with one octet to each request, until there are no more."""
    while len(header := sys.stdin.buffer.read(SIZES.size)) == SIZES.size:
        sizes = SIZES.unpack(header)
        pattern, text = (sys.stdin.buffer.read(size).decode("utf-8", "replace") for size in sizes)
        # SIGPROF is not handled, and so ends the process. A handler of Python's would only run between two steps of its own.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        found = re.search(pattern, text) is not None
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(FOUND if found else MISSING)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
