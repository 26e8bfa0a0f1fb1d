"""Numbers that the registries of DNS gave to things, and the limits that the RFCs set.

Knows numbers and their names. Knows nothing of messages. Source: IANA "Domain Name System (DNS) Parameters".
"""

from __future__ import annotations

# Record types, RFC 1035 3.2.2 and the documents named beside.
A = 1
NS = 2
CNAME = 5
SOA = 6
PTR = 12
HINFO = 13
MX = 15
TXT = 16
AAAA = 28  # RFC 3596
SRV = 33  # RFC 2782
OPT = 41  # RFC 6891
DS = 43  # RFC 4034
HTTPS = 65  # RFC 9460
IXFR = 251  # RFC 1995
AXFR = 252  # RFC 5936
ANY = 255
EMPTY = 65280  # private use (RFC 6895 3.1): what PowerDNS is given where a name exists and holds nothing

CLASS_IN = 1

# Opcodes, RFC 6895 2.2
QUERY = 0

# Rcodes, RFC 6895 2.3; BADVERS is one of the extended ones that need an OPT
NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
BADVERS = 16

# Flags of the second header word, RFC 1035 4.1.1
QR = 0x8000
AA = 0x0400
TC = 0x0200
RD = 0x0100
OPCODE_SHIFT = 11
OPCODE_MASK = 0x7800

# EDNS, RFC 6891; the flag is RFC 3225
DNSSEC_OK = 0x8000
OPTION_NSID = 3  # RFC 5001
OPTION_SUBNET = 8  # RFC 7871
FAMILY_IPV4 = 1  # RFC 7871 6: address family numbers
FAMILY_IPV6 = 2

HEADER_SIZE = 12
NAME_SIZE = 255  # RFC 1035 2.3.4, the root's octet counted
LABEL_SIZE = 63
UDP_SIZE = 512  # RFC 1035 4.2.1: what a client without EDNS takes, and the least that OPT can ask for
TCP_SIZE = 65535
POINTER_REACH = 0x4000  # a compression pointer has 14 bits
