"""The process that probes: its rounds in our own loop, and the process itself with its signals and its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.health.fake_prober import FakeProbes, make_target

from geodns.health import prober
from geodns.health.messages import LARGEST_UP, Frames, Pulse, Said, read_up, write_list
from geodns.health.prober import STARTS, Relay, make_rounds
from geodns.health.state import Outcome, Verdict
from geodns.health.targets import Target

FAKE = Path(__file__).with_name("fake_prober.py")
LIMIT = 20.0  # seconds until a condition must be true, on a busy machine


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """The process sends its log to the daemon; the tests get theirs back."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    logging.captureWarnings(False)
    for handler in list(root.handlers):
        if isinstance(handler, Relay):
            root.removeHandler(handler)
    for handler in before:
        if handler not in root.handlers:
            root.addHandler(handler)


class Daemon:
    """The other end of the socket: what came, in order."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        ours.setblocking(False)
        self.frames = Frames(LARGEST_UP)
        self.batches: list[list[Outcome]] = []
        self.pulses: list[Pulse] = []
        self.said: list[Said] = []

    @property
    def outcomes(self) -> list[Outcome]:
        return [one for batch in self.batches for one in batch]

    async def watch(self, targets: Sequence[Target], urgent: Sequence[str] = ()) -> None:
        for frame in write_list(targets, frozenset(urgent)):
            await asyncio.get_running_loop().sock_sendall(self.socket, frame)

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until *condition* holds."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                octets = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
                assert octets, "the prober closed the socket"
                for frame in self.frames.feed(octets):
                    match read_up(frame):
                        case Pulse() as pulse:
                            self.pulses.append(pulse)
                        case Said() as said:
                            self.said.append(said)
                        case list(outcomes):
                            self.batches.append(outcomes)


@asynccontextmanager
async def rounds(probes: FakeProbes, limit: int = 1000) -> AsyncIterator[Daemon]:
    """`make_rounds` with *probes* in our own loop; it must end when the socket is closed."""
    ours, theirs = socket.socketpair()
    with ours:
        task = asyncio.create_task(make_rounds(theirs, probes, limit))
        yield Daemon(ours)
    await asyncio.wait_for(task, LIMIT)
    assert probes.closed
    assert not probes.under_way


def test_each_target_is_probed_each_interval_and_every_outcome_told() -> None:
    async def run() -> None:
        probes = FakeProbes()
        async with rounds(probes) as daemon:
            targets = [make_target(f"t{number}", "down" if number % 3 else "late 0.05") for number in range(20)]
            await daemon.watch(targets)
            began = time.monotonic()
            await daemon.until(lambda: len(daemon.outcomes) >= 200)
            assert time.monotonic() - began > 0.7  # ten rounds of 0.1 s, the first and last of which are not whole
            counts = {target.key: sum(one.key == target.key for one in daemon.outcomes) for target in targets}
            assert max(counts.values()) - min(counts.values()) <= 3, counts
            assert {one.key for one in daemon.outcomes if one.verdict is Verdict.UP} == {f"t{n}" for n in range(0, 20, 3)}
            await daemon.until(lambda: daemon.pulses and daemon.pulses[-1].targets == 20)
            assert daemon.pulses[-1].lateness is not None
            assert daemon.pulses[-1].cpu > 0

    asyncio.run(run())


def test_urgent_targets_are_probed_at_once() -> None:
    async def run() -> None:
        async with rounds(FakeProbes()) as daemon:
            began = time.monotonic()
            targets = [make_target(f"t{number}", interval=3600) for number in range(300)]
            await daemon.watch(targets, [target.key for target in targets])
            await daemon.until(lambda: len(daemon.outcomes) == 300)
            assert time.monotonic() - began < 10

    asyncio.run(run())


def test_what_ends_in_one_turn_leaves_together() -> None:
    async def run() -> None:
        async with rounds(FakeProbes()) as daemon:
            targets = [make_target(f"t{number}", interval=3600) for number in range(STARTS)]
            await daemon.watch(targets, [target.key for target in targets])
            await daemon.until(lambda: len(daemon.outcomes) == STARTS)
            assert len(daemon.batches) == 1

    asyncio.run(run())


def test_never_more_under_way_than_we_can_serve() -> None:
    """Three hundred at once, each 2 ms of work: started together, the last would wait 0.6 s for its own reply."""

    async def run() -> None:
        probes = FakeProbes()
        async with rounds(probes) as daemon:
            targets = [make_target(f"t{number}", "busy 0.002", interval=3600) for number in range(300)]
            await daemon.watch(targets, [target.key for target in targets])
            await daemon.until(lambda: len(daemon.outcomes) == 300)
            assert probes.highest <= 150

    asyncio.run(run())


def test_never_more_under_way_than_the_limit() -> None:
    async def run() -> None:
        probes = FakeProbes()
        async with rounds(probes, limit=5) as daemon:
            await daemon.watch([make_target(f"t{number}", "late 0.1") for number in range(20)])
            await daemon.until(lambda: len(daemon.outcomes) >= 60)
            await daemon.until(lambda: daemon.pulses[-1].waiting > 0)
            assert probes.highest == 5
            assert daemon.pulses[-1].under_way <= 5
            assert (daemon.pulses[-1].lateness or 0) > 0.1

    asyncio.run(run())


def test_a_probe_with_a_bug_says_nothing_of_its_target_and_is_told_to_the_log() -> None:
    async def run() -> None:
        async with rounds(FakeProbes()) as daemon:
            await daemon.watch([make_target("t", "bug")])
            await daemon.until(lambda: daemon.outcomes and len(daemon.said) > 10)
            assert daemon.outcomes[0].verdict is Verdict.UNKNOWN
            assert daemon.outcomes[0].seen
            assert daemon.outcomes[0].text == "the probe failed, which is a bug in geodns: RuntimeError"
            assert daemon.said[0].level == logging.ERROR
            assert "RuntimeError: what is this?" in daemon.said[0].text
            await daemon.watch([make_target(f"t{number}", "bug") for number in range(5)])
            await daemon.until(lambda: any("more lines not shown" in said.text for said in daemon.said))

    asyncio.run(run())


@pytest.mark.parametrize("stops", [0, 1, 2])
def test_a_failure_while_we_stood_still_is_no_failure(stops: int) -> None:
    """The machine was suspended, or we were stopped: the time-out was ours. Once: who fails again, fails."""

    async def run() -> None:
        probes = FakeProbes()
        async with rounds(probes) as daemon:
            await daemon.watch([make_target("t", "hang 0.3", interval=3600)], ["t"])
            await daemon.until(lambda: daemon.pulses)
            for turn in range(stops):
                while probes.started <= turn:
                    await asyncio.sleep(0)
                time.sleep(0.8)
            await daemon.until(lambda: daemon.outcomes)
            assert probes.started == (2 if stops else 1)
            assert [(one.verdict, one.seen) for one in daemon.outcomes] == [(Verdict.DOWN, False)]

    asyncio.run(run())


def test_nothing_is_probed_while_the_daemon_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes that nobody takes are not heaped up; when it reads again, all goes on."""
    monkeypatch.setattr(prober, "BACKLOG", 2000)

    async def run() -> None:
        probes = FakeProbes()
        async with rounds(probes) as daemon:
            daemon.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await daemon.watch([make_target(f"{number:0500}") for number in range(200)])
            seen = -1
            async with asyncio.timeout(LIMIT):
                while seen < probes.started:
                    seen = probes.started
                    await asyncio.sleep(0.5)  # five intervals in which everybody would have had a turn
            assert seen < 2000
            await daemon.until(lambda: len(daemon.outcomes) >= seen + 400)

    asyncio.run(run())


def test_garbage_from_the_daemon_ends_it() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        with ours:
            ours.sendall(b"\0\0\0\7garbage")
            await asyncio.wait_for(make_rounds(theirs, FakeProbes()), LIMIT)

    asyncio.run(run())


def test_half_a_list_counts_for_nothing() -> None:
    """A list that was begun and begun anew: the second counts."""

    async def run() -> None:
        async with rounds(FakeProbes()) as daemon:
            long = [make_target(f"old{number}") for number in range(250)]
            first = next(iter(write_list(long, frozenset())))
            await asyncio.get_running_loop().sock_sendall(daemon.socket, first)
            await daemon.watch([make_target("new")])
            await daemon.until(lambda: len(daemon.outcomes) >= 5)
            assert {one.key for one in daemon.outcomes} == {"new"}

    asyncio.run(run())


def start_fake() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The fake process as the daemon would start it."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(FAKE), str(theirs.fileno())], pass_fds=(theirs.fileno(),), start_new_session=True
        )
    ours.settimeout(LIMIT)
    return process, ours


def test_the_process_outlives_signals_and_ends_with_its_socket() -> None:
    process, ours = start_fake()
    with ours:
        ours.sendall(b"".join(write_list([make_target("t", "hang 60", interval=3600)], {"t"})))
        assert ours.recv(4)  # a pulse: signals have been seen to
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(process.pid, number)
        pulses = 0
        while pulses < 2:
            octets = ours.recv(1 << 16)
            assert octets
            pulses += octets.count(b"pulse")
        assert process.poll() is None
    assert process.wait(LIMIT) == 0


def test_programs_that_a_check_runs_can_be_ended_by_a_signal() -> None:
    """A signal that is ignored would stay ignored in them."""
    program = (
        "import subprocess, sys; from geodns.health.prober import outlive_signals; outlive_signals();"
        "print(subprocess.run(['grep', 'SigIgn', '/proc/self/status'], capture_output=True, text=True).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ignored = int(done.stdout.split()[1], 16)
    assert not any(ignored >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


def test_the_file_limit_is_raised_as_far_as_needed_and_bounds_the_probes() -> None:
    program = (
        "import resource; from geodns.health.prober import fit_limit;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, 1000));"
        "[print(fit_limit(limit), *resource.getrlimit(resource.RLIMIT_NOFILE)) for limit in (50, 400, 300, 4000)];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); print(fit_limit(4000))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["50 300 1000", "400 600 1000", "300 600 1000", "800 1000 1000", "1"]
