"""The dns probe: one question, and whether the reply is as expected.

Knows what is expected and how much of a reply is read: nothing that a stranger can make long. `ask` writes the question.
Knows nothing of our own zones.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from ...ask import AskError, belongs, write_query
from ...config.model_checks import RCODES, DnsCheck
from ...errors import WireError
from ...wire.constants import AAAA, HEADER_SIZE, OPT, TC, TCP_SIZE, A
from ...wire.name import skip_name
from ...wire.stream import frame
from .connect import connect, open_socket, receive
from .finding import Finding, Trail, Unable, failed, passed

HEADER = struct.Struct("!HHHHHH")  # RFC 1035 4.1.1: id, flags, and the counts of the four sections
FIXED = struct.Struct("!HHIH")  # RFC 1035 4.1.3: type, class, TTL, length of the rdata
SHOWN = 3  # addresses in a text


class Answer(NamedTuple):
    """What is looked at."""

    rcode: int
    records: int
    addresses: tuple[str, ...]  # of the answer section, whoever owns them: CNAMEs may lead to them


async def probe(address: str, port: int, check: DnsCheck, trail: Trail) -> Finding:
    """Ask the server at *address*, by UDP and where it says so again by TCP. Raises OSError, EOFError and Unable.

    Recursion is desired: a resolver needs it, and others copy the bit (RFC 1035 4.1.1).
    """
    try:
        query = write_query(check.name, check.qtype, recurse=True)
    except (AskError, WireError) as error:
        raise Unable(f"cannot ask for {check.name} {check.qtype}: {error}") from error
    octets = await _ask_udp(address, port, query, trail)
    if int.from_bytes(octets[2:4]) & TC:
        octets = await _ask_tcp(address, port, query, trail)
    try:
        return judge(read_answer(octets), check)
    except WireError as error:
        return failed(f"a reply that cannot be read: {error}")


async def _ask_udp(address: str, port: int, query: bytes, trail: Trail) -> bytes:
    """The reply to *query*; what else arrives is passed over. The kernel keeps other senders out."""
    loop = asyncio.get_running_loop()
    trail.waiting_for = "reply"
    with open_socket(address, socket.SOCK_DGRAM) as opened:
        opened.connect((address, port))
        opened.send(query)
        while not belongs(octets := await loop.sock_recv(opened, TCP_SIZE), query):
            pass
    trail.hear()
    return octets


async def _ask_tcp(address: str, port: int, query: bytes, trail: Trail) -> bytes:
    with await connect(address, port, trail) as opened:
        await asyncio.get_running_loop().sock_sendall(opened, frame(query))
        size = int.from_bytes(await _receive(opened, 2, trail))
        octets = await _receive(opened, size, trail)
    if not belongs(octets, query):
        raise EOFError("the reply over TCP belongs to another question")
    return octets


async def _receive(opened: socket.socket, count: int, trail: Trail) -> bytes:
    octets = b""
    while len(octets) < count:
        more = await receive(opened, count - len(octets), trail)
        if not more:
            raise EOFError
        octets += more
    return octets


def judge(answer: Answer, check: DnsCheck) -> Finding:
    """Is the *answer* as *check* wants it?"""
    rcode = RCODES[answer.rcode] if answer.rcode < len(RCODES) else f"RCODE{answer.rcode}"
    if rcode != check.expect.rcode:
        return failed(f"{rcode}, expected {check.expect.rcode}")
    wanted = [str(address) for address in check.expect.address]
    shown = " ".join(answer.addresses[:SHOWN]) + (" ..." if len(answer.addresses) > SHOWN else "")
    if wanted and not set(wanted) & set(answer.addresses):
        return failed(f"answer {shown or 'without an address'}, expected {' or '.join(wanted[:SHOWN])}")
    count = "1 record" if answer.records == 1 else f"{answer.records} records"
    return passed(f"{rcode}, {shown or count}")


def read_answer(octets: bytes) -> Answer:
    """What matters of a reply. Raises WireError. No name is followed, so that the work grows with the length alone."""
    if len(octets) < HEADER_SIZE:
        raise WireError(f"{len(octets)} octets, a header has {HEADER_SIZE}")
    _, flags, questions, answers, authorities, additionals = HEADER.unpack_from(octets)
    at = HEADER_SIZE
    for _ in range(questions):
        at = skip_name(octets, at) + 4
    rcode, addresses = flags & 15, []
    for number, (rtype, ttl, rdata) in enumerate(_records(octets, at, answers + authorities + additionals)):
        if rtype == OPT:
            rcode |= (ttl >> 24) << 4  # RFC 6891 6.1.3: the upper bits of the rcode
        elif number < answers and (rtype, len(rdata)) in ((A, 4), (AAAA, 16)):
            addresses.append(str(ip_address(rdata)))
    return Answer(rcode, answers, tuple(addresses))


def _records(octets: bytes, at: int, count: int) -> Iterator[tuple[int, int, bytes]]:
    """Type, TTL and rdata of *count* records from *at* on."""
    for _ in range(count):
        at = skip_name(octets, at)
        begin = at + FIXED.size
        if begin > len(octets):
            raise WireError(f"the record at octet {at} runs past the end")
        rtype, _, ttl, size = FIXED.unpack_from(octets, at)
        at = begin + size
        if at > len(octets):
            raise WireError(f"the rdata at octet {begin} runs past the end")
        yield rtype, ttl, octets[begin:at]
