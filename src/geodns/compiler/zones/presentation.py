"""Types and records as people write them: the way back from wire form, for those who explain.

Knows presentation form (RFC 1035 5.1, RFC 3597 for what has none of its own). Knows nothing of zones or snapshots.
"""

from __future__ import annotations

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from ...wire.name import name_text
from ...wire.rdata import rdata_of, ttl_of


def type_text(rtype: int) -> str:
    """The mnemonic of a type, else ``TYPE123``."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype))


def parse_qtype(text: str) -> int:
    """The number of anything that can be asked for, ANY included. Raises ValueError."""
    try:
        return int(dns.rdatatype.from_text(text))
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"TYPE: {text!r} is no record type") from None


def record_text(owner: bytes, tail: bytes) -> str:
    """One record as a master file has it: absolute owner, TTL, class, type, rdata."""
    rtype, rdata = int.from_bytes(tail[:2], "big"), rdata_of(tail)
    text = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), rdata, 0, len(rdata)).to_text()
    return f"{name_text(owner)} {ttl_of(tail)} IN {type_text(rtype)} {text}"
