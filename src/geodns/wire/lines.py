"""Lines over a stream, as PowerDNS sends them to its backends.

Knows where a line ends and how long it may be. Knows nothing of sockets, or of what a line says.
"""

from __future__ import annotations

LONGEST_LINE = 1 << 16  # octets; a question has at most some 1,200, most of them escapes of its name


class Lines:
    """Cuts what a peer sends into lines, however it arrives.

    Holds at most one unfinished line of `LONGEST_LINE` octets. What is longer counts as one line that nobody can read: its
    octets are dropped up to its end, so that whoever answers each line once stays in step.
    """

    __slots__ = ("_dropping", "_pending")

    def __init__(self) -> None:
        self._pending = b""
        self._dropping = False  # in the middle of a line that is too long

    @property
    def pending(self) -> int:
        """Octets of an unfinished line that are kept."""
        return len(self._pending)

    @property
    def begun(self) -> bool:
        """Has a line begun that has not ended?"""
        return self._dropping or bool(self._pending)

    def feed(self, octets: bytes) -> list[bytes | None]:
        """The lines that *octets* complete, without their line feed; None for one that was too long."""
        *whole, rest = (self._pending + octets).split(b"\n")
        lines: list[bytes | None] = [line if len(line) <= LONGEST_LINE else None for line in whole]
        if lines and self._dropping:
            lines[0] = None
        self._dropping = (self._dropping and not lines) or len(rest) > LONGEST_LINE
        self._pending = b"" if self._dropping else rest
        return lines
