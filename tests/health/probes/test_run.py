"""The exec probe: programs that end, that do not, and what they leave behind."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.health.probes.servers import make_target, probe_once

from geodns.health.probes import Probes
from geodns.health.probes.run import Running
from geodns.health.state import Outcome, Verdict

BOUND = 5.0  # seconds that something may take that should take none


def run(program: str, *words: str, **check: Any) -> Outcome:
    """What a probe says of a program in Python."""
    return asyncio.run(probe_once(make_exec(program, *words, **check)))


def make_exec(program: str, *words: str, **check: Any) -> Any:
    return make_target("192.0.2.10", type="exec", command=[sys.executable, "-I", "-S", "-c", program, *words], **check)


def wait_for_end(pid: int) -> None:
    """Until the process is gone, or waits for its parent to notice."""
    until = time.monotonic() + BOUND
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
        time.sleep(0.005)
    pytest.fail(f"process {pid} still runs")


def wait_for_file(path: Path) -> str:
    until = time.monotonic() + BOUND
    while time.monotonic() < until:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        time.sleep(0.005)
    pytest.fail(f"{path.name} was never written")


def find_children() -> set[int]:
    """Our own, those that wait to be buried included."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found |= {int(child) for child in path.read_text().split()}
    return found


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """Nobody waits to be buried who was not there before. (Threads bury; they may need a moment.)"""
    before = find_children()
    yield
    until = time.monotonic() + BOUND
    while left := find_children() - before:
        assert time.monotonic() < until, f"children are left: {left}"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("program", "verdict", "text"),
    [
        ("", Verdict.UP, "exit status 0"),
        ("print('all'); print('is well'); print()", Verdict.UP, "exit status 0: is well"),
        ("import sys; print('disk full', file=sys.stderr); sys.exit(3)", Verdict.DOWN, "exit status 3: disk full"),
        ("import os; os.kill(os.getpid(), 11)", Verdict.DOWN, "ended by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", Verdict.DOWN, "ended by signal 40"),
        ("print('x' * 5000)", Verdict.UP, "exit status 0: " + "x" * 182 + "..."),
        ("import os; os.write(1, b'\\xff\\x1b[31mred\\0\\n')", Verdict.UP, "exit status 0: [31mred"),
    ],
    ids=range(7),
)
def test_the_exit_status_decides_and_the_last_line_is_told(program: str, verdict: Verdict, text: str) -> None:
    outcome = run(program)
    assert (outcome.verdict, outcome.seen, outcome.text) == (verdict, True, text)


def test_a_program_gets_what_it_needs_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEODNS_SECRET", "x")
    path = tmp_path / "told"
    program = (
        "import os, sys\n"
        f"open({str(path)!r}, 'w').write(repr((dict(os.environ), sys.stdin.read(), os.getsid(0) == os.getpid(),"
        " os.listdir('/proc/self/fd'))) + '\\n')"
    )
    target = make_target("10.1.2.3", 8443, "192.0.2.10", type="exec", command=[sys.executable, "-I", "-c", program])
    assert asyncio.run(probe_once(target)).text == "exit status 0"
    environment, read, leads, descriptors = eval(path.read_text())  # our own repr
    environment.pop("LC_CTYPE", None)  # the interpreter sets it for itself
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "GEODNS_ADDRESS": "10.1.2.3",
        "GEODNS_PORT": "8443",
        "GEODNS_MEMBER": "192.0.2.10",
        "GEODNS_CHECK": "web",
    }
    assert (read, leads) == ("", True)
    assert len(descriptors) <= 5  # three, what it opened, and the folder


def test_arguments_are_no_shell() -> None:
    outcome = run("import sys; print(sys.argv[1:])", "$HOME; exit 1", "*")
    assert outcome.text == "exit status 0: ['$HOME; exit 1', '*']"


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable", "no interpreter", "word"])
def test_a_program_that_cannot_be_started_is_our_fault(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "program"
    if kind == "folder":
        path.mkdir()
    elif kind == "not executable":
        path.write_text("#!/bin/sh\n")
    elif kind == "no interpreter":
        path.write_text("#!/nowhere/sh\n")
        path.chmod(0o755)
    name = "no-such-program-anywhere" if kind == "word" else str(path)
    outcome = asyncio.run(probe_once(make_target(type="exec", command=[name])))
    assert (outcome.verdict, outcome.seen) == (Verdict.UNKNOWN, True)
    assert outcome.text.startswith(f"cannot start {name}: ")


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
child = os.fork()
if child:
    with open(sys.argv[1] + ".part", "w") as out:
        out.write(f"{os.getpid()} {child}\\n")
    os.rename(sys.argv[1] + ".part", sys.argv[1])
    print("still here", flush=True)
while True:
    time.sleep(60)
"""


def test_a_program_that_forks_and_ignores_signals_is_killed_with_all_it_started(tmp_path: Path) -> None:
    outcome = run(STUBBORN, str(tmp_path / "pids"), timeout="400ms")
    assert (outcome.verdict, outcome.seen) == (Verdict.DOWN, True)
    assert outcome.text == "not ended within 0.4 s, killed: still here"
    assert 0.4 <= outcome.seconds < 1.4
    for pid in wait_for_file(tmp_path / "pids").split():
        wait_for_end(int(pid))


LEAVES_ONE = """
import os, sys, time
child = os.fork()
if not child:
    time.sleep(60)
with open(sys.argv[1], "w") as out:
    out.write(f"{child}\\n")
print("done")
"""


def test_what_a_program_leaves_behind_neither_holds_the_probe_nor_stays(tmp_path: Path) -> None:
    """It has the pipe still open."""
    outcome = run(LEAVES_ONE, str(tmp_path / "pids"), timeout="5s", interval="9s")
    assert (outcome.text, outcome.seconds < 2) == ("exit status 0: done", True)
    wait_for_end(int(wait_for_file(tmp_path / "pids")))


def test_a_hundred_megabytes_are_read_and_dropped() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    program = "import os\nfor _ in range(1600): os.write(1, b'x' * 65535 + b'\\n')\nprint('end')"
    outcome = run(program, timeout="9s", interval="9s")
    assert outcome.text == "exit status 0: end"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_a_program_that_closes_its_output_and_runs_on_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []
    read = Running.read

    def counted(running: Running) -> bool:
        looks.append(read(running))
        return looks[-1]

    monkeypatch.setattr(Running, "read", counted)
    outcome = run("import os, time; os.close(1); os.close(2); time.sleep(60)", timeout="500ms")
    assert outcome.text == "not ended within 0.5 s, killed"
    assert looks == [False] * 2  # at the end of the pipe, and when all was over: not again and again


CROWD = """
import os, sys, time
folder = sys.argv[1]
mine = os.path.join(folder, str(os.getpid()))
open(mine, "w").close()
most = len(os.listdir(folder))
time.sleep(0.4)
most = max(most, len(os.listdir(folder)))
os.unlink(mine)
print(most)
"""


def test_no_more_run_at_once_than_may_and_who_waits_is_told(tmp_path: Path) -> None:
    """Waiting is no part of the time-out: the last of the queue waits longer than that."""

    async def crowd() -> list[Outcome]:
        probes = Probes(exec_at_once=2)
        try:
            target = make_exec(CROWD, str(tmp_path), timeout="1s")
            return list(await asyncio.gather(*(probes.probe(target) for _ in range(8))))
        finally:
            await probes.close()

    outcomes = asyncio.run(crowd())
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UP}, outcomes
    assert {outcome.text.split()[3] for outcome in outcomes} <= {"1", "2"}
    waited = [outcome for outcome in outcomes if "waited" in outcome.text]
    assert len(waited) == 6 and waited[0].text.endswith("s; at most 2 programs run at once)")
    assert max(outcome.seconds for outcome in outcomes) < 1
    assert max(float(outcome.text.split("waited ")[1].split()[0]) for outcome in waited) > 1


def test_who_is_cancelled_ends_the_program_and_gives_its_place_back(tmp_path: Path) -> None:
    async def cancel() -> str:
        probes = Probes(exec_at_once=1)
        try:
            for number in range(3):
                path = tmp_path / str(number)
                running = asyncio.create_task(probes.probe(make_exec(STUBBORN, str(path), timeout="9s", interval="9s")))
                waiting = asyncio.create_task(probes.probe(make_exec("")))
                pids = await asyncio.to_thread(wait_for_file, path)
                waiting.cancel()
                running.cancel()
                found = await asyncio.gather(running, waiting, return_exceptions=True)
                assert [type(one) for one in found] == [asyncio.CancelledError] * 2
                for pid in pids.split():
                    await asyncio.to_thread(wait_for_end, int(pid))
            return (await probes.probe(make_exec(""))).text
        finally:
            await probes.close()

    assert asyncio.run(cancel()).startswith("exit status 0")


def test_the_end_of_all_kills_what_runs(tmp_path: Path) -> None:
    async def close() -> Outcome:
        probes = Probes()
        target = make_exec(STUBBORN, str(tmp_path / "pids"), timeout="9s", interval="9s")
        running = asyncio.create_task(probes.probe(target))
        await asyncio.to_thread(wait_for_file, tmp_path / "pids")
        await probes.close()
        return await running

    outcome = asyncio.run(close())
    assert outcome.text == f"ended by {signal.SIGKILL.name}: still here"
    for pid in wait_for_file(tmp_path / "pids").split():
        wait_for_end(int(pid))
