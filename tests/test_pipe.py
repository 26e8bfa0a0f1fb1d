"""The shim as a process: one block or one FAIL for each line, soon, whatever becomes of the daemon."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.shims import PATIENCE, Daemon, Reply, Shim, echo, wait_until

from geodns import __version__
from geodns.wire.lines import LONGEST_LINE

OK, FAIL = f"OK\tgeodns {__version__} ready\n".encode(), b"FAIL\n"
AT_ONCE = 0.7  # seconds; less than the second that a hanging daemon is given
HANGS: Reply = ()
GARBAGE = [
    b"\n",
    b"hello\n",
    b"DATA 0 1 x\nEND\n",
    b"END\nEND\n",
    b"FAIL\nEND\n",
    b"END\nDATA\t0\t1\ta\tIN\tA\t1\t1\t192.0.2.66\n",
    b"DATA\t0\t1\ta\tIN\tA\t1\t1\t192.0.2.66\nEND\nDATA\t0\t1\tb\tIN\tA\t1\t1\t192.0.2.66\nEND\n",
    b"OK\tgeodns 0 ready\nEND\n",
    bytes(range(256)) * 20,
    b'{"result": true}\n',
    b"\0" * 70_000 + b"\nEND\n",
]


def question(name: str) -> bytes:
    return f"Q\t{name}\tIN\tANY\t1\t127.0.0.1\t127.0.0.1\t192.0.2.0/24".encode()


def block(name: str) -> bytes:
    (octets,) = echo(question(name))
    assert octets is not None
    return octets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backend.sock"


@pytest.fixture
def shim(path: Path) -> Iterator[Shim]:
    with closing(Shim("--socket", str(path))) as shim:
        yield shim


@pytest.fixture
def daemon(path: Path) -> Iterator[Daemon]:
    with closing(Daemon(path)) as daemon:
        yield daemon


@pytest.mark.parametrize("abi", range(1, 6))
def test_the_banner_needs_no_daemon(shim: Shim, abi: int) -> None:
    assert shim.greet(abi) == OK
    assert shim.ask(question("a.example")) == FAIL
    assert shim.end() == 0


@pytest.mark.parametrize(
    "hello", [b"HELO\t0", b"HELO\t6", b"HELO\tfive", b"HELO", b"HELO\t", b"HELO\t5\tmore", b"PING", b""]
)
def test_an_unknown_abi_fails_for_ever_and_lives(shim: Shim, daemon: Daemon, hello: bytes) -> None:
    assert shim.ask(hello) == FAIL
    for _ in range(3):
        assert shim.ask(question("a.example")) == FAIL
    if hello.startswith(b"HELO"):
        assert shim.greet(5) == FAIL
        assert shim.ask(question("a.example")) == FAIL
    assert shim.end() == 0
    assert daemon.lines == []


def test_a_question_gets_the_block_of_the_daemon_which_was_greeted_as_we_were(shim: Shim, daemon: Daemon) -> None:
    assert shim.greet(3) == OK
    for name in ("a.example", "B.exAmple", r"\032\.x.example"):
        assert shim.ask(question(name)) == block(name)
    assert daemon.lines == [b"HELO\t3\n", *[question(n) + b"\n" for n in ("a.example", "B.exAmple", r"\032\.x.example")]]
    assert daemon.connections == 1
    assert shim.errors() == ""


def test_the_daemon_is_connected_to_before_there_is_a_question(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    wait_until(lambda: daemon.lines == [b"HELO\t5\n"])


def test_while_the_daemon_is_away_each_question_fails_at_once(shim: Shim, path: Path) -> None:
    shim.greet()
    for _ in range(20):
        assert shim.ask(question("a.example"), AT_ONCE) == FAIL
    with closing(Daemon(path)) as daemon:
        wait_until(lambda: daemon.lines, 1.0)  # without a question
        assert shim.ask(question("a.example")) == block("a.example")
    wait_until(lambda: shim.ask(question("a.example"), AT_ONCE) == FAIL)
    with closing(Daemon(path)) as daemon:
        wait_until(lambda: shim.ask(question("b.example"), AT_ONCE) == block("b.example"), 1.0)
    assert "No such file" in shim.errors()


@pytest.mark.parametrize("abi", [5, 6])
def test_a_search_for_a_zone_that_fails_has_an_end_and_no_other_question(shim: Shim, abi: int) -> None:
    """There PowerDNS reads on until END, and kills who does not send it; anywhere else END is the next one's answer."""
    shim.greet(abi)
    client = "0.0.0.0\t0.0.0.0\t0.0.0.0/0"
    assert shim.ask(f"Q\ta.example\tIN\tSOA\t-1\t{client}".encode(), AT_ONCE) == FAIL + b"END\n"
    for line in (
        f"Q\ta.example\tIN\tSOA\t1\t{client}",
        f"Q\ta.example\tIN\tANY\t-1\t{client}",
        "Q\tSOA\t-1",
        "SOA\t-1",
        "Q",
    ):
        assert shim.ask(line.encode(), AT_ONCE) == FAIL
    assert shim.is_silent()


def test_a_daemon_that_hangs_costs_one_question_a_second_and_no_later_one(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    assert shim.ask(question("a.example")) == block("a.example")
    daemon.answer, daemon.greeting = (lambda line: HANGS), HANGS
    began = time.monotonic()
    assert shim.ask(question("b.example")) == FAIL
    assert 0.9 < time.monotonic() - began < 1.5
    for _ in range(5):
        assert shim.ask(question("c.example"), AT_ONCE) == FAIL
    assert b"c.example" not in b"".join(daemon.lines)
    daemon.answer, daemon.greeting = echo, (b"OK\n",)
    daemon.hang_up()
    wait_until(lambda: shim.ask(question("d.example")) == block("d.example"))


def test_a_daemon_that_hung_answers_again_on_the_connection_that_waited(shim: Shim, daemon: Daemon) -> None:
    """As after SIGSTOP and SIGCONT: nobody connects anew, and the old answer goes to nobody."""
    shim.greet()
    assert shim.ask(question("a.example")) == block("a.example")
    daemon.answer, daemon.greeting = (lambda line: HANGS), HANGS
    assert shim.ask(question("b.example")) == FAIL
    wait_until(lambda: daemon.connections == 2)
    daemon.answer = echo
    daemon.open[0].close()
    daemon.open[1].sendall(b"OK\tat last\n")
    wait_until(lambda: shim.ask(question("c.example")) == block("c.example"))
    assert daemon.connections == 2


@pytest.mark.parametrize("half", [b"", b"DATA\t0\t1\tb.example\tIN\tA\t60\t1\t192.0.2.66\n", b"DATA\t0", b"EN"])
def test_half_a_block_is_not_passed_on(shim: Shim, daemon: Daemon, half: bytes) -> None:
    shim.greet()
    assert shim.ask(question("a.example")) == block("a.example")
    daemon.answer = lambda line: (half, None)
    assert shim.ask(question("b.example")) == FAIL
    daemon.answer = echo
    wait_until(lambda: shim.ask(question("c.example")) == block("c.example"))
    assert shim.is_silent()


def test_a_connection_that_failed_in_the_middle_of_a_block_is_never_used_again(shim: Shim, daemon: Daemon) -> None:
    """So the rest of the block, whenever it comes, is nobody's answer."""
    shim.greet()
    first = block("b.example")[:10]
    daemon.answer = lambda line: (first,)
    assert shim.ask(question("b.example")) == FAIL
    wait_until(lambda: daemon.open[0].fileno() == -1)  # it was closed by the shim
    daemon.answer = echo
    wait_until(lambda: shim.ask(question("c.example")) == block("c.example"))


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda octets: repr(octets[:20]))
def test_garbage_of_the_daemon_is_a_failure_and_spoils_nothing(shim: Shim, daemon: Daemon, garbage: bytes) -> None:
    shim.greet()
    daemon.answer = lambda line: (garbage,)
    assert shim.ask(question("b.example"), AT_ONCE) == FAIL
    daemon.answer = echo
    wait_until(lambda: shim.ask(question("c.example")) == block("c.example"))
    assert shim.is_silent()


@pytest.mark.parametrize("greeting", [b"FAIL\n", b"\n", b"hello\n", b"OK\nEND\n", b"{}" * 1000, None])
def test_who_does_not_greet_as_geodns_is_asked_nothing(shim: Shim, daemon: Daemon, greeting: bytes | None) -> None:
    daemon.greeting = (greeting,)
    shim.greet()
    assert shim.ask(question("a.example")) == FAIL
    assert set(daemon.lines) == {b"HELO\t5\n"}
    daemon.greeting = (b"OK\n",)
    wait_until(lambda: shim.ask(question("c.example")) == block("c.example"), 1.5)


def test_what_the_daemon_says_unasked_is_nobodys_answer(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    assert shim.ask(question("a.example")) == block("a.example")
    daemon.open[0].sendall(block("evil.example"))
    wait_until(lambda: daemon.connections == 2)
    assert shim.ask(question("b.example")) == block("b.example")


def test_a_daemon_that_hands_over_to_another_costs_no_question(shim: Shim, daemon: Daemon) -> None:
    """It stops reading just when it is asked; its successor listens already."""
    shim.greet()
    for number in range(5):
        assert shim.ask(question("a.example")) == block("a.example")
        closed: list[bytes] = []
        daemon.answer = lambda line, closed=closed: echo(line) if closed else (closed.append(line), (None,))[1]  # type: ignore[misc]
        assert shim.ask(question(f"{number}.example")) == block(f"{number}.example")
    assert daemon.connections == 6


def test_questions_that_come_together_are_answered_one_after_the_other(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    names = [f"{number}.example" for number in range(100)]
    shim.write(b"".join(question(name) + b"\n" for name in names))
    wanted = b"".join(map(block, names))
    read = b""
    while len(read) < len(wanted):
        read += shim.read_block()
    assert read == wanted


def test_lines_up_to_64_kib_pass_and_longer_ones_fail(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    daemon.answer = lambda line: (b"DATA\t%d\nEND\n" % len(line),)
    assert shim.ask(b"Q".ljust(LONGEST_LINE, b"x")) == b"DATA\t%d\nEND\n" % LONGEST_LINE
    for length in (LONGEST_LINE + 1, 10 * LONGEST_LINE):
        assert shim.ask(b"Q".ljust(length, b"x")) == FAIL
    assert shim.ask(b"Q") == b"DATA\t1\nEND\n"
    assert daemon.connections == 1


def test_half_a_line_at_the_end_is_no_question(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    shim.write(question("a.example"))
    shim.stdin.close()
    assert shim.process.wait(PATIENCE) == 0
    assert shim.stdout.read() == b""
    assert not [line for line in daemon.lines if line.startswith(b"Q")]


def test_a_powerdns_that_does_not_read_any_more_is_the_end(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    shim.stdout.close()
    shim.write(question("a.example") + b"\n")
    assert shim.process.wait(PATIENCE) == 0
    assert shim.errors() == ""


def test_signals_to_the_whole_service_do_not_end_it(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        shim.process.send_signal(number)
        assert shim.ask(question("a.example")) == block("a.example")
    assert shim.end() == 0


def test_what_powerdns_left_open_is_closed(path: Path) -> None:
    ours, theirs = os.pipe()
    with closing(Shim("--socket", str(path), pass_fds=[theirs])) as shim:
        os.close(theirs)
        shim.greet()
        assert os.read(ours, 1) == b""  # nobody holds the other end
    os.close(ours)


def test_a_long_block_is_passed_on_whole_however_it_comes(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    long = b"".join(b'DATA\t0\t1\tx\tIN\tTXT\t60\t1\t"%d END"\n' % number for number in range(40_000)) + b"END\n"
    assert len(long) > 1 << 20
    daemon.answer = lambda line: (long,)
    assert shim.ask(question("x")) == long
    pieces = [long[-200:][start : start + 7] for start in range(0, 200, 7)]
    pieces[0] = b"DATA\t" + pieces[0].replace(b"\n", b"")
    daemon.answer = lambda line: pieces
    assert shim.ask(question("x")) == b"".join(pieces)


def test_a_block_without_an_end_is_given_up(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    line = b"DATA\t".ljust(1 << 16, b"x") + b"\n"
    daemon.answer = lambda _: (line,) * 200
    assert shim.ask(question("x"), 2.0) == FAIL
    daemon.answer = echo
    wait_until(lambda: shim.ask(question("c.example")) == block("c.example"))


def test_commands_have_replies_of_any_text(shim: Shim, daemon: Daemon) -> None:
    assert shim.greet() == OK
    daemon.answer = lambda line: (b"geodns\nFAIL\n DATA\n", b"up\nEND\n")
    shim.write(b"CMD\tstatus\n")
    assert shim.read_block() == b"geodns\nFAIL\n DATA\nup\nEND\n"
    daemon.answer = lambda line: (None,)
    shim.write(b"CMD\tstatus\n")
    assert shim.read_block() == b"the geodns daemon does not answer\nEND\n"


def test_commands_are_known_from_abi_5_on(shim: Shim, daemon: Daemon) -> None:
    shim.greet(4)
    daemon.answer = lambda line: (b"text\nEND\n",)
    assert shim.ask(b"CMD\tstatus") == FAIL


def test_a_mistake_of_ours_is_an_answer_too() -> None:
    """FAIL for a question; for a command text and END, for PowerDNS's tools wait until they read that."""
    program = (
        "import geodns.pipe_link as link\n"
        "def ask(*given, **named): raise ZeroDivisionError('one by nothing')\n"
        "link.Link.ask = ask\n"
        "from geodns.entry import main; main(['pipe', '--socket', 'none'])"
    )
    lines = b"HELO\t5\n" + question("a.example") + b"\nCMD\tstatus\n" + question("b.example") + b"\n"
    done = subprocess.run([sys.executable, "-c", program], input=lines, capture_output=True, check=True, timeout=PATIENCE)
    assert done.stdout == OK + FAIL + b"the geodns daemon does not answer\nEND\n" + FAIL
    assert done.stderr.count(b"ZeroDivisionError: one by nothing: this is a bug in geodns") == 3


def test_a_daemon_that_goes_wrong_all_the_time_does_not_fill_the_log(shim: Shim, daemon: Daemon) -> None:
    shim.greet()
    daemon.answer = lambda line: (b"garbage\n",)
    wait_until(lambda: shim.ask(question("x")) == FAIL and daemon.connections >= 5)
    said = shim.errors().splitlines()
    assert 1 <= len(said) <= 2
    assert "sent a line that is no answer: 'garbage'; questions fail" in said[0]


def play(line: bytes, chance: random.Random) -> Reply:
    """What a daemon may do with a question, right and wrong."""
    good = echo(line)[0]
    assert good is not None
    cut = chance.randrange(len(good))
    return chance.choice(
        [
            (good,),
            (good,),
            (good,),
            (good[:cut], good[cut:]),
            (good[:cut], None),
            (good, None),
            (good + good,),
            (chance.choice(GARBAGE),),
            (b"END\n",),
            (b"FAIL\n",),
        ]
    )


def test_never_another_questions_answer_whatever_the_daemon_does(path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance, good = random.Random(seed), 0
    with closing(Daemon(path, lambda line: play(line, chance))), closing(Shim("--socket", str(path))) as shim:
        shim.greet()
        deadline, number = time.monotonic() + 6, 0
        while good < 100 and time.monotonic() < deadline:
            number += 1
            name = f"{number}.example"
            answer = shim.ask(question(name), 2.5)
            assert answer in {block(name), FAIL, b"END\n"}
            good += answer == block(name)
            if answer == FAIL:
                time.sleep(0.002)  # it may be a while until the daemon is tried again
        assert shim.is_silent()
        assert shim.end() == 0
    assert good >= 20


def test_it_imports_little(tmp_path: Path) -> None:
    """A process for each thread of PowerDNS: what is heavy is for the daemon, and what starts one for who needs it."""
    program = "import sys; from geodns.entry import main; main(['pipe', '--socket', 'none']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], input=b"", capture_output=True, check=True)
    seen = set(done.stdout.decode().split())
    assert {"geodns.pipe", "geodns.pipe_link"} <= seen
    heavy = {"typer", "pydantic", "asyncio", "subprocess", "typing", "dataclasses", "inspect", "logging", "json", "hashlib"}
    # what the interpreter itself brings along for packages installed for development is not ours
    base = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, check=True)
    assert (seen - set(base.stdout.decode().split())) & (heavy | {"pathlib", "re", "threading"}) == set()
    assert {name for name in seen if name.startswith("geodns.")} <= {
        "geodns.entry", "geodns.pipe", "geodns.pipe_link", "geodns.wire", "geodns.wire.lines",
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [[], ["--socket", "a", "--config", "b"], ["--socket="], ["--socket"], ["-x"], ["file"]]
)
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "geodns", "pipe", *arguments], input=b"HELO\t5\n", capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"OK" not in done.stdout
