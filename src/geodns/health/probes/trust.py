"""Whom TLS probes trust: contexts, each made once.

Knows files of certificates and what is verified. Knows nothing of connections.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from .finding import Unable

Signature = tuple[int, int, int] | None  # of a file: modified, size, inode


class Trust:
    """Contexts by what they trust. One with the system's certificates takes tens of milliseconds to make."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bool, Path | None, str], tuple[Signature, ssl.SSLContext]] = {}

    def find(self, verify: bool, ca: Path | None, protocol: str = "") -> ssl.SSLContext:
        """The context for these settings; a *ca* file that has changed is read again. *protocol* is what ALPN offers.

        Raises Unable where the file cannot be used.
        """
        key = (verify, ca, protocol)
        signature = sign(ca) if ca is not None and verify else None
        kept = self._kept.get(key)
        if kept is None or kept[0] != signature:
            kept = self._kept[key] = (signature, _make_context(verify, ca, protocol))
        return kept[1]


def sign(path: Path) -> Signature:
    """What tells one state of a file from another. Raises Unable where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise Unable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def _make_context(verify: bool, ca: Path | None, protocol: str) -> ssl.SSLContext:
    """Not `create_default_context`: it takes orders from SSLKEYLOGFILE, and is stricter in some versions of Python."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_TICKET  # RFC 5077 5: no session is ever resumed, so none need be written
    if protocol:
        context.set_alpn_protocols([protocol])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        # Whoever names a file may name an intermediate, or the very certificate, and means just that.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise Unable(f"{ca} has no certificates to trust: {getattr(error, 'strerror', None) or error}") from error
    return context
