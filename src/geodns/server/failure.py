"""What happens when `answer` raises: the adapters count it, tell it at a bounded rate, and reply SERVFAIL.

Knows the shape of a header, and how often a traceback is worth a log line. Knows nothing of sockets.
"""

from __future__ import annotations

import logging
import time

from ..wire.constants import HEADER_SIZE

PACE = 10.0  # seconds between two tracebacks, so that a packet that hurts cannot fill the disk (checklist A4)

_log = logging.getLogger(__name__)


class Pace:
    """What a stranger can bring about is told at once the first time, then once every `PACE` seconds with a count."""

    def __init__(self) -> None:
        self._next = 0.0
        self._untold = 0

    def due(self) -> int | None:
        """One more: None where nothing is to be said of it, else how many were passed over since the last time."""
        now = time.monotonic()
        if now < self._next:
            self._untold += 1
            return None
        self._next, untold, self._untold = now + PACE, self._untold, 0
        return untold


class Failures:
    """Our own mistakes, as the log sees them."""

    def __init__(self) -> None:
        self._pace = Pace()

    def tell(self, query: bytes) -> bytes | None:
        """Log the exception being handled, at the limited rate; returns the reply to *query*."""
        if (untold := self._pace.due()) is not None:
            more = f" ({untold} more since the last such line)" if untold else ""
            # the whole query in hexadecimal: whoever mends it can replay it, and nothing in it can forge a log line
            _log.exception("a query failed, which is a bug in geodns; replied SERVFAIL%s; query %s", more, query.hex())
        return write_servfail(query)


def write_servfail(query: bytes) -> bytes | None:
    """SERVFAIL with the id, opcode and RD of *query*, or None for what must not be answered at all.

    RFC 1035 4.1.1: ID, opcode and RD are copied. The question is left out, since it may be what could not be read.
    """
    if len(query) < HEADER_SIZE or query[2] & 0x80:  # RFC 1035: a response (QR=1) is never answered
        return None
    return query[:2] + bytes((0x80 | query[2] & 0x79, 2)) + bytes(8)
