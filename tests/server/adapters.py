"""What the adapters need to be tested alone: a made-up `answer`, bound sockets, something published."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from geodns import metrics, publish
from geodns.answer import Settings, Turn
from geodns.server.listen import Bound, bind_all
from geodns.snapshot import Snapshot

SNAPSHOT = cast(Snapshot, object())  # the adapters hand it on and look at nothing in it
SETTINGS = Settings()
PATIENCE = 5.0  # seconds until a test that waits has failed


def speaks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not speaks_ipv6(), reason="this machine has no ::1")


@contextmanager
def published(snapshot: Snapshot = SNAPSHOT) -> Iterator[None]:
    """*snapshot* is current, without passing through `publish`, which would want to free what was before."""
    before, publish.current = publish.current, publish.Current(snapshot, metrics.Counters())
    try:
        yield
    finally:
        publish.current = before


def counted(slot: int) -> int:
    """What the adapters have counted in *slot* since something was published."""
    assert publish.current is not None
    return publish.current.counters.tally[slot]


@contextmanager
def bound_to(address: str) -> Iterator[Bound]:
    (one,) = bind_all([(address, 0)])
    try:
        yield one
    finally:
        one.close()


def echo(turn: Turn, query: bytes, peer: bytes, draw: int) -> bytes | None:
    """Everything that an answer function is given and a client can check."""
    turn.tally[metrics.TRUNCATED] += 1
    return b"from " + peer + b" " + query


def client(family: int, address: str = "") -> socket.socket:
    """A UDP client that fails instead of waiting for ever."""
    sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.settimeout(PATIENCE)
    if address:
        sender.bind((address, 0))
    return sender
