"""The protocol of PowerDNS's pipe backend, ABI 1 to 5: a line in, a block out.

Knows the fields of a line, and that each line gets one block or one FAIL, whatever it is: one line more, and the next client
would get this one's answer. Knows nothing of sockets, of how a stream is cut into lines, or of records (`pdns_answer`).
"""

from __future__ import annotations

from .. import __version__
from ..errors import WireError
from ..lookup import FAILED
from ..wire.constants import MX, SRV
from ..wire.rdata_text import parse_type, type_text
from .pdns_answer import Lookup, PowerText, parse_client, parse_qname

FAIL, END = b"FAIL\n", b"END\n"
ABIS = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}
_SCOPED = 3  # from this ABI on questions carry a client subnet, and records a scope
_COMMANDS = 5  # from this one on CMD comes
_SUBNET_FIELD = 7
_LEAST_FIELDS = 6  # Q, name, class, type, id, resolver
NOT_YET, _REFUSED = 0, -1


class PipeSession:
    """One connection. *abi* is what was agreed on, where somebody else has begun to answer it."""

    failure = FAIL

    def __init__(self, lookup: Lookup, abi: int = NOT_YET) -> None:
        self._lookup = lookup
        self._abi = abi

    @property
    def abi(self) -> int:
        """1 to 5; 0 before the handshake, -1 after one that failed."""
        return self._abi

    def answer(self, line: bytes | None) -> bytes:
        """The block for one *line* (without its end; None: too long to be read)."""
        if line is None:
            return self._misread()
        fields = line.decode("latin-1").split("\t")  # never fails; what must be ASCII is tested where it is read
        kind = fields[0]
        if kind == "HELO":
            return self._greet(fields)
        if self._abi <= NOT_YET:
            return self._misread()
        if kind == "Q":
            return self._answer_question(fields)
        if kind == "PING":
            return END  # only old documents know it
        if kind == "CMD" and self._abi >= _COMMANDS:
            return self._answer_command(" ".join(fields[1:]))
        if kind == "AXFR":
            return FAIL  # a bare END would be a whole, empty zone
        return self._misread()

    def _misread(self) -> bytes:
        self._lookup.misread()
        return FAIL

    def _greet(self, fields: list[str]) -> bytes:
        """PowerDNS takes any reply for agreement and goes on: what we do not speak fails from here on, for ever."""
        abi = ABIS.get(fields[1], _REFUSED) if len(fields) > 1 else _REFUSED
        self._abi = _REFUSED if self._abi == _REFUSED else abi
        return self._misread() if self._abi == _REFUSED else f"OK\tgeodns {__version__} ready\n".encode()

    def _answer_question(self, fields: list[str]) -> bytes:
        if len(fields) < _LEAST_FIELDS or fields[2] != "IN":
            return self._misread()
        name = parse_qname(fields[1])
        subnet = fields[_SUBNET_FIELD] if self._abi >= _SCOPED and len(fields) > _SUBNET_FIELD else None
        try:
            qtype, client = parse_type(fields[3]), parse_client(fields[5], subnet)
        except (WireError, ValueError):
            return self._misread()
        if name is None:
            return self._misread()
        # The id is not looked at: it is -1 at first, later ours, and may be another backend's.
        status, zone, records = self._lookup.find(name, qtype, client)
        if status == FAILED:
            return FAIL
        # The name goes back as it came: clients that vary its case want to see it again (draft-vixie-dnsext-dns0x20).
        return "".join([*[self._write(fields[1], zone, record) for record in records], "END\n"]).encode()

    def _write(self, qname: str, zone: int, record: PowerText) -> str:
        rtype, ttl, text, scope, mine = record
        if rtype in {MX, SRV}:  # the priority is a field of its own here
            text = text.replace(" ", "\t", 1)
        head = f"DATA\t{scope}\t{mine:d}" if self._abi >= _SCOPED else "DATA"
        return f"{head}\t{qname}\tIN\t{type_text(rtype)}\t{ttl}\t{zone}\t{text}\n"

    def _answer_command(self, command: str) -> bytes:
        """``pdnsutil backend-cmd pipe status``; END alone ends a reply, so FAIL would leave it waiting."""
        if command.strip() == "status":
            lines = self._lookup.describe()
        else:
            shown = command[:100].encode("ascii", "backslashreplace").decode()
            lines = [f'geodns does not know the command "{shown}"; it knows: status']
        return "\n".join([*lines, "END", ""]).encode()
