"""The tls probe: a handshake, and how long the certificate lasts.

Knows how TLS is spoken over a socket of ours. Knows nothing of what would be said inside.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from ...config.model_checks import TlsCheck
from .certificate import DAY, tell_end, valid_until
from .connect import connect, receive
from .finding import Finding, Trail, failed, passed

FLIGHT = 16384  # octets read at once


async def probe(
    address: str, port: int, check: TlsCheck, name: str, tls: ssl.SSLContext, trail: Trail, now: float
) -> Finding:
    """Shake hands with *address* as *name*. *now* in seconds since 1970. Raises OSError, EOFError."""
    with await connect(address, port, trail) as opened:
        session = await _shake_hands(opened, tls, name, trail)
    certificate = session.getpeercert(binary_form=True)
    if certificate is None:
        return failed("TLS without a certificate")
    try:
        trail.expires = valid_until(certificate)
    except ValueError as error:
        return failed(f"certificate cannot be read: {error}")
    left = trail.expires - now
    text = f"certificate {tell_end(left)}"
    if check.expires_within is not None and left < check.expires_within:
        return failed(f"{text}, expected no sooner than in {check.expires_within / DAY:g} days")
    return passed(f"{session.version()}, {text}")


async def _shake_hands(opened: socket.socket, tls: ssl.SSLContext, name: str, trail: Trail) -> ssl.SSLObject:
    """The session after its handshake.

    Not asyncio's own TLS: a session without a transport ends at once when its time is over, and tells what came until then.
    """
    trail.waiting_for = "TLS handshake"
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(arrived, leaving, server_hostname=name)
    loop = asyncio.get_running_loop()
    while True:
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            done = False
        except ssl.SSLError:
            with suppress(OSError):  # the alert tells the other side's log why we leave
                opened.send(leaving.read())
            raise
        else:
            done = True
        if leaving.pending:
            await loop.sock_sendall(opened, leaving.read())
        if done:
            return session
        octets = await receive(opened, FLIGHT, trail)
        if not octets:
            raise EOFError("connection closed in the TLS handshake")
        trail.waiting_for = "end of the TLS handshake"
        arrived.write(octets)
