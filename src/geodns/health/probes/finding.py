"""What a probe found out, and how failures are put into words.

Knows which failures show that somebody is there, which show nothing, and which are our own. Knows nothing of protocols.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import NamedTuple

from ..state import Verdict

LONGEST_TEXT = 200
NOT_PRINTABLE = re.compile(r"[^ -~\u00a1-\u00ac\u00ae-\u024f]+")

# Nobody replied, or only somebody on the way: these say nothing of whether we can see at all.
UNSEEN = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ETIMEDOUT})
# Nothing left this machine: that is no fault of the member's.
OURS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EACCES,
        errno.EPERM,
    }
)
# How Python words a name or an address that the certificate does not have.
WRONG_NAME = re.compile(r"not valid for '(.*)'")


class Finding(NamedTuple):
    """What one probe says; `probes` adds the target and the time, which makes an outcome of it."""

    verdict: Verdict
    text: str
    seen: bool = True
    weight: int | None = None


class Trail:
    """How far a probe got. Somebody who runs out of time is asked for it."""

    __slots__ = ("expires", "heard", "waiting_for")

    def __init__(self) -> None:
        self.waiting_for = "connection"
        self.heard = False  # any octet, or the end of the connection
        self.expires: float | None = None  # when the member's certificate ends, seconds since 1970

    def hear(self) -> None:
        """Something came."""
        self.heard = True
        self.waiting_for = "end of the reply"


class Unresolved(Exception):
    """A name has no address; the text says which and why."""


class Unable(Exception):
    """We cannot probe, for reasons of our own; the text tells the operator what to do."""


def passed(text: str) -> Finding:
    """A success."""
    return Finding(Verdict.UP, text)


def failed(text: str, seen: bool = True) -> Finding:
    """A failure; *seen* where somebody replied."""
    return Finding(Verdict.DOWN, text, seen)


def unsure(text: str) -> Finding:
    """Neither: the probe cannot say."""
    return Finding(Verdict.UNKNOWN, text)


def late(trail: Trail, timeout: float) -> Finding:
    """The time was over; *timeout* in seconds."""
    return failed(f"no {trail.waiting_for} within {timeout:g} s", trail.heard)


def explain_error(error: Exception) -> Finding | None:
    """What *error* says of the member; None for one that only a fault of ours can explain."""
    match error:
        case Unresolved():
            return failed(str(error), seen=False)
        case Unable():
            return unsure(str(error))
        case ssl.SSLError():
            return failed(_explain_tls(error))
        case socket.gaierror():
            return failed(f"name cannot be resolved: {error.strerror}", seen=False)
        case EOFError():
            return failed(str(error) or "connection closed without a reply")
        case OSError(errno=int(number)):
            return _explain_number(number)
        case ConnectionError():  # asyncio makes them up, without a number, where a handshake ends early
            return failed("connection closed in the handshake")
    return None


def _explain_number(number: int) -> Finding:
    words = os.strerror(number)
    words = words[:1].lower() + words[1:]
    if number in OURS:
        return unsure(f"cannot probe: {words}")
    return failed(words, seen=number not in UNSEEN)


def _explain_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        wrong = WRONG_NAME.search(error.verify_message)
        return f"certificate: {f'hostname mismatch ({wrong[1]})' if wrong else error.verify_message}"
    reason = (error.reason or "connection closed").replace("_", " ").lower()
    return f"TLS: {reason}"


def one_line(text: str, most: int = LONGEST_TEXT) -> str:
    """*text* on one line of at most *most* characters, without what a terminal could take for an order."""
    line = NOT_PRINTABLE.sub(" ", text).strip()
    return line if len(line) <= most else line[: most - 3] + "..."


def quote(octets: bytes, most: int = 40) -> str:
    """The beginning of what somebody sent, for people."""
    return f'"{one_line(octets[: 4 * most].decode("utf-8", "replace"), most)}"'
