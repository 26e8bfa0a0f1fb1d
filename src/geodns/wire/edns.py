"""EDNS: what an OPT asks for, and the OPT of a reply.

Knows the OPT record (RFC 6891), client subnet (RFC 7871) and the name server identifier (RFC 5001). Knows nothing of who is
believed or which scope is right. What is read from a query is a plain tuple:

    Edns   = (size, version, dnssec_ok, subnet or None, nsid asked for)
    Subnet = (the option's octets with code and length, bits of the family, address as an integer, source prefix length)
"""

from __future__ import annotations

import struct

from ..errors import WireError
from .constants import DNSSEC_OK, FAMILY_IPV4, FAMILY_IPV6, OPT, OPTION_NSID, OPTION_SUBNET

Subnet = tuple[bytes, int, int, int]
Edns = tuple[int, int, bool, Subnet | None, bool]

_OPT = struct.Struct(">BHHIH")  # the root's octet, type, size, extended rcode and flags, length
_OPTION = struct.Struct(">HH")
_SUBNET = struct.Struct(">HBB")
OPT_SIZE = _OPT.size
SCOPE_AT = _OPTION.size + 3  # where the scope stands among the octets of a subnet option
_SCOPES = tuple(bytes((scope,)) for scope in range(129))
BITS = {FAMILY_IPV4: 32, FAMILY_IPV6: 128}


def parse_edns(size: int, flags: int, rdata: bytes) -> Edns:
    """What an OPT with this class, TTL field and rdata asks for. Raises WireError.

    RFC 6891 6.1.3: a version above ours is answered BADVERS, so its options are not looked at.
    """
    version, dnssec_ok = flags >> 16 & 0xFF, flags & DNSSEC_OK != 0
    subnet, nsid, at, length = None, False, 0, len(rdata)
    while at < length and version == 0:
        if at + 4 > length:
            raise WireError(f"{length - at} octets are left in OPT, an option has at least 4")
        code, octets = _OPTION.unpack_from(rdata, at)
        end = at + 4 + octets
        if end > length:
            raise WireError(f"option {code} has {octets} octets, {length - at - 4} are left")
        if code == OPTION_SUBNET:
            if subnet is not None:
                raise WireError("two client subnets in one OPT")  # which one the answer would be for, nobody could tell
            subnet = parse_subnet(rdata[at:end])
        elif code == OPTION_NSID:
            nsid = True  # RFC 5001 2.2: what it holds in a query is ignored
        at = end
    return size, version, dnssec_ok, subnet, nsid


def parse_subnet(option: bytes) -> Subnet:
    """The client subnet in *option*, which begins with code and length. Raises WireError for all that RFC 7871 6 forbids."""
    if len(option) < 8:
        raise WireError(f"a client subnet of {len(option) - 4} octets, at least 4 are needed")
    family, source, scope = _SUBNET.unpack_from(option, 4)
    bits = BITS.get(family)
    if bits is None:
        raise WireError(f"client subnet of family {family}")
    if source > bits or scope:  # 6: in queries the scope "MUST be set to 0"
        raise WireError(f"client subnet with source {source} of {bits}, scope {scope}")
    octets = len(option) - 8
    if octets != (source + 7) >> 3:
        # 6: "truncated to the number of bits indicated by the SOURCE PREFIX-LENGTH field, padding with 0 bits to pad to
        # the end of the last octet needed. A server receiving an ECS option that uses either too few or too many
        # ADDRESS octets, or that has non-zero ADDRESS bits set beyond SOURCE PREFIX-LENGTH, SHOULD return FORMERR"
        raise WireError(f"client subnet with source {source} and {octets} octets of address")
    address = int.from_bytes(option[8:], "big") << bits - 8 * octets
    if address & (1 << bits - source) - 1:
        raise WireError(f"client subnet with bits set beyond source {source}")
    return option, bits, address, source


def write_subnet(subnet: Subnet, scope: int) -> bytes:
    """The option that came in with *scope* in it: RFC 7871 7.2.1 wants the rest back as it was."""
    option = subnet[0]
    return option[:SCOPE_AT] + _SCOPES[scope] + option[SCOPE_AT + 1 :]


def write_option(code: int, octets: bytes) -> bytes:
    """One option of an OPT."""
    return _OPTION.pack(code, len(octets)) + octets


def write_opt(size: int, extended: int, dnssec_ok: bool, options: bytes) -> bytes:
    """An OPT record of version 0; *size* is what we take, *extended* the upper 8 bits of the rcode.

    RFC 6891 6.1.4: "Set to zero by senders", all flags but DO, which RFC 3225 3 wants copied.
    """
    return _OPT.pack(0, OPT, size, extended << 24 | (DNSSEC_OK if dnssec_ok else 0), len(options)) + options
