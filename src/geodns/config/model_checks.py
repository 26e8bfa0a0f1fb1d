"""The checks: one model per type, with the keys that this type has.

Knows what may be written under `checks`. Knows nothing of how a probe is made.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag, WithJsonSchema, model_validator

from .fields import (
    DURATION_SCHEMA,
    LISTED,
    MAPPED,
    OFF,
    TEXT_SCHEMA,
    Address,
    FilePath,
    Flag,
    Port,
    Text,
    Upper,
    whole_schema,
)
from .frozen import Frozen
from .scalars import check_dns_name, did_you_mean, duration, one_value, parse_path, parse_upper, whole
from .tree import describe

DAY = 86400.0
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
LONGEST_REPLY = 4096  # octets that a tcp probe reads, and so the longest text that it can expect
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2

Interval = Annotated[float, BeforeValidator(duration(0.1, DAY)), WithJsonSchema(DURATION_SCHEMA)]
Timeout = Annotated[float, BeforeValidator(duration(0.01, DAY)), WithJsonSchema(DURATION_SCHEMA)]
Age = Annotated[float, BeforeValidator(duration(1, 3650 * DAY)), WithJsonSchema(DURATION_SCHEMA)]
Results = Annotated[int, BeforeValidator(whole(1, 1000)), WithJsonSchema(whole_schema(1, 1000))]


def parse_status(given: Any) -> Any:
    """``200`` or ``200-399`` as (first, last)."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?", text)
    if not match or (match[2] and match[1] > match[2]):
        raise ValueError(f"must be a status like 200 or a range like 200-399, got {describe(text)}")
    return (int(match[1]), int(match[2] or match[1]))


def parse_body(given: Any) -> Any:
    """A text that the body contains, or a pattern after ``re:``."""
    text = one_value(given)
    if isinstance(text, str) and text.startswith("re:"):
        try:
            re.compile(text[3:])
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"the pattern after re: is not valid: {error}") from None
    return text


def parse_url_path(given: Any) -> Any:
    """The path of a request: it begins with a slash and holds no blanks."""
    text = one_value(given)
    if isinstance(text, str) and not re.fullmatch(r"/[!-~]*", text):
        raise ValueError(f"must begin with a slash and hold ASCII without blanks, got {describe(text)}")
    return text


def parse_method(given: Any) -> Any:
    """An HTTP method: a token of RFC 9110 5.6.2."""
    text = one_value(given)
    if isinstance(text, str) and not TOKEN.fullmatch(text):
        raise ValueError(f"must be an HTTP method like GET or HEAD, got {describe(text)}")
    return text


def parse_host(given: Any) -> Any:
    """A name or an address alone: it goes into the Host header, into SNI, and is looked for in the certificate."""
    text = one_value(given)
    if not isinstance(text, str):
        return text
    try:
        return str(ip_address(text))
    except ValueError:
        if re.search(r":[0-9]+$", text):
            raise ValueError(f"must be a name or an address without port, got {describe(text)}") from None
    if "*" in check_dns_name(text):
        raise ValueError(f"cannot be a wildcard, got {describe(text)}")
    return text.lower().removesuffix(".")


def parse_headers(given: Any) -> Any:
    """Header fields: names are tokens (RFC 9110 5.1), values hold no line breaks (5.5), and none is written twice."""
    if not isinstance(given, dict):
        return given
    names: set[str] = set()
    for name, value in given.items():
        if not TOKEN.fullmatch(name):
            raise ValueError(f"must be names of header fields, got {describe(name)}")
        if name.lower() in names:
            raise ValueError(f'"{name}" is written twice')
        if isinstance(value, str) and re.search(r"[\0\r\n]", value):
            raise ValueError(f'"{name}" cannot hold a line break or NUL')
        names.add(name.lower())
    return given


def parse_question(given: Any) -> Any:
    """The name that a dns probe asks for; taken from the root, with or without its final dot."""
    text = one_value(given)
    return text if not isinstance(text, str) or text == "." else check_dns_name(text)


def parse_beginning(given: Any) -> Any:
    """What a reply begins with: no more than is read of it."""
    text = one_value(given)
    if isinstance(text, str) and len(text.encode()) > LONGEST_REPLY:
        raise ValueError(f"is {len(text.encode())} octets long; no more than {LONGEST_REPLY} of a reply are read")
    return text


def parse_rcode(given: Any) -> Any:
    """The mnemonic of a response code."""
    text = parse_upper(given)
    if isinstance(text, str) and text not in RCODES:
        raise ValueError(f"must be one of {', '.join(RCODES)}; got {describe(text)}{did_you_mean(text, RCODES)}")
    return text


def parse_command(given: Any) -> Any:
    """Program and arguments; a relative path with a slash is taken from the folder of the file that names it."""
    if not isinstance(given, list):
        return given
    words = [one_value(word) for word in given]
    if not words:
        raise ValueError("must name a program")
    if isinstance(words[0], str) and "/" in words[0]:
        words[0] = str(parse_path(given[0]))
    return words


StatusRange = Annotated[tuple[int, int], BeforeValidator(parse_status), WithJsonSchema({"type": ["integer", "string"]})]
Headers = Annotated[dict[str, Text], BeforeValidator(parse_headers), MAPPED]
Host = Annotated[str, BeforeValidator(parse_host), WithJsonSchema(TEXT_SCHEMA)]
Beginning = Annotated[str, BeforeValidator(parse_beginning), WithJsonSchema(TEXT_SCHEMA)]
Question = Annotated[str, BeforeValidator(parse_question), WithJsonSchema(TEXT_SCHEMA)]


class CommonCheck(Frozen):
    """What every check has."""

    interval: Interval = 5.0  # seconds
    timeout: Timeout = 2.0  # seconds; where only `interval` is written and is shorter, that
    rise: Results = 2  # successes in a row to come up
    fall: Results = 3  # failures in a row to go down

    @model_validator(mode="before")
    @classmethod
    def fit_timeout(cls, given: Any) -> Any:
        """A default time-out never exceeds an interval that was written."""
        if not isinstance(given, dict) or "interval" not in given or "timeout" in given:
            return given
        try:
            interval = duration(0.1, DAY)(given["interval"])
        except ValueError:
            return given
        return {**given, "timeout": interval} if isinstance(interval, float) and interval < 2.0 else given

    @model_validator(mode="after")
    def check_timeout(self) -> CommonCheck:
        """A probe ends before the next one begins."""
        if self.timeout > self.interval:
            raise ValueError(f"timeout ({self.timeout:g}s) must not be longer than interval ({self.interval:g}s)")
        return self


class HttpExpect(Frozen):
    """What an HTTP reply must be."""

    status: Annotated[tuple[StatusRange, ...], LISTED] = ((200, 399),)
    body: Annotated[str | None, BeforeValidator(parse_body), WithJsonSchema(TEXT_SCHEMA)] = None


class WebCheck(CommonCheck):
    """Ask for a path and look at status and body."""

    path: Annotated[str, BeforeValidator(parse_url_path), WithJsonSchema(TEXT_SCHEMA)] = "/"
    host: Host | None = None  # Host; the member's address where nothing is written
    method: Annotated[str, BeforeValidator(parse_method), WithJsonSchema(TEXT_SCHEMA)] = "GET"
    headers: Headers = {}
    redirects: Flag = False  # follow them, and look at the last reply
    expect: HttpExpect = HttpExpect()

    @model_validator(mode="after")
    def check_body(self) -> WebCheck:
        """RFC 9110 9.3.2: "The HEAD method is identical to GET except that the server MUST NOT send content"."""
        if self.method.upper() == "HEAD" and self.expect.body is not None:
            raise ValueError("the reply to HEAD has no body to expect anything of; use GET")
        return self


class HttpCheck(WebCheck):
    """In the clear."""

    type: Literal["http"]
    port: Port = 80


class HttpsCheck(WebCheck):
    """Over TLS. `host` is also SNI and the name that the certificate must have."""

    type: Literal["https"]
    port: Port = 443
    verify: Flag = True
    ca: Annotated[FilePath | None, OFF] = None


class TcpCheck(CommonCheck):
    """Connect; then, where written, send and expect."""

    type: Literal["tcp"]
    port: Port
    send: Text | None = None
    expect: Beginning | None = None  # the reply begins with it


class TlsCheck(CommonCheck):
    """A TLS handshake, and how long the certificate lasts."""

    type: Literal["tls"]
    port: Port
    host: Host | None = None
    verify: Flag = True
    ca: Annotated[FilePath | None, OFF] = None
    expires_within: Annotated[Age | None, OFF] = None  # seconds; a certificate that ends sooner is a failure


class IcmpCheck(CommonCheck):
    """An echo request."""

    type: Literal["icmp"]


class DnsExpect(Frozen):
    """What a DNS reply must be."""

    rcode: Annotated[str, BeforeValidator(parse_rcode), WithJsonSchema({"type": "string"})] = "NOERROR"
    address: Annotated[tuple[Address, ...], LISTED] = ()  # one of these stands in the answer


class DnsCheck(CommonCheck):
    """Ask one question."""

    type: Literal["dns"]
    port: Port
    name: Question
    qtype: Upper = "A"
    expect: DnsExpect = DnsExpect()


class ExecCheck(CommonCheck):
    """Run a program; exit status 0 is a success."""

    type: Literal["exec"]
    command: Annotated[
        tuple[str, ...],
        BeforeValidator(parse_command),
        WithJsonSchema({"type": "array", "items": TEXT_SCHEMA, "minItems": 1}),
    ]


class FileCheck(CommonCheck):
    """States that something else writes into a JSON file."""

    type: Literal["file"]
    rise: Results = 1  # whoever writes the file has counted already
    fall: Results = 1
    path: FilePath
    max_age: Annotated[Age | None, OFF] = None  # seconds; an older file says nothing


CHECK_TYPES: dict[str, type[CommonCheck]] = {
    "http": HttpCheck,
    "https": HttpsCheck,
    "tcp": TcpCheck,
    "tls": TlsCheck,
    "icmp": IcmpCheck,
    "dns": DnsCheck,
    "exec": ExecCheck,
    "file": FileCheck,
}


def find_type(given: Any) -> str | None:
    """The `type` that was written, as the union's tag."""
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return str(kind) if isinstance(kind, str) else None


Check = Annotated[
    Annotated[HttpCheck, Tag("http")]
    | Annotated[HttpsCheck, Tag("https")]
    | Annotated[TcpCheck, Tag("tcp")]
    | Annotated[TlsCheck, Tag("tls")]
    | Annotated[IcmpCheck, Tag("icmp")]
    | Annotated[DnsCheck, Tag("dns")]
    | Annotated[ExecCheck, Tag("exec")]
    | Annotated[FileCheck, Tag("file")],
    Discriminator(find_type),
]
