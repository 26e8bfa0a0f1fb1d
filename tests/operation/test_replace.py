"""`serve --replace`: one daemon after the other under load, and every way in which the second may fail."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing

import dns.message
import pytest
from tests.operation.load import Load
from tests.operation.sites import PATIENCE, Daemon, Operated, free_port, until
from tests.test_daemon import running, service_manager

from geodns.errors import StartError
from geodns.server.doors import bind_control
from geodns.server.listen import bind_all
from geodns.server.succession import Inheritance, Label, Labelled, Offer, label_bound, take_over

RATE = 2000  # queries a second
REPLACE = ("--replace",)


def test_two_replacements_under_load_lose_nothing(site: Operated) -> None:
    site.http = free_port()
    site.write()
    with running(site) as first, Load(site.port, RATE) as load, running(site, options=REPLACE) as second:
        assert first.end() == 0
        second.wait_for(f"took over from process {first.process.pid}")
        assert site.status()["pid"] == second.process.pid
        assert site.fetch("/readyz")[0] == 200
        with running(site, options=REPLACE) as third:
            assert second.end() == 0
            third.wait_for("took over")
            until(lambda: site.status()["pid"] == third.process.pid)
            assert site.ask(tcp=True) == ["192.0.2.9"]
            sent = load.sent
            until(lambda: load.sent > sent + RATE // 2)
            load.__exit__()
            assert (load.lost, load.answers) == (0, load.sent), f"slowest {load.slowest:.3f} s"
            print(f"{load.sent} queries, slowest answer {load.slowest:.3f} s")
            third.send(signal.SIGTERM)
            assert third.end() == 0
    assert "Traceback" not in "".join(first.lines + second.lines + third.lines)
    assert not (site.folder / "control.sock").exists()


def test_a_query_by_tcp_that_is_half_here_is_answered_by_the_old_one(site: Operated) -> None:
    query = dns.message.make_query("static.example.com", "A").to_wire()
    framed = len(query).to_bytes(2, "big") + query
    with running(site) as first, socket.create_connection(("127.0.0.1", site.port)) as stream:
        stream.settimeout(PATIENCE)
        stream.sendall(framed[:7])
        with running(site, options=REPLACE) as second:
            first.wait_for(f"process {second.process.pid} answers now; ending")
            stream.sendall(framed[7:])
            assert stream.recv(2), "the old one serves its clients to the end"
            stream.close()
            assert first.end() == 0
            assert site.ask(tcp=True) == ["192.0.2.9"]


def test_overrides_put_while_the_successor_starts_survive(site: Operated) -> None:
    """It has read the books already, and waits for a first result of somebody new."""
    site.webs["sin"].hang()
    with running(site) as first:
        assert site.www() == ["127.0.1.1"]
        site.override("force", "sin", kind="down", duration=3600)
        site.fall = 3  # other thresholds alone need no new round; another path does
        site.config.write_text(site.config.read_text().replace("/healthz", "/other"))
        requests = site.webs["sin"].requests
        with closing(Daemon(site, options=REPLACE)) as second:
            until(lambda: any("the prober runs" in line for line in second.lines))
            until(lambda: site.webs["sin"].requests > requests)
            site.override("drain", "ams", duration=3600)
            site.override("force", "sin", kind="clear", reason=None)
            assert site.www() == ["127.0.1.2"]
            site.webs["sin"].free()
            second.wait_for("took over from process")
            assert first.end() == 0
            until(lambda: site.status()["pid"] == second.process.pid)
            assert [one["target"] for one in site.client.get("overrides")] == ["ams"]
            until(lambda: site.www() == ["127.0.1.2"])
            second.send(signal.SIGKILL)
            second.end()
    with running(site):
        assert [one["target"] for one in site.client.get("overrides")] == ["ams"]
        assert site.www() == ["127.0.1.2"]


def test_a_successor_with_a_broken_configuration_leaves_the_old_one(site: Operated) -> None:
    with running(site) as first, Load(site.port, RATE // 4) as load:
        site.write(broken=True)
        with closing(Daemon(site, options=("--replace", "--strict"))) as second:
            assert second.end() == 1
            assert any("nothing is served" in line for line in second.lines)
        assert site.status()["pid"] == first.process.pid
        load.__exit__()
        assert load.lost == 0
        assert not any("ending" in line for line in first.lines)


@pytest.mark.parametrize("line", ["the prober runs", None])
def test_a_successor_that_is_killed_while_it_loads_leaves_the_old_one(site: Operated, line: str | None) -> None:
    site.webs["sin"].hang()
    with running(site) as first:
        site.config.write_text(site.config.read_text().replace("/healthz", "/other"))
        with closing(Daemon(site, options=REPLACE)) as second:
            if line is not None:
                second.wait_for(line)
            second.send(signal.SIGKILL)
            second.end()
        assert site.ask() == ["192.0.2.9"]
        assert site.ask(tcp=True) == ["192.0.2.9"]
        assert site.status()["pid"] == first.process.pid
        site.write(static="192.0.2.77")
        assert site.client.post("reload", {})["ok"]
        assert site.ask() == ["192.0.2.77"]


async def take(site: Operated) -> Inheritance:
    """What the daemon hands over; it reads no more."""
    return await take_over(site.folder / "control.sock")


def test_who_is_told_to_end_while_a_successor_takes_over_tells_it_so(site: Operated) -> None:
    """The sockets are not the successor's yet: it must not go on with those that the old one is about to shut."""

    async def talk() -> None:
        inheritance = await take(site)
        first.send(signal.SIGTERM)
        assert await asyncio.to_thread(first.end) == 0
        with pytest.raises(StartError, match="goes on; nothing was replaced"):
            await inheritance.confirm()

    with running(site) as first:
        asyncio.run(talk())
    assert not (site.folder / "control.sock").exists()
    assert any("the successor did not take over: this process is told to end" in line for line in first.lines)


def test_a_successor_that_dies_in_the_middle_of_the_hand_over_leaves_the_old_one(site: Operated) -> None:
    async def talk() -> None:
        (await take(site)).close()

    with running(site) as first, Load(site.port, RATE // 4) as load:
        asyncio.run(talk())
        first.wait_for("the successor did not take over")
        assert site.ask(tcp=True) == ["192.0.2.9"]
        assert site.status()["pid"] == first.process.pid
        load.__exit__()
        assert load.lost == 0


def test_replace_without_a_daemon_is_a_start_like_any_other(site: Operated) -> None:
    with running(site, options=REPLACE) as daemon:
        assert "this is a start like any other" in daemon.wait_for("--replace: no daemon listens on")
        assert site.www() == ["127.0.1.1"]


def test_other_listen_addresses_are_taken_up(site: Operated) -> None:
    with running(site) as first:
        site.listen = f'["127.0.0.1:{site.port}", "127.0.0.2:{site.port}"]'
        site.server = ", nsid: next"
        site.write()
        with running(site, options=REPLACE):
            assert first.end() == 0
            assert site.ask(address="127.0.0.2") == site.ask() == ["192.0.2.9"]
            site.listen = f'["127.0.0.2:{site.port}"]'
            site.write()
            with running(site, options=REPLACE) as third:
                third.wait_for("took over")
                assert site.ask(address="127.0.0.2", tcp=True) == ["192.0.2.9"]
                with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
                    asking.connect(("127.0.0.1", site.port))
                    asking.settimeout(PATIENCE)
                    until(lambda: refused(asking))


def refused(asking: socket.socket) -> bool:
    """Does nobody listen there any more?"""
    asking.settimeout(0.2)
    try:
        asking.send(b"anybody there?")
        asking.recv(100)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    return False


def test_the_service_manager_is_told_of_the_new_main_process_and_of_no_end(site: Operated) -> None:
    with service_manager(site.folder) as (path, next_message):
        environ = {"NOTIFY_SOCKET": path}
        with running(site, environ) as first:
            assert next_message() == ["READY=1"]
            with running(site, environ, options=REPLACE) as second:
                assert next_message() == [f"MAINPID={second.process.pid}", "READY=1"]
                assert first.end() == 0
                second.send(signal.SIGTERM)
                assert next_message() == ["STOPPING=1"], "the first of its kind"


class Predecessor:
    """A daemon as its successor meets it, in this process; what the service manager heard before it was to save."""

    def __init__(self, site: Operated, next_message: Callable[[], list[str]], *, patient: bool) -> None:
        self._bound = bind_all([("127.0.0.1", site.port)])
        self._control = bind_control(site.folder / "control.sock")
        self._next_message = next_message
        self.offer = Offer(self._list, None, self._quiesce, self._resume, self._finish)
        self._patient = patient
        self.heard: list[str] = []

    def _list(self) -> list[Labelled]:
        label = Label("control", str(self._control.getsockname()))
        return [*label_bound(self._bound[0]), Labelled(label, self._control)]

    async def _quiesce(self) -> None:
        if not self._patient:
            self.offer._patience = 0.0  # for what comes next: that the successor serves

    async def _resume(self) -> None:
        """Nothing is read here."""

    async def _finish(self) -> None:
        self.heard = self._next_message()

    async def serve(self, successor: Daemon) -> None:
        """Answer the control socket until *successor* has taken over, or ended."""
        loop = asyncio.get_running_loop()
        ended = asyncio.create_task(asyncio.to_thread(successor.process.wait, PATIENCE))
        done = asyncio.create_task(self.offer.succeeded.wait())
        accepting = asyncio.create_task(self._accept(loop))
        await asyncio.wait((ended, done), return_when=asyncio.FIRST_COMPLETED)
        for task in (accepting, done):
            task.cancel()
        if self.offer.handed:
            successor.send(signal.SIGKILL)
        await ended

    async def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            connection, _ = await loop.sock_accept(self._control)
            await self.offer.answer(connection)

    def close(self) -> None:
        self._bound[0].close()
        self._control.close()


def test_the_main_process_is_told_while_the_old_one_still_lives(site: Operated) -> None:
    with service_manager(site.folder) as (path, next_message), closing(Predecessor(site, next_message, patient=True)) as old:
        with closing(Daemon(site, environ={"NOTIFY_SOCKET": path}, options=REPLACE)) as second:
            asyncio.run(old.serve(second))
        assert old.heard == [f"MAINPID={second.process.pid}", "READY=1"]


def test_a_successor_that_is_too_late_gives_the_main_process_back(site: Operated) -> None:
    with (
        service_manager(site.folder) as (path, next_message),
        closing(Predecessor(site, next_message, patient=False)) as old,
    ):
        with closing(Daemon(site, environ={"NOTIFY_SOCKET": path}, options=REPLACE)) as second:
            asyncio.run(old.serve(second))
        assert second.end() == 1
        assert next_message() == [f"MAINPID={second.process.pid}", "READY=1"]
        assert next_message() == [f"MAINPID={os.getpid()}"]
