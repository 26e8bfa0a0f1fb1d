"""Shims that find or start their daemon: where it is, that there is one, and that it comes back and goes away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shims import PATIENCE, Shim, end_daemons, find_daemons, wait_until
from tests.world import write_world

from geodns import backend_only
from geodns.backend_only import (
    CALM,
    FIRST_PAUSE,
    LOCK_VARIABLE,
    LONGEST_PAUSE,
    Starter,
    claim_lock,
    find_pause,
    find_spot,
    spawn,
    take_lock,
)
from geodns.backend_only_life import claim_spot, is_backend_only, lock_if_free, narrow, outlive_clients
from geodns.config.load import load_server
from geodns.errors import StartError
from geodns.state_lock import lock_state

FAIL = b"FAIL\n"
START = 20.0  # seconds that a daemon may take to start beside other tests
CONFIG = """
server: {{listen: ["127.0.0.1:53"], user: nobody-of-this-name, control: off, state: {folder}/state}}
geoip: {{database: world.mmdb}}
datacenters:
  ams: {{coordinates: [52.37, 4.90]}}
  nyc: {{coordinates: [40.71, -74.01]}}
services:
  www: {{check: off, pools: {{ams: [192.0.2.1], nyc: [192.0.2.2]}}}}
zones:
  example.com:
    ns: [ns1]
    records:
      www: {{service: www}}
      ns1: {{A: 192.0.2.53}}
"""
QUESTION = b"Q\tWww.example.com\tIN\tANY\t-1\t20.1.2.3\t127.0.0.1\t20.1.2.0/24"
LOOKUP = (
    b'{"method": "lookup", "parameters": {"qname": "www.example.com.", "qtype": "ANY", "remote": "20.1.2.3", '
    b'"local": "127.0.0.1", "real-remote": "20.1.2.0/24", "zone-id": -1}}'
)
ANSWER = b"DATA\t1\t1\tWww.example.com\tIN\tA\t30\t1\t192.0.2.1\nEND\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and a folder for sockets that is ours."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    write_config(tmp_path)
    world = {"0.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48.0, 2.0]}}
    (tmp_path / "world.mmdb").write_bytes(write_world(world, build_epoch=int(time.time())))
    return tmp_path


def write_config(folder: Path, *, broken: bool = False) -> None:
    text = CONFIG.format(folder=folder)
    if os.geteuid() == 0:  # root would have to become that user
        text = text.replace("user: nobody-of-this-name, ", "")
    (folder / "geodns.yaml").write_text(text.replace("{service: www}", "{service: wwww}") if broken else text)


# Where it is.


def test_the_spot_follows_from_the_real_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And from nothing in the file, which need not be there."""
    monkeypatch.chdir(tmp_path)
    environ = {"RUNTIME_DIRECTORY": str(tmp_path)}
    (tmp_path / "link.yaml").symlink_to("geodns.yaml")
    (tmp_path / "etc").symlink_to(tmp_path)
    spellings = [
        "geodns.yaml",
        "./geodns.yaml",
        "x/../geodns.yaml",
        "link.yaml",
        "etc/geodns.yaml",
        str(tmp_path / "geodns.yaml"),
    ]
    assert len({find_spot(one, environ).socket for one in spellings}) == 1
    assert find_spot("other.yaml", environ).socket != find_spot("geodns.yaml", environ).socket
    assert find_spot("geodns.yaml", environ).lock != find_spot("geodns.yaml", environ).socket


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=2000))
def test_the_path_of_the_socket_is_never_too_long(config: str) -> None:
    assert len(find_spot(config[:200], {}).socket) <= 107  # unix(7): sun_path has 108, the last a zero


def test_the_folder_of_the_service_is_taken_where_it_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_only, "TEMPORARY", str(tmp_path))
    ours, open_to_all, file = tmp_path / "ours", tmp_path / "open", tmp_path / "file"
    ours.mkdir()
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    file.touch()
    otherwise = str(tmp_path / f"geodns-{os.geteuid()}")
    for given_folder, wanted in [
        (str(ours), str(ours)),
        (f"{ours}:{open_to_all}", str(ours)),
        (str(open_to_all), otherwise),
        (str(file), otherwise),
        (str(tmp_path / "missing"), otherwise),
        ("", otherwise),
    ]:
        spot = find_spot("geodns.yaml", {"RUNTIME_DIRECTORY": given_folder})
        assert {str(Path(spot.socket).parent), str(Path(spot.lock).parent)} == {wanted}
    assert stat.S_IMODE(Path(otherwise).stat().st_mode) == 0o700


def test_a_folder_that_somebody_else_could_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_only, "TEMPORARY", str(tmp_path))
    folder = tmp_path / f"geodns-{os.geteuid()}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)
    with pytest.raises(OSError, match="is no folder"):
        find_spot("geodns.yaml", {})
    folder.unlink()
    folder.mkdir()
    folder.chmod(0o770)
    with pytest.raises(OSError, match="others may write there"):
        find_spot("geodns.yaml", {})
    folder.chmod(0o700)
    uid = os.geteuid()
    (tmp_path / f"geodns-{uid + 1}").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(OSError, match=f"belongs to user {uid}, not to us"):
        find_spot("geodns.yaml", {})


def test_a_shim_that_may_not_have_a_folder_says_so_fails_and_lives(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end would make PowerDNS take lookups for empty."""
    (folder / "run").rmdir()
    (folder / "run").symlink_to(folder)
    program = f"""
import geodns.backend_only as b
b.TEMPORARY = {str(folder)!r}
open(f"{folder}/geodns-{{b.os.geteuid()}}", "w").close()
from geodns.pipe import run
run(None, "geodns.yaml")
"""
    process = subprocess.run(
        [sys.executable, "-c", program], input=b"HELO\t5\n" + QUESTION + b"\n", capture_output=True, check=True
    )
    assert process.stdout.endswith(b"ready\nFAIL\n")
    assert b"is no folder; remove it" in process.stderr


# The lock.


def test_one_has_the_lock_until_it_is_closed(folder: Path) -> None:
    spot = find_spot("geodns.yaml")
    lock = take_lock(spot)
    assert lock is not None
    assert take_lock(spot) is None
    os.close(lock)
    again = take_lock(spot)
    assert again is not None
    os.close(again)
    Path(spot.lock).unlink()
    Path(spot.lock).symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        take_lock(spot)


def test_the_lock_of_a_shim_is_inherited_and_goes_no_further(folder: Path) -> None:
    spot = find_spot("geodns.yaml")
    lock = take_lock(spot)
    assert lock is not None
    os.set_inheritable(lock, True)
    assert claim_lock(spot, {LOCK_VARIABLE: str(lock)}) == lock
    assert not os.get_inheritable(lock)
    assert claim_lock(spot, {}) is None  # another start, by hand
    os.close(lock)


@pytest.mark.parametrize("number", ["", "x", "-1", "0", "99999", "٣", "3 "])
def test_a_number_that_is_no_lock_of_ours_is_not_taken_for_one(folder: Path, number: str) -> None:
    spot = find_spot("geodns.yaml")
    lock = claim_lock(spot, {LOCK_VARIABLE: number})
    assert lock is not None
    assert str(lock) != number
    os.close(lock)


# When one is started.


class Clock:
    """Time for a starter, and what it starts: daemons that live for `life` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, life: float) -> None:
        self.now, self.life = 1000.0, life
        self.starts: list[float] = []
        self.held: list[tuple[float, int]] = []  # until when, and by which descriptor
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(backend_only, "spawn", self.spawn)

    def spawn(self, config: str, lock: int) -> int:
        self.starts.append(self.now)
        self.held.append((self.now + self.life, os.dup(lock)))
        return 0x7FFFFFF0  # no child of ours

    def run(self, starters: list[Starter], seconds: float, step: float = 0.05) -> None:
        end = self.now + seconds
        while self.now < end:
            for until, descriptor in list(self.held):
                if until <= self.now:
                    os.close(descriptor)
                    self.held.remove((until, descriptor))
            for starter in starters:
                starter.revive()
            self.now += step

    def close(self) -> None:
        for _, descriptor in self.held:
            os.close(descriptor)
        self.held.clear()


@pytest.mark.parametrize("shims", [1, 5])
def test_a_daemon_that_dies_is_started_again_with_growing_pauses_however_many_shims(
    folder: Path, monkeypatch: pytest.MonkeyPatch, shims: int
) -> None:
    with closing(Clock(monkeypatch, 0.0)) as clock:
        clock.run([Starter("geodns.yaml", lambda line: None) for _ in range(shims)], 60)
        pauses = [after - before for before, after in pairwise(clock.starts)]
        assert pauses[0] == pytest.approx(FIRST_PAUSE, abs=0.2)
        assert all(after >= before - 0.2 for before, after in pairwise(pauses))
        assert max(pauses) < LONGEST_PAUSE + 0.2
        assert len(clock.starts) <= 12


def test_a_daemon_that_lives_is_never_doubled_and_is_replaced_soon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Clock(monkeypatch, CALM + 10)) as clock:
        starters = [Starter("geodns.yaml", lambda line: None) for _ in range(5)]
        clock.run(starters, CALM)
        assert clock.starts == [1000.0]
        clock.run(starters, 11)
        assert len(clock.starts) == 2
        assert clock.starts[1] - (1000.0 + CALM + 10) < 0.2


def test_what_a_lock_file_of_before_the_last_boot_says_does_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Clock(monkeypatch, 0.0)) as clock:
        for content in (b"7\n99999999\n", b"garbage", b"\0" * 64, b"1\n" * 10):
            Path(find_spot("geodns.yaml").lock).write_bytes(content)
            before = len(clock.starts)
            clock.run([Starter("geodns.yaml", lambda line: None)], 0.2)
            assert len(clock.starts) == before + 1
            clock.now += 1000


@given(st.integers(0, 500))
def test_pauses_are_bounded(count: int) -> None:
    assert find_pause(0) == 0 <= find_pause(count) <= find_pause(count + 1) <= LONGEST_PAUSE


def test_why_none_can_be_started_is_said_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(sys, "executable", str(folder / "no-python"))
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    starter = Starter("geodns.yaml", said.append)
    for _ in range(10):
        starter.revive()
        clock[0] += LONGEST_PAUSE + 1
    assert len([line for line in said if "cannot start a daemon" in line]) == 1
    assert "no-python" in said[-1]


def test_a_daemon_gets_nothing_of_powerdns_but_standard_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its standard output, which PowerDNS would read as answers, nor its name with the service manager."""
    stand_in, seen = folder / "python", folder / "seen"
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, os, signal, sys\n"
        "fds = {n: os.readlink(f'/proc/self/fd/{n}') for n in range(50) if os.path.exists(f'/proc/self/fd/{n}')}\n"
        "ignored = [n for n in (1, 2, 13, 15) if signal.getsignal(n) is signal.SIG_IGN]\n"
        "json.dump([sys.argv[1:], os.getsid(0) == os.getpid(), fds, dict(os.environ), ignored], open("
        f"{str(seen)!r} + '.part', 'w'))\nos.rename({str(seen)!r} + '.part', {str(seen)!r})\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lock = take_lock(find_spot("geodns.yaml"))
    assert lock is not None
    try:
        process = spawn("/etc/geodns.yaml", lock)
        assert os.waitpid(process, 0)[1] == 0
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(lock)
    arguments, own_session, descriptors, environ, ignored = json.loads(seen.read_text())
    assert arguments == ["-P", "-m", "geodns", "serve", "--backend-only", "--config", "/etc/geodns.yaml"]
    assert own_session
    assert descriptors.pop("0") == "/dev/null"
    assert descriptors.pop("1") == descriptors.pop("2")
    assert descriptors.pop("3") == find_spot("geodns.yaml").lock
    assert not {target for target in descriptors.values() if target.startswith(("pipe:", "socket:"))}
    assert environ[LOCK_VARIABLE] == "3"
    assert "NOTIFY_SOCKET" not in environ
    assert {signal.SIGTERM, signal.SIGHUP, signal.SIGINT} & set(ignored) == set()


# What it is.


def test_what_counts_of_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "written.yaml").write_text(
        (folder / "geodns.yaml").read_text().replace("server: {", "server: {http: 127.0.0.1:9, ")
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    for name, http in (("geodns.yaml", None), ("written.yaml", 9)):
        server = load_server(folder / name)
        assert not is_backend_only(server)
        narrowed = narrow(server, "/run/x.sock")
        assert is_backend_only(narrowed)
        assert (narrowed.http and narrowed.http.port) == http
        assert narrowed.backend is not None
        assert (str(narrowed.backend.path), narrowed.backend.mode, narrowed.backend.group) == ("/run/x.sock", 0o600, None)
        assert narrowed.user is None
        assert narrowed.limits == server.limits


def test_a_second_one_is_refused_by_name(folder: Path) -> None:
    spot, lock = claim_spot(folder / "geodns.yaml", os.environ)
    with pytest.raises(StartError, match=r"runs already, or begins: it has .*\.lock"):
        claim_spot(folder / "geodns.yaml", os.environ)
    os.close(lock)
    Path(spot.lock).unlink()
    Path(spot.lock).mkdir()
    with pytest.raises(StartError, match="serve --backend-only: "):
        claim_spot(folder / "geodns.yaml", os.environ)


def test_a_state_in_use_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert lock_if_free(None) == (None, None)
    state, lock = lock_if_free(tmp_path)
    assert state == tmp_path
    assert lock is not None
    os.close(lock)
    other = lock_state(tmp_path)
    assert lock_if_free(tmp_path) == (None, None)
    assert "nothing is saved or restored here" in caplog.text
    os.close(other)


def test_it_lives_as_long_as_somebody_is_connected() -> None:
    async def watch(presence: list[int]) -> int:
        """How many looks until the end, with as many clients at each; the last goes on for ever."""
        looks = 0

        def clients() -> int:
            nonlocal looks
            looks += 1
            return presence[min(looks, len(presence)) - 1]

        await asyncio.wait_for(outlive_clients(clients, 0.02), PATIENCE)
        return looks

    assert asyncio.run(watch([0])) == 1  # the grace counts from the start
    assert asyncio.run(watch([1, 1, 1, 0])) >= 4
    assert asyncio.run(watch([0 if number % 2 else 1 for number in range(20)] + [0])) >= 2


# The real thing.


@pytest.fixture
def shims(folder: Path) -> Iterator[list[Shim]]:
    """Five shims that have been greeted at once."""
    with ExitStack() as stack:
        stack.callback(end_daemons, folder / "geodns.yaml")
        shims = [stack.enter_context(closing(Shim("--config", str(folder / "geodns.yaml")))) for _ in range(5)]
        for shim in shims:
            shim.write(b"HELO\t5\n")
        for shim in shims:
            assert shim.read_block().endswith(b" ready\n")
        yield shims


def wait_for_answers(shims: list[Shim], patience: float = START) -> None:
    """Ask until each has the right answer; until then it is FAIL and nothing else."""
    for shim in shims:

        def has_answer(shim: Shim = shim) -> bool:
            block = shim.ask(QUESTION)
            assert block in {ANSWER, FAIL}
            return block == ANSWER

        wait_until(has_answer, patience)


def starts(shims: list[Shim]) -> int:
    return sum(shim.errors().count("starting the daemon for") for shim in shims)


def test_a_storm_of_shims_starts_one_daemon_and_its_death_another(folder: Path, shims: list[Shim]) -> None:
    wait_for_answers(shims)
    (daemon,) = find_daemons(folder / "geodns.yaml")
    assert starts(shims) == 1
    spot = find_spot(str(folder / "geodns.yaml"))
    assert stat.S_IMODE(Path(spot.socket).stat().st_mode) == 0o600
    assert not find_network_sockets(daemon)
    os.kill(daemon, signal.SIGKILL)
    wait_for_answers(shims)
    (other,) = find_daemons(folder / "geodns.yaml")
    assert other != daemon
    assert starts(shims) == 2
    assert all(shim.end() == 0 for shim in shims)
    assert find_daemons(folder / "geodns.yaml") == [other]  # PowerDNS may only be restarting


@pytest.mark.parametrize("pure", ["", "1"], ids=["native where built", "pure"])
def test_with_either_engine_it_serves_powerdns_alone(folder: Path, pure: str) -> None:
    """Both protocols, and nothing of the engine that answers by UDP: no sockets, no threads, not even its code."""
    control = folder / "control.sock"
    path = folder / "geodns.yaml"
    path.write_text(path.read_text().replace("control: off", f"control: {control}"))
    with ExitStack() as stack:
        stack.callback(end_daemons, path)
        shim = stack.enter_context(closing(Shim("--config", str(path), environ={"GEODNS_PURE": pure})))
        shim.greet()
        wait_for_answers([shim])
        (daemon,) = find_daemons(path)
        remote = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
        remote.settimeout(PATIENCE)
        remote.connect(find_spot(str(path)).socket)
        remote.sendall(LOOKUP + b"\n")
        (record,) = json.loads(remote.makefile().readline())["result"]
        assert (record["qtype"], record["content"], record["scopeMask"]) == ("A", "192.0.2.1", 1)
        assert not find_network_sockets(daemon)
        assert "geodns/native/" not in Path(f"/proc/{daemon}/maps").read_text()
        command = [sys.executable, "-m", "geodns", "status", "--at", str(control)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=START).stdout
        assert "listen    nowhere: PowerDNS answers\n" in told
        assert "2 connections (1 pipe, 1 remote)" in " ".join(told.split())
        assert "prober    not started: nothing is checked\n" in told


def find_network_sockets(process: int) -> set[str]:
    """Sockets of *process* that are TCP or UDP."""
    network = {
        line.split()[9]
        for name in ("tcp", "tcp6", "udp", "udp6")
        if Path(f"/proc/{process}/net/{name}").exists()
        for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]
    }
    targets = {str(entry.readlink()) for entry in Path(f"/proc/{process}/fd").iterdir() if entry.is_symlink()}
    return {target[len("socket:[") : -1] for target in targets if target.startswith("socket:[")} & network


def test_a_daemon_that_hangs_is_not_doubled(folder: Path, shims: list[Shim]) -> None:
    wait_for_answers(shims[:1])
    (daemon,) = find_daemons(folder / "geodns.yaml")
    os.kill(daemon, signal.SIGSTOP)
    began = time.monotonic()
    for _ in range(20):
        assert shims[0].ask(QUESTION) == FAIL
    assert time.monotonic() - began < 3  # a second once, and then at once
    assert find_daemons(folder / "geodns.yaml") == [daemon]
    os.kill(daemon, signal.SIGCONT)
    wait_for_answers(shims)
    assert find_daemons(folder / "geodns.yaml") == [daemon]
    assert starts(shims) == 1


def test_a_broken_configuration_fails_until_it_is_mended(folder: Path, shims: list[Shim]) -> None:
    end_daemons(folder / "geodns.yaml")
    write_config(folder, broken=True)
    wait_until(lambda: "nothing is served" in "".join(shim.errors() for shim in shims), START)
    assert {shim.ask(QUESTION) for shim in shims} == {FAIL}
    write_config(folder)
    wait_for_answers(shims, START + LONGEST_PAUSE)
    assert len(find_daemons(folder / "geodns.yaml")) == 1


def test_a_reload_waits_for_nothing(folder: Path, shims: list[Shim]) -> None:
    """What `--backend-only` leaves out of `server` is no difference."""
    wait_for_answers(shims[:1])
    (daemon,) = find_daemons(folder / "geodns.yaml")
    os.kill(daemon, signal.SIGHUP)
    wait_until(lambda: "".join(shim.errors() for shim in shims).count("published: ") == 2, START)
    assert "waits for a restart" not in "".join(shim.errors() for shim in shims)


def test_it_ends_when_the_last_shim_has_been_gone_for_a_while(folder: Path) -> None:
    """The same program, with less of a while."""
    program = (
        "import sys; import geodns.backend_only_life as life; life.outlive_clients.__defaults__ = (0.5,);"
        "from geodns.entry import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "serve", "--backend-only", "-c", str(folder / "geodns.yaml")]
    spot = find_spot(str(folder / "geodns.yaml"))
    with closing(Shim("--config", str(folder / "geodns.yaml"))) as shim:
        daemon = subprocess.Popen(command, stderr=subprocess.PIPE)
        wait_until(Path(spot.socket).exists, START)
        shim.greet()
        wait_for_answers([shim])
        time.sleep(1.2)  # longer than it would live alone
        assert daemon.poll() is None
        assert find_daemons(folder / "geodns.yaml") == [daemon.pid]
        assert shim.end() == 0
    _, errors = daemon.communicate(timeout=PATIENCE)
    assert daemon.returncode == 0
    assert b"no shim has been connected for 0.5 s: ending" in errors
    assert not Path(spot.socket).exists()


def test_by_hand_a_second_one_is_refused(folder: Path, shims: list[Shim]) -> None:
    wait_for_answers(shims[:1])
    done = subprocess.run(
        [sys.executable, "-m", "geodns", "serve", "--backend-only", "-c", str(folder / "geodns.yaml")],
        capture_output=True, text=True, check=False, timeout=START,
    )  # fmt: skip
    assert done.returncode == 1
    assert "runs already, or begins" in done.stderr
    assert len(find_daemons(folder / "geodns.yaml")) == 1
