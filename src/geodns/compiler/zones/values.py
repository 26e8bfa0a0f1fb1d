"""The text of one rdata: what a YAML value means.

Knows the rules that YAML values have beyond master files: literal TXT, nothing left over, no comment. Knows nothing of
owners.
"""

from __future__ import annotations

import difflib
import re

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SPF
import dns.rdtypes.ANY.TXT
import dns.tokenizer

from .presentation import type_text
from .records import AAAA, CNAME, DNAME, MX, NS, SPF, SRV, TXT, A, RefusesUnicode

IN = dns.rdataclass.IN
_STRING = 255  # octets of one character-string, RFC 1035 3.3
_META = frozenset({0, 41, *range(128, 256)})  # RFC 6895 3.1: reserved, OPT, and what only questions have
# What signing makes; answers that differ by client cannot keep the signatures of a file
SIGNED_TYPES = frozenset({24, 30, 46, 47, 48, 50, 51})  # SIG NXT RRSIG NSEC DNSKEY NSEC3 NSEC3PARAM
_FORMS = {
    A: "an IPv4 address",
    AAAA: "an IPv6 address",
    NS: "a name",
    CNAME: "a name",
    DNAME: "a name",
    12: "a name",
    MX: '"preference name"',
    SRV: '"priority weight port name"',
    257: "'flags tag \"value\"'",
    43: '"key-tag algorithm digest-type digest"',
    52: '"usage selector type data"',
    64: '"priority name parameters"',
    65: '"priority name parameters"',
    44: '"algorithm type fingerprint"',
}
_WORDS = {"Text input is malformed.": "malformed", "Text input ended unexpectedly.": "something is missing at its end"}
_SKIPPED = re.compile(r'\\.|"(?:\\.|[^"\\])*"', re.DOTALL)  # escapes and quoted strings


def parse_rtype(text: str) -> int:
    """The number of a type's mnemonic, or of `TYPE123` (RFC 3597). Raises ValueError with the words for the operator."""
    try:
        rtype = int(dns.rdatatype.from_text(text))
    except (dns.exception.DNSException, ValueError):
        known = [member.name.replace("_", "-") for member in dns.rdatatype.RdataType]
        close = difflib.get_close_matches(text.upper(), known, 1)
        raise ValueError(f'unknown record type "{text}"' + (f', did you mean "{close[0]}"?' if close else "")) from None
    check_rtype(rtype)
    return rtype


def check_rtype(rtype: int) -> None:
    """Raise ValueError for a type that no zone can hold, or that signing makes."""
    if rtype in _META:
        raise ValueError(f"{type_text(rtype)} is not a type of data: it exists in messages only")
    if rtype in SIGNED_TYPES:
        raise ValueError(f"{type_text(rtype)} belongs to a signed zone, and zones are not served signed: leave it out")


def parse_value(rtype: int, text: str, apex: dns.name.Name) -> dns.rdata.Rdata:
    """The rdata that *text* means; relative names belong to *apex*. Raises ValueError with the words for the operator."""
    if rtype in (TXT, SPF) and not text.startswith('"'):
        return _literal(rtype, text)
    if ";" in _SKIPPED.sub("", text):
        raise ValueError(f'{type_text(rtype)} "{text}": an unquoted ";" would begin a comment, quote or escape it')
    tokens = dns.tokenizer.Tokenizer(text, "value", RefusesUnicode())
    try:
        rdata = dns.rdata.from_text(IN, dns.rdatatype.RdataType.make(rtype), tokens, apex, relativize=False)
        if not tokens.get().is_eof():
            raise ValueError("there is text left over")
        rdata.to_wire()
    except (dns.exception.DNSException, ValueError, ArithmeticError, LookupError) as error:
        if rtype in (A, AAAA):
            raise ValueError(f'"{text}" is not {_FORMS[rtype]}') from None
        raise ValueError(f'{type_text(rtype)} "{text}": {reason(error)}{_expected(rtype)}') from None
    return rdata


def _literal(rtype: int, text: str) -> dns.rdata.Rdata:
    octets = text.encode()
    strings = [octets[at : at + _STRING] for at in range(0, len(octets), _STRING)] or [b""]
    return (dns.rdtypes.ANY.SPF.SPF if rtype == SPF else dns.rdtypes.ANY.TXT.TXT)(
        IN, dns.rdatatype.RdataType.make(rtype), strings
    )


def reason(error: BaseException) -> str:
    """What dnspython says, as words that fit behind a colon."""
    text = _WORDS.get(str(error), str(error)) or type(error).__name__
    text = re.sub(r"^caught exception <class '[^']*'>: ", "", text)
    left = re.fullmatch(r'expected EOL or EOF, got \d+ "(.*)"', text, re.DOTALL)
    return f'"{left[1]}" is left over' if left else text.rstrip(".")


def _expected(rtype: int) -> str:
    return f"; expected {_FORMS[rtype]}" if rtype in _FORMS else ""
