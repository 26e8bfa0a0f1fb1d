"""Succession: real processes under load, every failure before the end, and strangers on the control socket."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.adapters import PATIENCE, bound_to
from tests.server.load import Load, free_ports

from geodns.errors import StartError
from geodns.server.channel import Channel, ChannelError
from geodns.server.doors import bind_control
from geodns.server.listen import Bound, bind_all
from geodns.server.succession import GREETING, Label, Labelled, Offer, claim_bound, label_bound, list_offer, take_over

ROOT = Path(__file__).parents[2]
QUERY = b"who are you now?"  # 16 octets: less than a header is no DNS


class Heir:
    """`tests.server.heir` in a process of its own; its lines as they come."""

    def __init__(self, folder: Path, *options: object) -> None:
        (folder / "state").mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.server.heir", str(folder / "control"), str(folder / "state")]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*command, *map(str, options)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, start: str) -> str:
        """The first line that begins so."""

        def found() -> list[str]:
            return [line for line in self.lines if line.startswith(start)]

        with self._news:
            assert self._news.wait_for(lambda: bool(found()), 4 * PATIENCE), (start, self.lines)
            return found()[0]

    def release(self) -> None:
        """End what waits for stdin."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def end(self) -> int:
        status = self.process.wait(4 * PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def close(self) -> None:
        self.release()
        try:
            self.end()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.end()


def ask_tcp(port: int) -> bytes:
    """Who answers a whole query on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"\0\x10" + QUERY)
        return read_framed(client)


def read_framed(client: socket.socket) -> bytes:
    octets = b""
    while len(octets) < 2 or len(octets) < 2 + int.from_bytes(octets[:2], "big"):
        more = client.recv(1000)
        assert more, "closed without a reply"
        octets += more
    return octets[2:]


@contextmanager
def loaded(folder: Path, *options: object) -> Iterator[tuple[Heir, Load]]:
    """A daemon without predecessor, and queries to it; none of them is lost."""
    with Load() as load, closing(Heir(folder, load.port, *options)) as heir:
        heir.wait_for("answering")
        load.start()
        yield heir, load


# Real processes


def test_nothing_is_lost_from_daemon_to_daemon_under_load(tmp_path: Path) -> None:
    """Four successions in a row; UDP in open loop, TCP before, during and after, and one connection cut in mid-query."""
    with ExitStack() as heirs, Load() as load:
        pids = []
        old = heirs.enter_context(closing(Heir(tmp_path, load.port)))
        old.wait_for("answering")
        load.start()
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", load.port), PATIENCE) as client:
                client.sendall(b"\0\x10" + QUERY[:5])
                assert ask_tcp(load.port) == QUERY + b" by %d" % old.pid, "so the connection before it is the old one's too"
                heir = heirs.enter_context(closing(Heir(tmp_path, "--replace", load.port)))
                heir.wait_for("answering")
                assert ask_tcp(load.port) == QUERY + b" by %d" % heir.pid
                client.sendall(QUERY[5:])
                assert read_framed(client) == QUERY + b" by %d" % old.pid, "who took it answers it"
            old.wait_for("ended")
            assert old.end() == 0
            assert (tmp_path / "state" / "lock").read_text() == f"{heir.pid}\n"
            pids.append(old.pid)
            old = heir
        load.check()
    assert set(load.answers) == {b"%d" % pid for pid in (*pids, old.pid)}


@pytest.mark.parametrize("fault", ["die", "die reading", "refuse"])
def test_a_successor_that_fails_changes_nothing(tmp_path: Path, fault: str) -> None:
    with loaded(tmp_path) as (old, load):
        with closing(Heir(tmp_path, "--replace", "--fault", fault, load.port)) as failed:
            assert failed.end() != 0
        old.wait_for("resumed")
        assert ask_tcp(load.port) == QUERY + b" by %d" % old.pid
        with closing(Heir(tmp_path, "--replace", load.port)) as heir:  # and the next one may try
            heir.wait_for("answering")
            assert old.end() == 0
            assert ask_tcp(load.port) == QUERY + b" by %d" % heir.pid
            load.check()


def test_a_successor_that_is_late_is_told_and_ends(tmp_path: Path) -> None:
    with loaded(tmp_path, "--patience", 0.3) as (old, load):
        with closing(Heir(tmp_path, "--replace", "--fault", "hang", load.port)) as late:
            late.wait_for("hanging")
            old.wait_for("resumed")
            late.release()
            assert late.wait_for("failed").endswith(
                f"process {old.pid} did not wait for us and goes on; nothing was replaced"
            )
            assert late.end() == 1
        assert ask_tcp(load.port) == QUERY + b" by %d" % old.pid
        load.check()


def test_an_old_one_that_cannot_stop_reading_goes_on(tmp_path: Path) -> None:
    with loaded(tmp_path, "--fault", "quiesce") as (old, load):
        with closing(Heir(tmp_path, "--replace", load.port)) as heir:
            assert "did not hand over: expected SOCKETS, got b'RESUMED'; it goes on" in heir.wait_for("failed")
            assert heir.end() == 1
        old.wait_for("resumed")
        assert ask_tcp(load.port) == QUERY + b" by %d" % old.pid
        load.check()


def test_an_old_one_that_cannot_save_ends_all_the_same(tmp_path: Path) -> None:
    with loaded(tmp_path, "--fault", "finish") as (old, load), closing(Heir(tmp_path, "--replace", load.port)) as heir:
        heir.wait_for("answering")
        assert old.end() == 0
        assert ask_tcp(load.port) == QUERY + b" by %d" % heir.pid
        load.check()


def test_addresses_come_and_go(tmp_path: Path) -> None:
    """What is new is bound before; what is wanted no more is closed, and free for others."""
    kept, dropped, added = free_ports(3)
    with closing(Heir(tmp_path, kept, dropped)) as old:
        old.wait_for("answering")
        with closing(Heir(tmp_path, "--replace", kept, added)) as heir:
            assert heir.wait_for("answering") == f"answering {kept} {added}"
            assert old.end() == 0
            for port in (kept, added):
                assert ask_tcp(port) == QUERY + b" by %d" % heir.pid
            with pytest.raises(ConnectionRefusedError):
                ask_tcp(dropped)
            for one in bind_all([("127.0.0.1", dropped)]):
                one.close()


# One side against a made-up other


@asynccontextmanager
async def offered(
    control: Path, sockets: list[Labelled], patience: float = PATIENCE
) -> AsyncIterator[tuple[Offer, list[str]]]:
    """An offer behind a control socket, and the steps that it took."""
    taken: list[str] = []

    async def quiesce() -> None:
        taken.append("quiesce")

    async def resume() -> None:
        taken.append("resume")

    async def finish() -> None:
        taken.append("finish")

    offer, loop, tasks = (
        Offer(lambda: sockets, None, quiesce, resume, finish, patience),
        asyncio.get_running_loop(),
        set[Any](),
    )

    def welcome() -> None:
        connection, _ = listening.accept()
        tasks.add(loop.create_task(offer.answer(connection)))

    with closing(bind_control(control)) as listening:
        loop.add_reader(listening, welcome)
        try:
            yield offer, taken
        finally:
            loop.remove_reader(listening)
            await asyncio.gather(*tasks, return_exceptions=True)


def count_open() -> int:
    """The descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def connect(control: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(control))
    client.setblocking(False)
    return client


def read_all(client: socket.socket) -> bytes:
    """What comes until the other side closes, or goes away without reading what we had sent."""
    octets = b""
    with suppress(ConnectionResetError):
        while more := client.recv(1000):
            octets += more
    return octets


def test_more_sockets_than_fit_into_one_message(tmp_path: Path) -> None:
    async def run(bounds: Sequence[Bound]) -> None:
        labelled = [one for bound in bounds for one in label_bound(bound)]
        async with offered(tmp_path / "control", labelled) as (offer, taken):
            inheritance = await take_over(tmp_path / "control")
            assert taken == ["quiesce"]
            assert not offer.handed
            mine = claim_bound(inheritance, "127.0.0.1", bounds[77].port)
            assert mine is not None
            with closing(mine):
                assert mine.udp.getsockname() == bounds[77].udp.getsockname()
                assert not mine.tcp.get_inheritable(), "the compiler's process must not get it"
                assert mine.udp.gettimeout() == mine.tcp.gettimeout() == 0
            assert claim_bound(inheritance, "127.0.0.1", bounds[77].port) is None, "it is claimed already"
            await inheritance.confirm()
            assert offer.handed
            assert offer.succeeded.is_set()
            assert taken == ["quiesce", "finish"]

    before = count_open()
    bounds = bind_all([("127.0.0.1", 0)] * 100)
    asyncio.run(run(bounds))
    for one in bounds:
        one.close()
    assert count_open() == before, "descriptors are left open"


def test_a_group_is_handed_over_whole_and_in_order(tmp_path: Path) -> None:
    """What waits in one of its sockets is read by whoever claims the address."""

    async def run(bound: Bound) -> None:
        async with offered(tmp_path / "control", list(label_bound(bound))):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(100):
                    sender.sendto(b"?", ("127.0.0.1", bound.port))
            inheritance = await take_over(tmp_path / "control")
            mine = claim_bound(inheritance, "127.0.0.1", bound.port)
            assert mine is not None
            with closing(mine):
                assert [os.fstat(one.fileno()).st_ino for one in mine.group] == [
                    os.fstat(one.fileno()).st_ino for one in bound.group
                ]
                assert sum(count_waiting(one) for one in mine.group) == 100
                await inheritance.confirm()

    def count_waiting(one: socket.socket) -> int:
        count = 0
        with suppress(BlockingIOError):
            while one.recv(10):
                count += 1
        return count

    (bound,) = bind_all([("127.0.0.1", 0)], workers=3)
    with closing(bound):
        labels = [
            *(Label("udp", "127.0.0.1", bound.port, number) for number in range(3)),
            Label("tcp", "127.0.0.1", bound.port),
        ]
        assert [one.label for one in label_bound(bound)] == labels
        asyncio.run(run(bound))


def test_a_socket_that_is_offered_twice_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        with bound_to("127.0.0.1") as bound:
            async with offered(tmp_path / "control", [*label_bound(bound)] * 2) as (_, taken):
                with pytest.raises(StartError, match="hands nothing over: it offers a socket twice"):
                    await take_over(tmp_path / "control")
            assert taken == []

    asyncio.run(run())


def test_a_successor_that_closes_leaves_nothing_open(tmp_path: Path) -> None:
    async def run() -> None:
        with bound_to("127.0.0.1") as bound:
            async with offered(tmp_path / "control", list(label_bound(bound))) as (offer, taken):
                (await take_over(tmp_path / "control")).close()
            assert taken == ["quiesce", "resume"]
            assert not offer.handed

    before = count_open()
    asyncio.run(run())
    assert count_open() == before


def test_one_hand_over_at_a_time_and_none_after(tmp_path: Path) -> None:
    async def run() -> None:
        async with offered(tmp_path / "control", []):
            inheritance = await take_over(tmp_path / "control")
            for _ in range(2):
                with pytest.raises(StartError, match="hands nothing over: REFUSED another hand-over is under way"):
                    await take_over(tmp_path / "control")
                await inheritance.confirm()

    asyncio.run(run())


def test_who_only_looks_is_in_nobodys_way(tmp_path: Path) -> None:
    """A start asks for the list first, on a connection that a busy daemon may hear the end of later than of its greeting."""

    async def greet() -> Channel:
        channel = Channel(connect(tmp_path / "control"))
        await channel.send(GREETING.decode().strip())
        assert (await channel.read_line()).startswith(b"OFFER ")
        return channel

    async def run() -> None:
        async with offered(tmp_path / "control", []) as (offer, taken):
            silent, late = await greet(), await greet()
            inheritance = await take_over(tmp_path / "control")
            silent.close()
            await late.send("TAKE")
            assert await late.read_line() == b"REFUSED another hand-over is under way"
            late.close()
            await inheritance.confirm()
            assert offer.handed
            assert taken == ["quiesce", "finish"]

    asyncio.run(run())


def test_a_successor_that_gave_up_makes_room_for_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        async with offered(tmp_path / "control", []) as (offer, taken):
            (await take_over(tmp_path / "control")).close()
            deadline = time.monotonic() + PATIENCE
            while taken != ["quiesce", "resume"]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)
            await (await take_over(tmp_path / "control")).confirm()
            assert offer.handed

    asyncio.run(run())


def test_who_is_to_end_on_its_own_hands_nothing_over(tmp_path: Path) -> None:
    """SIGTERM in the middle: the old one stops its sockets for good, so a successor must not read from them."""

    async def run() -> None:
        async with offered(tmp_path / "control", []) as (offer, taken):
            inheritance = await take_over(tmp_path / "control")
            await offer.withdraw()
            assert taken == ["quiesce", "resume"]
            assert not offer.handed
            with pytest.raises(StartError, match="goes on; nothing was replaced"):
                await inheritance.confirm()
            with pytest.raises(StartError, match="REFUSED this process is ending"):
                await take_over(tmp_path / "control")

    asyncio.run(run())


def test_who_has_handed_over_cannot_take_it_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with offered(tmp_path / "control", []) as (offer, taken):
            await (await take_over(tmp_path / "control")).confirm()
            await offer.withdraw()
            assert offer.handed
            assert taken == ["quiesce", "finish"]

    asyncio.run(run())


def test_a_list_takes_nothing(tmp_path: Path) -> None:
    """From a thread, as it is asked before there is a loop."""

    async def run() -> None:
        with bound_to("127.0.0.1") as bound:
            async with offered(tmp_path / "control", list(label_bound(bound))) as (_, taken):
                labels = await asyncio.get_running_loop().run_in_executor(None, list_offer, tmp_path / "control")
                assert labels == (Label("udp", "127.0.0.1", bound.port), Label("tcp", "127.0.0.1", bound.port))
            assert taken == []

    asyncio.run(run())


def test_where_nobody_listens_there_is_nothing_to_replace(tmp_path: Path) -> None:
    assert list_offer(tmp_path / "none") is None
    bind_control(tmp_path / "stale").close()
    assert list_offer(tmp_path / "stale") is None
    with pytest.raises(StartError, match="stale: nobody listens there any more"):
        asyncio.run(take_over(tmp_path / "stale"))
    (tmp_path / "file").touch()
    assert list_offer(tmp_path / "file") is None
    with pytest.raises(StartError, match="cannot ask the daemon there: Not a directory"):
        list_offer(tmp_path / "file" / "control")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1 400"),
        (b"OFFER {\n", "hands nothing over: "),
        (b"OFFER {}\n", "hands nothing over: "),
        (b"OFFER []\n", "hands nothing over: "),
        (b'OFFER {"pid": 1, "sockets": [["udp", "127.0.0.1"]], "lock": false}\n', "hands nothing over: "),
        (b"REFUSED no\n", "hands nothing over: REFUSED no"),
        (b"", "the other side went away"),
        (
            b'OFFER {"pid": 7, "sockets": [["udp", "127.0.0.1", 53]], "lock": false}\n',
            "process 7 did not hand over: ",
        ),
        (
            b'OFFER {"pid": 7, "sockets": [["udp", "a", 1]], "lock": false}\nBYE\n',
            "process 7 did not hand over: ",
        ),
        (b"x" * (1 << 21), "a line without end"),
    ],
)
def test_whatever_the_other_side_says_is_one_line(tmp_path: Path, said: bytes, told: str) -> None:
    async def run() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == GREETING
            with suppress(ConnectionError):
                writer.write(said)
                await writer.drain()
                writer.close()
                await writer.wait_closed()

        async with await asyncio.start_unix_server(speak, tmp_path / "control"):
            with pytest.raises(StartError) as caught:
                await take_over(tmp_path / "control")
        assert str(caught.value).startswith(f"{tmp_path / 'control'}: ")
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)

    asyncio.run(run())


def wrong_sockets() -> Iterator[tuple[Label, Callable[[], socket.socket]]]:
    """Labels, and sockets that are something else."""

    def bound(family: int, kind: int, listening: bool) -> Callable[[], socket.socket]:
        def make() -> socket.socket:
            one = socket.socket(family, kind)
            one.bind(("127.0.0.1", 0))
            if listening:
                one.listen()
            return one

        return make

    yield Label("tcp", "127.0.0.1", 53), bound(socket.AF_INET, socket.SOCK_STREAM, True)  # at another port
    yield Label("udp", "127.0.0.1", 53), bound(socket.AF_INET, socket.SOCK_DGRAM, False)
    yield Label("tcp", "127.0.0.1", 53), bound(socket.AF_INET, socket.SOCK_DGRAM, False)
    yield Label("udp", "127.0.0.1", 53), bound(socket.AF_INET, socket.SOCK_STREAM, True)
    yield Label("tcp", "127.0.0.1", 53), bound(socket.AF_INET, socket.SOCK_STREAM, False)  # does not listen
    yield Label("control", "/run/control"), bound(socket.AF_INET, socket.SOCK_STREAM, True)


@pytest.mark.parametrize(("label", "make"), list(wrong_sockets()))
def test_a_socket_that_is_not_what_its_label_says_is_not_taken(
    tmp_path: Path, label: Label, make: Callable[[], socket.socket]
) -> None:
    async def run() -> None:
        with closing(make()) as one:
            async with offered(tmp_path / "control", [Labelled(label, one)]) as (offer, taken):
                with pytest.raises(StartError, match=r"did not hand over: a socket is .* it goes on"):
                    await take_over(tmp_path / "control")
            assert taken == ["quiesce", "resume"]
            assert not offer.handed

    before = count_open()
    asyncio.run(run())
    assert count_open() == before


def test_an_old_one_that_dies_after_the_last_word_is_no_failure(tmp_path: Path) -> None:
    async def run() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            offer = {"pid": 7, "sockets": [], "lock": False}
            writer.write(b"OFFER %s\n" % json.dumps(offer).encode())
            assert await reader.readline() == b"TAKE\n"
            writer.write(b"SOCKETS 0\n")
            assert await reader.readline() == b"SERVING\n"
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_unix_server(speak, tmp_path / "control"):
            await (await take_over(tmp_path / "control")).confirm()

    asyncio.run(run())


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([GREETING, b"TAKE\n", b"SERVING\n", b"BYE\n"])), max_size=5)
)
def test_whatever_a_stranger_says_the_old_one_ends_only_by_the_rules(
    tmp_path_factory: pytest.TempPathFactory, said: list[bytes]
) -> None:
    """Reading stops only after TAKE, and goes on again unless SERVING follows."""
    whole = b"".join(said)
    control = tmp_path_factory.mktemp("strange") / "control"

    async def run() -> list[str]:
        async with offered(control, []) as (offer, taken):
            with closing(connect(control)) as client:
                client.send(whole)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(PATIENCE)
                await asyncio.get_running_loop().run_in_executor(None, read_all, client)
        assert offer.handed == (taken == ["quiesce", "finish"])
        return taken

    by_the_rules = [GREETING, b"TAKE\n", b"SERVING\n"]
    taken = asyncio.run(run())
    if whole.startswith(b"".join(by_the_rules)):
        assert taken == ["quiesce", "finish"]
    elif whole.startswith(b"".join(by_the_rules[:2])):
        assert taken == ["quiesce", "resume"]
    else:
        assert taken == []


def test_who_says_nothing_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with offered(tmp_path / "control", [], patience=0.05) as (offer, taken):
            with closing(connect(tmp_path / "control")) as silent:
                silent.send(GREETING)
                silent.settimeout(PATIENCE)
                octets = await asyncio.get_running_loop().run_in_executor(None, read_all, silent)
                assert octets.startswith(b"OFFER ")
            assert (taken, offer.handed) == ([], False)

    asyncio.run(run())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_nothing_even_through_an_open_door() -> None:
    """The socket's mode keeps others out; this is what happens when somebody has changed it."""
    user = pwd.getpwnam("nobody").pw_uid

    async def run(control: Path) -> bytes:
        code = f"""
import os, socket
os.setresuid({user}, {user}, {user})
with socket.socket(socket.AF_UNIX) as one:
    one.connect({str(control)!r})
    one.sendall({GREETING!r})
    print(one.recv(1000).decode())
"""
        async with offered(control, []) as (_, taken):
            control.chmod(0o666)
            other = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
            said, _ = await other.communicate()
            assert taken == []
            return said

    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others
        Path(name).chmod(0o755)
        said = asyncio.run(run(Path(name, "control")))
    assert said.decode().strip() == f"REFUSED user {user} is neither root nor user {os.geteuid()}"


def test_descriptors_that_nobody_takes_are_closed() -> None:
    async def run() -> None:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (one, other):
            end.setblocking(False)
        sender, receiver = Channel(one), Channel(other)
        await sender.send("files", [0] * 64)
        await sender.send("more", [0] * 3)
        assert await receiver.read_line() == b"files"
        assert await receiver.read_line() == b"more"
        assert len(receiver.descriptors) == 67
        sender.close()
        with pytest.raises(ChannelError, match="went away"):
            await receiver.read_line()
        receiver.close()

    before = count_open()
    asyncio.run(run())
    assert count_open() == before
