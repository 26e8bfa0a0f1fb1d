"""DNS over a stream: two octets of length before each message (RFC 1035 4.2.2, RFC 7766 8).

Knows the framing. Knows nothing of sockets, time or what a message says.
"""

from __future__ import annotations

from .constants import HEADER_SIZE, TCP_SIZE


def frame(message: bytes) -> bytes:
    """*message* with its length before it, to leave in one write. RFC 7766 8: both octets "in a single TCP segment"."""
    return len(message).to_bytes(2, "big") + message


class Framing:
    """Cuts what a peer sends into messages, however it arrives.

    Holds at most one unfinished message. `broken` turns true once a length is below that of a header: no DNS speaks there,
    and nothing that follows can be trusted to be a length.
    """

    __slots__ = ("_pending", "broken")

    def __init__(self) -> None:
        self._pending = b""
        self.broken = False

    @property
    def pending(self) -> int:
        """Octets of an unfinished message."""
        return len(self._pending)

    def feed(self, octets: bytes) -> list[bytes]:
        """The messages that *octets* complete, in order; none once the stream is broken."""
        if self.broken:
            return []
        stream = self._pending + octets
        messages, at, end = [], 0, len(stream)
        while end - at >= 2:
            length = stream[at] << 8 | stream[at + 1]
            if length < HEADER_SIZE:
                self.broken = True
                break
            if end - at - 2 < length:
                break
            messages.append(stream[at + 2 : at + 2 + length])
            at += 2 + length
        self._pending = b"" if self.broken else stream[at:]
        return messages


LONGEST_FRAME = 2 + TCP_SIZE
