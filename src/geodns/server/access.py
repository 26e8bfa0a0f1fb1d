"""Who may ask what over HTTP: the token, and what needs none.

Knows peers, the headers that say who asks, and the rules. Knows nothing of HTTP's wire or of what is asked. On TCP writes
always need the token; everything else needs it beyond loopback, but for what is open to all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from hmac import compare_digest
from ipaddress import ip_address

from ..errors import ControlError

CONFIGURE = "set server.api_token_file, or use the control socket"
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]{1,5})?")
# Whoever stands between says so in one of these: then the peer is a proxy of ours, and the client may be anybody.
PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


class Need(Enum):
    """What a request wants."""

    OPEN = auto()  # nothing that is not everybody's
    READ = auto()
    WRITE = auto()


@dataclass(frozen=True, slots=True)
class Asker:
    """What a request says of who sends it."""

    peer: str  # an address; empty: the control socket, which only its owner and root can open
    hosts: tuple[str, ...] = ()  # each Host header
    authorization: tuple[str, ...] = ()
    proxied: bool = False  # one of `PROXY_HEADERS` is there


def check_access(need: Need, asker: Asker, token: str | None) -> None:
    """Return if *asker* may; else raise ControlError: 401 where the token helps, 403 where nothing does."""
    if not asker.peer or need is Need.OPEN:
        return
    if token is not None and asker.authorization:
        if not has_token(asker.authorization, token):
            raise ControlError(401, "this is not the token; Authorization must be Bearer and the token, once")
        return
    if need is Need.WRITE or asker.proxied or not is_near(asker.peer):
        what = "what changes something" if need is Need.WRITE else "whoever is not on this machine"
        if token is None:
            raise ControlError(403, f"over HTTP {what} needs a token, and none is configured: {CONFIGURE}")
        raise ControlError(401, f"over HTTP {what} needs the token: Authorization: Bearer TOKEN")
    # A page of a stranger, shown by a browser on this machine, can have its own name point at 127.0.0.1 and then read what
    # we say as its own. It cannot have the browser name an address in Host.
    if not all(map(is_literal, asker.hosts)):
        raise ControlError(403, "without a token, Host must be an address or localhost")


def has_token(authorization: tuple[str, ...], token: str) -> bool:
    """Is it the right one, given once? The time that this takes tells nothing of the token."""
    scheme, _, given = authorization[0].strip().partition(" ")
    same = compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    return same and scheme.lower() == "bearer" and len(authorization) == 1


def is_near(peer: str) -> bool:
    """Is *peer* on this machine: 127.0.0.0/8 or ::1?"""
    return ip_address(peer.partition("%")[0]).is_loopback


def is_literal(host: str) -> bool:
    """Does a Host header name an address, or localhost?"""
    match = HOST.fullmatch(host.strip())
    if match is None:
        return False
    if match[1].lower() in ("localhost", "localhost."):
        return True
    try:
        ip_address(match[1].strip("[]"))
    except ValueError:
        return False
    return True
