"""Names, connections, and how far they got."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from tests.health.probes.servers import hang, make_target, probe_once, serving

from geodns.health.probes import Probes, connect
from geodns.health.probes.connect import Names, family_of, follow
from geodns.health.probes.finding import Trail, Unresolved
from geodns.health.state import Verdict


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("192.0.2.1", socket.AF_INET),
        ("2001:db8::1", socket.AF_INET6),
        ("www.example.com", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_the_family_of_an_address(text: str, family: socket.AddressFamily | None) -> None:
    assert family_of(text) is family


def test_addresses_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_resolve", None)
    assert asyncio.run(Names().find("2001:db8::1", Trail())) == "2001:db8::1"


def test_a_name_is_resolved_before_each_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str) -> str:
        asked.append(host)
        return "127.0.0.1"

    monkeypatch.setattr(connect, "_resolve", resolve)

    async def run() -> list[str]:
        probes = Probes()
        async with serving(hang) as port:
            target = make_target("edge.example.net", port, "edge.example.net.", type="tcp")
            found = [(await probes.probe(target)).text for _ in range(2)]
        await probes.close()
        return found

    assert asyncio.run(run()) == ["connected"] * 2
    assert asked == ["edge.example.net"] * 2


def test_the_resolver_of_the_system_is_asked() -> None:
    names = Names()
    assert asyncio.run(names.find("localhost", Trail())) in ("127.0.0.1", "::1")
    names.close()


@pytest.mark.parametrize("kind", ["tcp", "http", "tls", "icmp", "dns"])
def test_a_name_that_nobody_knows_is_not_seen(kind: str) -> None:
    more = {"name": "a.b"} if kind == "dns" else {}
    outcome = asyncio.run(probe_once(make_target("nowhere.invalid", 5, type=kind, **more)))
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, False)
    assert outcome.text.startswith("nowhere.invalid cannot be resolved: ")


def test_what_is_no_name_is_told() -> None:
    with pytest.raises(Unresolved, match="cannot be resolved"):
        asyncio.run(Names().find("a" * 70 + ".example", Trail()))


def test_a_resolver_that_hangs_takes_the_probe_no_longer_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps nobody else waiting: probes of addresses go on."""
    never = threading.Event()

    def resolve(host: str) -> str:
        never.wait(20)
        return "127.0.0.1"

    monkeypatch.setattr(connect, "_resolve", resolve)

    async def run() -> tuple[list[str], str]:
        probes = Probes()
        try:
            async with serving(hang) as port:
                targets = [make_target(f"n{i}.example.net", port, type="tcp", timeout="200ms") for i in range(40)]
                stuck = [asyncio.create_task(probes.probe(target)) for target in targets]
                await asyncio.sleep(0)
                found = await probes.probe(make_target("127.0.0.1", port, type="tcp"))
                return [(await one).text for one in stuck], found.text
        finally:
            never.set()
            await probes.close()

    stuck, found = asyncio.run(run())
    assert stuck == [f"no address of n{i}.example.net within 0.2 s" for i in range(40)]
    assert found == "connected"


def test_the_kernel_tells_how_far_a_connection_got() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as opened:
        accepted, _ = listener.accept()
        trail = Trail()
        follow(opened, trail)
        assert (trail.waiting_for, trail.heard) == ("reply", False)
        with accepted:
            accepted.send(b"x")
            assert opened.recv(1, socket.MSG_PEEK)
            follow(opened, trail)
            assert (trail.waiting_for, trail.heard) == ("end of the reply", True)
    fresh = Trail()
    with socket.socket() as unused:
        follow(unused, fresh)
    assert (fresh.waiting_for, fresh.heard) == ("connection", False)
    follow(unused, fresh)  # closed
    assert not fresh.heard
