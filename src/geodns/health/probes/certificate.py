"""When a certificate ends.

Knows as much of DER (X.690) as it takes to walk to one date. The standard library reads a certificate only after it was
verified, and `verify: false` must tell the date too. Knows nothing of names, keys or trust.
"""

from __future__ import annotations

from datetime import UTC, datetime

SEQUENCE, INTEGER, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0x02, 0xA0, 0x17, 0x18
DAY = 86400.0


def valid_until(certificate: bytes) -> float:
    """The end of a *certificate* in DER, as seconds since 1970. Raises ValueError.

    RFC 5280 4.1: Certificate is a SEQUENCE whose first element, tbsCertificate, holds in this order version (left out in
    version 1), serialNumber, signature, issuer and validity: two times, the second is notAfter.
    """
    at, _ = _open(certificate, 0, SEQUENCE)
    at, _ = _open(certificate, at, SEQUENCE)
    if certificate[at : at + 1] == bytes([VERSION]):
        at = _open(certificate, at, VERSION)[1]
    for tag in (INTEGER, SEQUENCE, SEQUENCE):
        at = _open(certificate, at, tag)[1]
    at, _ = _open(certificate, at, SEQUENCE)
    at = _open(certificate, at, certificate[at] if at < len(certificate) else UTC_TIME)[1]
    tag = certificate[at] if at < len(certificate) else UTC_TIME
    begin, end = _open(certificate, at, tag)
    return _read_time(tag, certificate[begin:end].decode("ascii"))


def _open(octets: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content of the element at *at* begins and ends; it must have this *tag*."""
    if at + 2 > len(octets) or octets[at] != tag:
        raise ValueError(f"no element {tag:#x} at octet {at}")
    size, begin = octets[at + 1], at + 2
    if size >= 0x80:  # X.690 8.1.3.5: the long form, so many octets of length
        count = size & 0x7F
        begin += count
        size = int.from_bytes(octets[at + 2 : begin])
        if not 1 <= count <= 4:
            raise ValueError(f"length of {count} octets at octet {at}")
    if begin + size > len(octets):
        raise ValueError(f"the element at octet {at} runs past the end")
    return begin, begin + size


def _read_time(tag: int, text: str) -> float:
    """RFC 5280 4.1.2.5: YYMMDDHHMMSSZ through 2049 (below 50 is this century), YYYYMMDDHHMMSSZ from 2050 on."""
    if tag == UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError(f"element {tag:#x} is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def tell_end(left: float) -> str:
    """*left* seconds to the end, in words."""
    days = int(abs(left) // DAY)
    length = f"{days} day{'s' if days != 1 else ''}" if days else "less than a day"
    if left < 0:
        return f"expired {length} ago"
    return f"expires in {length}"
