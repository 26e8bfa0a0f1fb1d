"""The daemon's side of the prober: whatever happens to the process, it is said, mended, and outcomes come again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.health.fake_prober import make_target

from geodns.config.model_checks import ExecCheck, TcpCheck
from geodns.health import child
from geodns.health.child import COMMAND, Prober
from geodns.health.state import Outcome, Verdict
from geodns.health.targets import Target

FAKE = (sys.executable, str(Path(__file__).with_name("fake_prober.py")))
LIMIT = 20.0  # seconds until a condition must be true, on a busy machine


class Watched(Prober):
    """A prober that keeps what it tells, and wakes who waits for it."""

    def __init__(self, command: Sequence[str] = FAKE, silence: float = 10.0) -> None:
        super().__init__(self.hear, self.fail, self.begin, command=command, silence=silence)
        self.outcomes: list[Outcome] = []
        self.troubles: list[str] = []
        self.begun = 0
        self.changed = asyncio.Event()
        self.broken = False

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes
        self.changed.set()
        if self.broken:
            raise RuntimeError("a bug of ours")

    def fail(self, text: str) -> None:
        self.troubles.append(text)
        self.changed.set()
        if self.broken:
            raise RuntimeError("a bug of ours")

    def begin(self) -> None:
        self.begun += 1
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.2)
                self.changed.clear()

    def pid(self) -> int:
        """Of the process that made the last outcome."""
        return int(self.outcomes[-1].text.split()[-1])


@asynccontextmanager
async def running(prober: Watched) -> AsyncIterator[Watched]:
    """*prober* from start to stop, which takes at most a second."""
    await prober.start()
    yield prober
    began = time.monotonic()
    await prober.stop()
    assert time.monotonic() - began < 1.0
    assert not prober.report().running


def is_gone(pid: int) -> bool:
    """No such process, or one that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + LIMIT
    while not is_gone(pid):
        assert time.monotonic() < until, f"process {pid} lives on"
        time.sleep(0.02)


def test_what_is_watched_is_probed_and_told() -> None:
    async def run() -> None:
        async with running(Watched()) as prober:
            assert not prober.report().running
            prober.watch([make_target("a"), make_target("b", "down", interval=3600)], ["b"])
            await prober.until(lambda: {one.key for one in prober.outcomes} == {"a", "b"} and prober.pulse)
            assert {one.verdict for one in prober.outcomes if one.key == "b"} == {Verdict.DOWN}
            assert prober.begun == 1
            report = prober.report()
            assert (report.running, report.restarts, report.targets, report.frozen) == (True, 0, 2, ())
            assert abs(report.since - time.time()) < LIMIT
            prober.watch([make_target("c")], ())
            await prober.until(lambda: prober.outcomes[-1].key == "c")
            del prober.outcomes[:-1]
            await prober.until(lambda: len(prober.outcomes) > 5)
            assert {one.key for one in prober.outcomes} == {"c"}
            await prober.until(lambda: prober.report().lateness is not None)
            pid = prober.pid()
            assert prober.troubles == []
        assert is_gone(pid)

    asyncio.run(run())


def test_ten_thousand_targets_arrive() -> None:
    async def run() -> None:
        async with running(Watched()) as prober:
            prober.watch([make_target(f"t{number}", interval=3600) for number in range(10_000)], ["t9999"])
            await prober.until(lambda: prober.pulse is not None and prober.pulse.targets == 10_000)
            await prober.until(lambda: "t9999" in {one.key for one in prober.outcomes})

    asyncio.run(run())


def test_a_list_that_is_replaced_while_it_is_sent_does_not_count() -> None:
    async def run() -> None:
        async with running(Watched()) as prober:
            await prober.until(lambda: prober.begun)
            for generation in range(20):
                prober.watch([make_target(f"{generation}/{number}") for number in range(500)], ())
                await asyncio.sleep(0)
            prober.watch([make_target("last")], ())
            await prober.until(lambda: prober.pulse is not None and prober.pulse.targets == 1)
            prober.outcomes.clear()
            await prober.until(lambda: len(prober.outcomes) > 5)
            assert {one.key for one in prober.outcomes} == {"last"}

    asyncio.run(run())


def test_when_it_is_killed_that_is_said_and_mended(caplog: pytest.LogCaptureFixture) -> None:
    """kill -9: trouble at once, a new process, the whole list again, and the urgent ones that had no outcome."""

    async def run() -> None:
        async with running(Watched()) as prober:
            targets = [make_target("a"), make_target("slow", "late 1.5", interval=3600), make_target("b", interval=3600)]
            prober.watch(targets, ["slow", "b"])
            await prober.until(lambda: {one.key for one in prober.outcomes} == {"a", "b"})
            pid = prober.pid()
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            await prober.until(lambda: prober.troubles)
            assert time.monotonic() - began < 2
            assert prober.troubles == ["the prober was killed by SIGKILL (out of memory?)"]
            assert not prober.report().running
            assert prober.pulse is None
            prober.outcomes.clear()
            await prober.until(lambda: {one.key for one in prober.outcomes} == {"a", "slow"})  # b had its turn
            assert prober.pid() != pid
            assert prober.begun == 2
            assert prober.report().running
            assert prober.report().restarts == 1

    with caplog.at_level(logging.ERROR, "geodns.health.child"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "the prober was killed by SIGKILL (out of memory?); verdicts are frozen, it is started again in 0.1 s"
    ]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("exit", "the prober ended with status 3"),
        ("stop", "the prober has said nothing for 1.2 s"),
        ("babble", "the prober sent 7 octets that cannot be read: "),
        ("close", "the prober closed its socket"),
    ],
)
def test_every_way_to_fail_is_mended(fault: str, text: str) -> None:
    async def run() -> None:
        async with running(Watched(silence=1.2 if fault == "stop" else 10.0)) as prober:
            prober.watch([make_target("a")], ())
            await prober.until(lambda: prober.outcomes)
            pid = prober.pid()
            prober.troubles.clear()
            prober.watch([make_target("a"), make_target("fault", fault, interval=3600)], ["fault"])
            await prober.until(lambda: prober.troubles)
            assert prober.troubles[0].startswith(text)
            prober.watch([make_target("a")], ())
            assert is_gone(pid)
            prober.outcomes.clear()
            await prober.until(lambda: prober.outcomes)
            assert prober.pid() != pid

    asyncio.run(run())


def test_it_is_started_again_and_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with running(Watched(command=["/nonexistent/python"])) as prober:
            await prober.until(lambda: len(prober.troubles) == 4)
            assert set(prober.troubles) == {"the prober cannot be started, /nonexistent/python: No such file or directory"}
            assert prober.begun == 0
            assert prober.report().restarts == 3

    began = time.monotonic()
    with caplog.at_level(logging.ERROR, "geodns.health.child"):
        asyncio.run(run())
    assert time.monotonic() - began >= 0.7
    pauses = [record.getMessage().rsplit(" in ", 1)[1] for record in caplog.records]
    assert pauses == ["0.1 s", "0.2 s", "0.4 s", "0.8 s"]


def test_after_a_healthy_while_the_pause_is_short_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "HEALTHY", 0.0)

    async def run() -> None:
        async with running(Watched(command=["/nonexistent/python"])) as prober:
            await prober.until(lambda: len(prober.troubles) == 3)

    with caplog.at_level(logging.ERROR, "geodns.health.child"):
        asyncio.run(run())
    assert {record.getMessage().rsplit(" in ", 1)[1] for record in caplog.records} == {"0.1 s"}


@pytest.mark.parametrize("moment", ["before it runs", "while it is stopped", "while its end is seen", "in the pause"])
def test_it_is_stopped_within_a_second_whatever_it_does(moment: str) -> None:
    """`running` holds the time."""

    async def run() -> None:
        async with running(Watched()) as prober:
            if moment == "before it runs":
                return
            prober.watch([make_target("a")], ())
            await prober.until(lambda: prober.outcomes)
            pid = prober.pid()
            os.kill(pid, signal.SIGSTOP if moment == "while it is stopped" else signal.SIGKILL)
            if moment == "while its end is seen":
                await asyncio.sleep(0)
            if moment == "in the pause":
                await prober.until(lambda: prober.troubles)
        assert is_gone(pid)

    asyncio.run(run())


def test_a_daemon_that_stood_still_itself_does_not_blame_the_prober() -> None:
    """Suspended, or held up by something: what came meanwhile is read before anybody is called silent."""

    async def run() -> None:
        async with running(Watched(silence=1.5)) as prober:
            prober.watch([make_target("a")], ())
            await prober.until(lambda: prober.outcomes)
            time.sleep(2)
            seen = len(prober.outcomes)
            await prober.until(lambda: len(prober.outcomes) > seen + 10)
            assert prober.troubles == []

    asyncio.run(run())


def test_a_bug_in_those_it_calls_does_not_end_the_prober(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with running(Watched()) as prober:
            prober.broken = True
            prober.watch([make_target("a")], ())
            await prober.until(lambda: len(prober.outcomes) > 5)
            assert prober.troubles == []
            os.kill(prober.pid(), signal.SIGKILL)
            await prober.until(lambda: prober.troubles)
            prober.outcomes.clear()
            await prober.until(lambda: prober.outcomes)

    with caplog.at_level(logging.ERROR, "geodns.health.child"):
        asyncio.run(run())
    said = {record.getMessage() for record in caplog.records if record.exc_info}
    assert said == {
        "outcomes of probes could not be taken, which is a bug in geodns",
        "the end of the prober could not be taken, which is a bug in geodns",
    }


def test_what_the_prober_logs_is_in_the_log_of_the_daemon(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with running(Watched()) as prober:
            prober.watch([make_target("a", "bug")], ())
            await prober.until(lambda: any("what is this?" in record.getMessage() for record in caplog.records))

    with caplog.at_level(logging.INFO, "geodns.health.child"):
        asyncio.run(run())
    (record, *_) = [record for record in caplog.records if "what is this?" in record.getMessage()]
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("prober: ")


DAEMON = """
import asyncio, sys
from geodns.health.child import Prober
from tests.health.fake_prober import make_target
async def run():
    prober = Prober(lambda found: print(found[0].text, flush=True), print, lambda: None, command=sys.argv[1:])
    prober.watch([make_target("a"), make_target("hanging", "hang 60", interval=3600)], ["hanging"])
    await prober.start()
    await asyncio.sleep(60)
asyncio.run(run())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_when_the_daemon_is_killed(number: signal.Signals) -> None:
    root = Path(__file__).parents[2]
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, *FAKE], stdout=subprocess.PIPE, text=True, cwd=root)
    assert daemon.stdout is not None
    with daemon.stdout:
        pid = int(daemon.stdout.readline().split()[-1])
    assert not is_gone(pid)
    assert os.getsid(pid) == pid  # a signal of the terminal goes to the daemon alone
    daemon.send_signal(number)
    daemon.wait(LIMIT)
    wait_until_gone(pid)


def make_real(check: TcpCheck | ExecCheck, host: str, port: int) -> Target:
    return Target(f"{check.type} {host}:{port}", "", check, "web", host, port, host, ("ams",))


def test_the_real_process_probes_a_real_server() -> None:
    """Up, then down when it closes: nothing of ours is in between."""

    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        check = TcpCheck(type="tcp", port=port, interval=0.1, timeout=0.1)
        async with running(Watched(COMMAND)) as prober:
            target = make_real(check, "127.0.0.1", port)
            prober.watch([target], [target.key])
            await prober.until(lambda: Verdict.UP in {one.verdict for one in prober.outcomes})
            server.close()
            await prober.until(lambda: prober.outcomes[-1].verdict is Verdict.DOWN)
            assert prober.outcomes[-1].seen
            assert prober.outcomes[-1].text == "connection refused"

    asyncio.run(run())


def test_programs_of_checks_end_with_the_process(tmp_path: Path) -> None:
    """What an `exec` check started does not stay behind when the daemon goes."""
    told = tmp_path / "pid"
    script = f"import os, pathlib, time; pathlib.Path({str(told)!r}).write_text(str(os.getpid())); time.sleep(60)"
    check = ExecCheck(type="exec", command=(sys.executable, "-c", script), interval=3600, timeout=60)

    async def run() -> None:
        async with running(Watched(COMMAND)) as prober:
            target = make_real(check, "127.0.0.1", 0)
            prober.watch([target], [target.key])
            await prober.until(lambda: told.exists() and told.read_text())

    asyncio.run(run())
    wait_until_gone(int(told.read_text()))


def test_the_command_is_our_own_interpreter_and_no_other_code_is_found_first() -> None:
    """-P: nothing in the folder where the daemon was started can stand in for a module."""
    assert (sys.executable, "-P", "-m", "geodns.health.prober") == COMMAND
