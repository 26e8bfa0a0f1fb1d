"""The icmp probe: echoes on loopback, over each kind of socket that the kernel may grant, and where it grants none."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.health.probes.servers import make_target, probe_once

from geodns.health.probes.icmp import ECHO, checksum, is_reply, write_echo
from geodns.health.state import Verdict

TOKEN = bytes(range(16))

# In a network namespace of its own, with loopback up: sets the range of groups, becomes who it is told, and probes.
PROGRAM = """
import asyncio, fcntl, json, os, socket, struct, sys
groups, user, timeout = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with socket.socket() as any_:
    fcntl.ioctl(any_, 0x8914, struct.pack("16sH14s", b"lo", 1, b""))  # SIOCSIFFLAGS, IFF_UP
open("/proc/sys/net/ipv4/ping_group_range", "w").write(groups)
from tests.health.probes.servers import make_target, probe_once
from geodns.health.probes import icmp
if user:
    os.setgroups([]); os.setgid(user); os.setuid(user)
told = []
for address in sys.argv[4:]:
    outcome = asyncio.run(probe_once(make_target(address, type="icmp", timeout=timeout)))
    try:
        with icmp._open(address, icmp.FAMILIES[icmp.family_of(address)].protocol) as opened:
            kind = opened.type
    except icmp.Unable:
        kind = 0
    told.append([outcome.verdict, outcome.seen, outcome.text, kind])
print(json.dumps(told))
"""
ROOT = Path(__file__).parents[3]
LOOPBACK = ("127.0.0.1", "::1")
DATAGRAM, RAW = 2, 3


def probe_apart(groups: str, user: int, *addresses: str, timeout: str = "2s") -> list[list[Any]]:
    """What probes say in a namespace whose kernel grants datagram sockets to these *groups*."""
    apart = shutil.which("unshare")
    if apart is None or subprocess.run([apart, "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces cannot be made here")
    command = [apart, "--net", sys.executable, "-c", PROGRAM, groups, str(user), timeout, *addresses]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    told: list[list[Any]] = json.loads(done.stdout)
    return told


def test_the_kernel_grants_unprivileged_sockets() -> None:
    assert probe_apart("0 2000000", 65534, *LOOPBACK) == [["up", True, "echo reply", DATAGRAM]] * 2


def test_with_the_capability_a_raw_socket_does() -> None:
    assert probe_apart("1 0", 0, *LOOPBACK) == [["up", True, "echo reply", RAW]] * 2


def test_where_neither_is_granted_the_text_says_what_to_do() -> None:
    told = probe_apart("1 0", 65534, *LOOPBACK)
    for verdict, _, text, kind in told:
        assert (verdict, kind) == ("unknown", 0)
        assert "net.ipv4.ping_group_range" in text and "CAP_NET_RAW" in text


@pytest.mark.parametrize("user", [0, 65534])
def test_nobody_is_there(user: int) -> None:
    """No route: nothing was seen of anybody."""
    told = probe_apart("0 2000000", user, "192.0.2.1", "2001:db8::1", timeout="200ms")
    assert [row[:2] for row in told] == [["down", False]] * 2
    assert {row[2] for row in told} == {"network is unreachable"}


def test_a_probe_as_we_are() -> None:
    outcome = asyncio.run(probe_once(make_target("127.0.0.1", type="icmp")))
    assert outcome.verdict is Verdict.UP or "ping_group_range" in outcome.text


def sum_up(octets: bytes) -> int:
    """RFC 1071 1, word by word."""
    total = 0
    for (word,) in struct.iter_unpack("!H", octets):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=200).filter(lambda octets: len(octets) % 2 == 0))
def test_the_checksum_makes_the_sum_ones(octets: bytes) -> None:
    assert sum_up(octets + struct.pack("!H", checksum(octets))) == 0xFFFF


@given(st.sampled_from([8, 128]), st.integers(0, 0xFFFF), st.binary(min_size=16, max_size=16))
def test_an_echo_is_valid(kind: int, identifier: int, token: bytes) -> None:
    octets = write_echo(kind, identifier, token)
    assert sum_up(octets) == 0xFFFF
    assert ECHO.unpack_from(octets)[::3] == (kind, identifier) and octets.endswith(token)


@given(st.sampled_from([0, 129]), st.integers(0, 255), st.binary(max_size=40))
def test_only_the_reply_with_the_token_counts(kind: int, other: int, noise: bytes) -> None:
    right = ECHO.pack(kind, 0, 0, 7, 1) + TOKEN
    assert is_reply(right, kind, TOKEN)
    assert not is_reply(noise, kind, TOKEN)
    assert not is_reply(ECHO.pack(kind, 0, 0, 7, 1) + TOKEN[::-1], kind, TOKEN)
    assert is_reply(ECHO.pack(other, 0, 0, 7, 1) + TOKEN, kind, TOKEN) == (other == kind)


@given(st.integers(5, 15), st.binary(min_size=60, max_size=60))
def test_the_header_of_ipv4_is_passed_over(words: int, filler: bytes) -> None:
    header = bytes([0x40 | words]) + filler[: words * 4 - 1]
    assert is_reply(header + ECHO.pack(0, 0, 0, 7, 1) + TOKEN, 0, TOKEN)
    assert not is_reply(header + ECHO.pack(8, 0, 0, 7, 1) + TOKEN, 0, TOKEN)  # our own request, on loopback
