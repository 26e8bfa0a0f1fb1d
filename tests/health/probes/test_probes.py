"""What holds for every probe: it ends in time, raises nothing, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.health.probes.servers import Talk, hang, make_target, probe_once, reply, serving

from geodns.health.probes import Probes, icmp
from geodns.health.probes import tcp as tcp_module
from geodns.health.state import Outcome, Verdict

KINDS: dict[str, dict[str, Any]] = {
    "http": {"expect": {"body": "nothing like it"}},
    "https": {},
    "tcp": {"expect": "nothing like it", "send": "x"},
    "tls": {},
    "dns": {"name": "www.example.com"},
}
STEPS = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from(
        [b"HTTP/1.1 200 OK\r\n", b"\r\n", b"Content-Length: 9\r\n\r\n", b"\x16\x03\x03\x00\x30", b"\x02", b"\0\x20"]
    ),
    st.just("read"),
    st.just("pause"),
)
ENDS = st.sampled_from(["close", "abort", "stay"])
SPARE = 1.0  # seconds that a busy machine may take beyond a time-out


def script(steps: list[bytes | str], end: str) -> Talk:
    """A server that does these steps one after the other."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif step == "read":
                await reader.read(1000)
            else:
                await asyncio.sleep(0.002)
        if end == "stay":
            await asyncio.Event().wait()
        elif end == "close":
            writer.close()
        else:
            writer.transport.abort()

    return talk


@settings(deadline=None, max_examples=25)
@given(st.lists(STEPS, max_size=8), ENDS)
def test_whatever_a_server_does_a_probe_ends_in_time_with_an_outcome(steps: list[bytes | str], end: str) -> None:
    """All kinds at once, so that they also keep out of each other's way."""

    async def run() -> list[Outcome]:
        probes = Probes()
        async with serving(script(steps, end)) as port:
            targets = [make_target("127.0.0.1", port, type=kind, timeout="80ms", **more) for kind, more in KINDS.items()]
            found = await asyncio.gather(*map(probes.probe, targets))
        await probes.close()
        return list(found)

    for outcome in asyncio.run(run()):
        assert outcome.verdict is Verdict.DOWN and outcome.key == "key"
        assert 0 <= outcome.seconds < 0.08 + SPARE
        assert outcome.text and outcome.text.isprintable() and len(outcome.text) <= 200
        assert "Error" not in outcome.text and "cannot probe" not in outcome.text


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def everything(port: int, folder: Path, **written: Any) -> list[Any]:
    """A target of each type, most of them at a server that hangs."""
    asked = [make_target("127.0.0.1", port, type=kind, **more, **written) for kind, more in KINDS.items()]
    asked.append(make_target("127.0.0.1", type="icmp", **written))
    asked.append(make_target("127.0.0.1", type="exec", command=["sleep", "60"], **written))
    asked.append(make_target("127.0.0.1", type="file", path=str(folder / "none")))
    return asked


def test_a_cancelled_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    async def run() -> tuple[int, int, int]:
        probes = Probes()
        async with serving(hang) as port:
            for target in everything(port, tmp_path, timeout="50ms"):  # what is made once is made now
                await probes.probe(target)
            await asyncio.sleep(0.05)
            before = descriptors()
            for pause in (0, 0, 0.001, 0.005, 0.02):
                targets = everything(port, tmp_path, timeout="9s", interval="9s")
                tasks = [asyncio.create_task(probes.probe(target)) for target in targets]
                await asyncio.sleep(pause)
                for task in tasks:
                    task.cancel()
                for found in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(found, (asyncio.CancelledError, Outcome))
        await settle()
        after = descriptors()
        await probes.close()
        return before, after, len(asyncio.all_tasks())

    before, after, tasks = asyncio.run(run())
    assert after <= before and tasks == 1


async def settle() -> None:
    """Let transports and the servers' ends of connections go."""
    for _ in range(20):
        await asyncio.sleep(0.005)


def test_many_failures_leave_nothing_behind(tmp_path: Path) -> None:
    async def run() -> tuple[int, int]:
        probes = Probes()
        async with serving(hang) as port:
            targets = everything(port, tmp_path, timeout="30ms")
            await asyncio.gather(*map(probes.probe, targets))
            await settle()
            before = descriptors()
            for _ in range(5):
                for outcome in await asyncio.gather(*map(probes.probe, targets)):
                    assert outcome.verdict is not Verdict.UP or outcome.text == "echo reply"
            await settle()
        after = descriptors()
        await probes.close()
        return before, after

    before, after = asyncio.run(run())
    assert after <= before


def test_a_fault_of_ours_is_no_verdict_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise KeyError("oh")

    monkeypatch.setattr(tcp_module, "probe", broken)
    monkeypatch.setattr(icmp, "probe", broken)

    async def run() -> list[Outcome]:
        probes = Probes()
        kinds = [make_target("127.0.0.1", 5, type="tcp")] * 3 + [make_target("127.0.0.1", type="icmp")]
        found = [await probes.probe(target) for target in kinds]
        await probes.close()
        return found

    with caplog.at_level(logging.ERROR):
        outcomes = asyncio.run(run())
    assert {(outcome.verdict, outcome.seen, outcome.text) for outcome in outcomes} == {
        (Verdict.UNKNOWN, True, "cannot probe: KeyError('oh')")
    }
    assert [record.getMessage() for record in caplog.records] == [
        "tcp 127.0.0.1:5: cannot probe: KeyError('oh')",
        "icmp 127.0.0.1: cannot probe: KeyError('oh')",
    ]


def test_many_probes_at_once_keep_apart() -> None:
    """Each hears its own server's reply, also those that share a session."""

    async def run() -> list[str]:
        probes = Probes()
        codes = [200, 204, 301, 404, 500]
        async with AsyncExitStack() as stack:
            talks = [reply(f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n".encode()) for code in codes]
            ports = [await stack.enter_async_context(serving(talk)) for talk in talks]
            targets = [make_target("127.0.0.1", port, type="http") for port in ports] * 20
            found = await asyncio.gather(*map(probes.probe, targets))
        await probes.close()
        return [outcome.text.partition(",")[0] for outcome in found]

    assert asyncio.run(run()) == [f"status {code}" for code in (200, 204, 301, 404, 500)] * 20


def test_without_descriptors_left_nobody_goes_down(tmp_path: Path) -> None:
    """Our own limit is no fault of the members'."""

    async def run() -> list[Outcome]:
        probes = Probes()
        taken = []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with serving(hang) as port:
            await probes.probe(make_target("127.0.0.1", port, type="http", timeout="20ms"))
            await probes.probe(make_target("127.0.0.1", port, type="https", timeout="20ms"))
            targets = [make_target("127.0.0.1", port, type=kind, **more) for kind, more in KINDS.items()]
            targets.append(make_target("127.0.0.1", type="exec", command=["true"]))
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 2, hard))
                while True:
                    try:
                        taken.append(os.dup(0))
                    except OSError:
                        break
                return [await probes.probe(target) for target in targets]
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for one in taken:
                    os.close(one)
                await probes.close()

    outcomes = asyncio.run(run())
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}, outcomes
    assert all("too many open files" in outcome.text for outcome in outcomes), outcomes


def test_a_probe_of_each_type_takes_its_seconds(tmp_path: Path) -> None:
    outcome = asyncio.run(probe_once(make_target("127.0.0.1", type="file", path=str(tmp_path / "none"))))
    assert outcome.verdict is Verdict.UNKNOWN and 0 < outcome.seconds < 1
