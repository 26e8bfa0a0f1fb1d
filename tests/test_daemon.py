"""The daemon as operators meet it: a process, its signals, its log and its answers."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

import dns.edns
import dns.message
import dns.query
import dns.rcode
import pytest
from tests.server.adapters import needs_ipv6
from tests.world import write_world

from geodns.errors import StartError
from geodns.server.listen import bind_all

PATIENCE = 20.0  # seconds until something that was waited for has failed
ROOT = Path(__file__).parents[1]
CONFIG = """
server: {{listen: {listen}, http: off, control: {folder}/control.sock}}
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
      static: {{A: {static}}}
      ns1: {{A: 192.0.2.53}}
"""
FRANCE = {"0.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48.0, 2.0]}}
AMERICA = {"0.0.0.0/1": {"country": "US", "continent": "NA", "coordinates": [40.0, -75.0]}}


def free_port() -> int:
    """A port that was free for UDP and TCP a moment ago, and is none that the kernel gives to whoever connects meanwhile."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        try:
            (one,) = bind_all([("127.0.0.1", random.randrange(10_000, max(given, 11_000)))])
        except StartError:
            continue
        one.close()
        return one.port


class Site:
    """A folder with a configuration, and the daemon that serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.config = folder / "geodns.yaml"
        self.listen = f'["127.0.0.1:{self.port}"]'
        self.write()
        self.write_world(FRANCE)

    def write(self, *, static: str = "192.0.2.9", more: str = "", broken: bool = False) -> None:
        text = CONFIG.format(listen=self.listen, static=static, folder=self.folder) + more
        self.config.write_text(text.replace("{service: www}", "{service: wwww}") if broken else text)

    def write_world(self, world: Mapping[str, object]) -> None:
        (self.folder / "world.mmdb").write_bytes(write_world(world, build_epoch=int(time.time())))  # type: ignore[arg-type]

    def ask(self, name: str = "static.example.com", *, tcp: bool = False, address: str = "127.0.0.1") -> list[str]:
        """The addresses that are answered to a client of the test's world (loopback itself is nowhere)."""
        subnet = dns.edns.ECSOption("20.1.2.0", 24)
        query = dns.message.make_query(name, "A", use_edns=0, options=[subnet])
        ask = dns.query.tcp if tcp else dns.query.udp
        reply = ask(query, address, port=self.port, timeout=PATIENCE)
        assert reply.rcode() == dns.rcode.NOERROR
        return sorted(str(rdata) for rrset in reply.answer for rdata in rrset)


class Daemon:
    """`geodns serve` in a process of its own; its log lines as they come."""

    def __init__(
        self,
        site: Site,
        command: Sequence[str] | None = None,
        environ: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.lines: list[str] = []
        clean = {k: v for k, v in os.environ.items() if k not in {"STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM"}}
        clean |= {"XDG_CACHE_HOME": str(site.folder / "cache"), "PYTHONWARNINGS": "error"}
        self.process = subprocess.Popen(
            [*(command or [sys.executable]), "-m", "geodns", "serve", "-c", str(site.config), *options],
            stderr=subprocess.PIPE,
            text=True,
            env=clean | dict(environ or {}),
        )
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()

    def wait_for(self, text: str, count: int = 1) -> str:
        """The log line that holds *text*, the *count*-th of them."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= count, PATIENCE), (text, self.lines)
            return found()[count - 1]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end; its status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()


@contextmanager
def running(
    site: Site,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Daemon]:
    """A daemon that answers."""
    with closing(Daemon(site, command, environ, options)) as daemon:
        daemon.wait_for("answering on")
        yield daemon


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_answers_over_udp_and_tcp_and_ends_with_0(site: Site) -> None:
    with running(site) as daemon:
        for tcp in (False, True):
            assert site.ask(tcp=tcp) == ["192.0.2.9"]
            assert site.ask("www.example.com", tcp=tcp) == ["192.0.2.1"]
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.connect(("127.0.0.1", site.port))
        asking.settimeout(PATIENCE)
        asking.send(b"anybody there?")
        with pytest.raises(ConnectionRefusedError):
            asking.recv(100)


@needs_ipv6
def test_several_addresses_of_both_families(site: Site) -> None:
    site.listen = f'["127.0.0.1:{site.port}", "127.0.0.2:{site.port}", "[::1]:{site.port}"]'
    site.write()
    with running(site):
        for address in ("127.0.0.1", "127.0.0.2", "::1"):
            assert site.ask(address=address) == site.ask(address=address, tcp=True) == ["192.0.2.9"]


@needs_ipv6
def test_A9_wildcards_of_both_families_answer_from_the_address_asked(site: Site) -> None:
    site.listen = f'["0.0.0.0:{site.port}", "[::]:{site.port}"]'
    site.write()
    with running(site):
        for address in ("127.0.0.1", "127.0.0.2", "::1"):  # dnspython takes replies from that address only
            assert site.ask(address=address) == site.ask(address=address, tcp=True) == ["192.0.2.9"]


def test_second_daemon_is_refused_and_the_first_goes_on(site: Site) -> None:
    with running(site):
        with closing(Daemon(site)) as second:
            assert second.end() == 1
            (line,) = second.lines
            assert f"error server.listen: 127.0.0.1:{site.port}: cannot listen on TCP: Address already in use" in line
        assert site.ask() == ["192.0.2.9"]


def test_broken_configuration_at_start_is_lines_and_1(site: Site) -> None:
    site.write(static="192.0.2.900", broken=True)
    with closing(Daemon(site)) as daemon:
        assert daemon.end() == 1
    assert [line.split(" ", 1)[1].split(":")[0] for line in daemon.lines if str(site.config) in line] == [
        f"error {site.config}",
        f"error {site.config}",
    ]
    assert daemon.lines[-1].endswith("error 2 problems; nothing is served")
    assert "Traceback" not in "".join(daemon.lines)


@pytest.mark.parametrize(
    "text", ["server: {listen: 5}", "server: [", "\t", "server: {listn: ['127.0.0.1:53']}", "server: {user: no-such-user}"]
)
def test_broken_server_section_is_one_line_and_1(site: Site, text: str) -> None:
    # a port of its own: where nothing is listed, 5300 counts, where somebody's `make run` may listen
    site.config.write_text(text.replace("{user:", f"{{listen: {site.listen}, http: off, control: off, user:") + "\n")
    with closing(Daemon(site)) as daemon:
        assert daemon.end() == 1
    assert len(daemon.lines) == 1
    assert "geodns.yaml:1" in daemon.lines[0] or "server.user: no user" in daemon.lines[0]


def test_no_configuration_is_one_line_and_1(site: Site) -> None:
    site.config.unlink()
    with closing(Daemon(site)) as daemon:
        assert daemon.end() == 1
    (line,) = daemon.lines
    assert str(site.config) in line


def test_unusable_database_at_start_is_one_line_that_names_it(site: Site) -> None:
    (site.folder / "world.mmdb").write_bytes(b"not a database")
    with closing(Daemon(site)) as daemon:
        assert daemon.end() == 1
    assert sum("world.mmdb" in line for line in daemon.lines) == 1
    assert daemon.lines[-1].endswith("error 1 problem; nothing is served")


def test_A5_reload_of_a_broken_file_keeps_serving_and_says_why(site: Site) -> None:
    with running(site) as daemon:
        site.write(static="192.0.2.77", broken=True)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("error 1 problem; the running configuration is unchanged")
        assert "wwww" in daemon.lines[-2]
        assert f"error {site.config}:" in daemon.lines[-2]
        assert site.ask() == ["192.0.2.9"]
        site.write(static="192.0.2.78")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("published", 2)
        assert site.ask() == ["192.0.2.78"]
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0


def test_A5_reload_with_a_broken_database_keeps_the_map(site: Site) -> None:
    with running(site) as daemon:
        assert site.ask("www.example.com") == ["192.0.2.1"]
        whole = (site.folder / "world.mmdb").read_bytes()
        (site.folder / "world.mmdb").write_bytes(whole[: len(whole) // 2])
        daemon.send(signal.SIGHUP)
        daemon.wait_for("error 1 problem; the running configuration is unchanged")
        assert "world.mmdb" in daemon.lines[-2]
        assert site.ask("www.example.com") == ["192.0.2.1"]
        site.write_world(AMERICA)
        daemon.send(signal.SIGHUP)
        assert "maps compiled" in daemon.wait_for("published", 2)
        assert site.ask("www.example.com") == ["192.0.2.2"]


def test_second_start_finds_the_image(site: Site) -> None:
    with running(site) as daemon:
        assert "maps compiled" in daemon.wait_for("published")
    with running(site) as daemon:
        assert "maps from the image" in daemon.wait_for("published")
        assert site.ask("www.example.com") == ["192.0.2.1"]


def test_reload_tells_what_waits_for_a_restart(site: Site) -> None:
    with running(site) as daemon:
        site.listen = f'["127.0.0.1:{site.port}", "127.0.0.2:{site.port}"]'
        site.write()
        text = site.config.read_text().replace("server: {", "server: {nsid: ams1, limits: {tcp_clients: 7}, ")
        site.config.write_text(text)
        daemon.send(signal.SIGHUP)
        line = daemon.wait_for("waits for a restart")
        assert line.endswith("warning server.listen, server.nsid, server.limits: changed, but waits for a restart")
        daemon.wait_for("published", 2)
        assert site.ask() == ["192.0.2.9"]


@pytest.mark.parametrize("pure", ["", "1"], ids=["native where built", "pure"])
def test_powerdns_is_answered_on_the_backend_socket(site: Site, pure: str) -> None:
    """Both protocols on one socket, whatever engine answers by UDP; it is gone when the daemon is."""
    path = site.folder / "backend.sock"
    site.config.write_text(site.config.read_text().replace("server: {", f"server: {{backend: {path}, "))
    with running(site, environ={"GEODNS_PURE": pure}) as daemon:
        assert path.stat().st_mode & 0o777 == 0o660
        with closing(socket.socket(socket.AF_UNIX)) as pipe, pipe_connected(pipe, path) as lines:
            pipe.sendall(b"HELO\t5\nQ\tstatic.example.com\tIN\tANY\t-1\t127.0.0.1\t127.0.0.1\t127.0.0.1/32\n")
            assert lines.readline().startswith("OK\t")
            assert lines.readline().split("\t")[3:6] == ["static.example.com", "IN", "A"]
            assert lines.readline() == "END\n"
        with closing(socket.socket(socket.AF_UNIX)) as remote, pipe_connected(remote, path) as lines:
            asked = {
                "qname": "static.example.com.",
                "qtype": "ANY",
                "remote": "127.0.0.1",
                "local": "127.0.0.1",
                "zone-id": -1,
            }
            remote.sendall(json.dumps({"method": "lookup", "parameters": asked}).encode() + b"\n")
            assert json.loads(lines.readline())["result"][0]["content"] == "192.0.2.9"
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert not path.exists()


@contextmanager
def pipe_connected(connection: socket.socket, path: Path) -> Iterator[TextIO]:
    """What *connection*, to the socket at *path*, says line by line."""
    connection.settimeout(PATIENCE)
    connection.connect(str(path))
    with connection.makefile("r") as lines:
        yield lines


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_too_few_files_for_the_tcp_clients_is_told(site: Site) -> None:
    with running(site, command=["prlimit", "--nofile=256:256", sys.executable]) as daemon:
        line = daemon.wait_for("files may be open")
        assert line.endswith("warning only 256 files may be open, too few for 1000 TCP clients (ulimit -n)")


def test_A6_answers_never_stop_during_reloads(site: Site) -> None:
    """Each question is put once, with no second try, while the configuration changes under it."""
    with running(site) as daemon:
        answers: list[list[str]] = []
        done = threading.Event()

        def keep_asking() -> None:
            while not done.is_set():
                answers.append(site.ask())

        asking = threading.Thread(target=keep_asking)
        asking.start()
        for number in range(1, 4):
            site.write(static=f"192.0.2.{100 + number}")
            daemon.send(signal.SIGHUP)
            daemon.wait_for("published", number + 1)
        done.set()
        asking.join(PATIENCE)
        assert site.ask() == ["192.0.2.103"]
    distinct = list(dict.fromkeys(answer for (answer,) in answers))
    assert distinct == ["192.0.2.9", "192.0.2.101", "192.0.2.102", "192.0.2.103"][: len(distinct)], "never back, never mixed"
    assert len(answers) > 20


def test_reloads_that_pile_up_are_one(site: Site) -> None:
    with running(site) as daemon:
        for number in range(10):
            site.write(static=f"192.0.2.{200 + number}")
            daemon.send(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while site.ask() != ["192.0.2.209"]:
            assert time.monotonic() < deadline, "the last wish was lost"
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    assert 2 <= sum("published" in line for line in daemon.lines) <= 4, "one at a time, and one that waits"


def test_A7_sigterm_under_load_loses_nothing(site: Site) -> None:
    """All that was sent before the signal is answered, over UDP and TCP; what is sent later is refused, not swallowed."""
    count = 200  # fits into a receive buffer of the usual size
    with running(site) as daemon, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        asking.connect(("127.0.0.1", site.port))
        asking.settimeout(PATIENCE)
        query = dns.message.make_query("static.example.com", "A").to_wire()
        with socket.create_connection(("127.0.0.1", site.port)) as stream:
            stream.settimeout(PATIENCE)
            stream.sendall((len(query).to_bytes(2, "big") + query) * 20)
            for number in range(count):
                asking.send(number.to_bytes(2, "big") + query[2:])
            daemon.send(signal.SIGTERM)
            received = b""
            while octets := stream.recv(65536):
                received += octets
            size = int.from_bytes(received[:2], "big")
            assert len(received) == 20 * (size + 2)
        assert daemon.end() == 0
        assert {int.from_bytes(asking.recv(512)[:2], "big") for _ in range(count)} == set(range(count))
    assert any("stopping" in line for line in daemon.lines)


def test_sigint_is_a_quiet_end_too(site: Site) -> None:
    with running(site) as daemon:
        daemon.send(signal.SIGINT)
        assert daemon.end() == 0
    assert "Traceback" not in "".join(daemon.lines)


def test_queries_wait_for_the_first_snapshot_and_sigterm_does_not(site: Site) -> None:
    """The port is bound before anything is compiled; here the database never comes."""
    (site.folder / "world.mmdb").unlink()
    os.mkfifo(site.folder / "world.mmdb")
    with closing(Daemon(site)) as daemon, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.connect(("127.0.0.1", site.port))
        asking.settimeout(0.01)
        query = dns.message.make_query("static.example.com", "A").to_wire()
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline
            try:
                asking.send(query)
                asking.recv(512)
            except ConnectionRefusedError:
                continue  # not bound yet
            except TimeoutError:
                break  # bound: the query waits
        child = wait_for_child(daemon.process.pid)
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
        assert not Path(f"/proc/{child}").exists(), "the compiler ends with the daemon"


def wait_for_child(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := [int(child) for task in children.parent.parent.glob("*/children") for child in task.read_text().split()]:
            return found[0]
    raise AssertionError("no compiler was started")


def test_queries_sent_before_the_first_snapshot_are_answered(site: Site) -> None:
    with closing(Daemon(site)) as daemon, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.connect(("127.0.0.1", site.port))
        asking.settimeout(PATIENCE)
        query = dns.message.make_query("static.example.com", "A").to_wire()
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline
            asking.send(query)
            try:
                assert asking.recv(512)[:2] == query[:2]
                break
            except ConnectionRefusedError:
                continue
        daemon.wait_for("answering on")


@contextmanager
def service_manager(folder: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """A socket like systemd's: its path, and a function that waits for the next message."""
    path = folder / "notify.sock"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(path))
        listening.settimeout(PATIENCE)
        yield str(path), lambda: listening.recv(4096).decode().split("\n")


def test_service_manager_is_told(site: Site) -> None:
    with (
        service_manager(site.folder) as (path, next_message),
        closing(Daemon(site, environ={"NOTIFY_SOCKET": path})) as daemon,
    ):
        assert next_message() == ["READY=1"]
        assert site.ask() == ["192.0.2.9"]
        for broken in (False, True):
            site.write(broken=broken)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            daemon.send(signal.SIGHUP)
            reloading, when = next_message()
            assert reloading == "RELOADING=1"
            assert when.startswith("MONOTONIC_USEC=")
            assert before <= int(when.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert next_message() == ["READY=1"], "a reload that failed is over, too"
        daemon.send(signal.SIGTERM)
        assert next_message() == ["STOPPING=1"]
        assert daemon.end() == 0


def test_log_in_json_is_one_object_a_line(site: Site) -> None:
    text = site.config.read_text().replace("server: {", "server: {log: {format: json, level: warning}, ")
    site.config.write_text(text)
    with running_json(site) as daemon:
        site.write(broken=True)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the running configuration is unchanged")
        daemon.send(signal.SIGTERM)
        assert daemon.end() == 0
    said = [json.loads(line) for line in daemon.lines]
    assert {entry["level"] for entry in said} <= {"warning", "error"}
    assert said[-1]["message"] == "1 problem; the running configuration is unchanged"
    assert said[-1].keys() == {"time", "level", "source", "message"}


@contextmanager
def running_json(site: Site) -> Iterator[Daemon]:
    """A daemon whose log is too quiet to say that it answers."""
    with (
        service_manager(site.folder) as (path, next_message),
        closing(Daemon(site, environ={"NOTIFY_SOCKET": path})) as daemon,
    ):
        assert next_message() == ["READY=1"]
        yield daemon


def test_state_keeps_images_and_serials(site: Site) -> None:
    state = site.folder / "state"
    site.config.write_text(site.config.read_text().replace("server: {", f"server: {{state: {state}, "))
    with running(site) as daemon:
        daemon.send(signal.SIGHUP)
        daemon.wait_for("published", 2)
        assert not any("no state directory" in line for line in daemon.lines)
    assert len(list((state / "images").glob("maps-*.img"))) == 1
    assert json.loads((state / "serials.json").read_text()).keys() == {"example.com."}
    assert not (site.folder / "cache").exists()


def test_state_that_cannot_be_had_is_one_line_and_1(site: Site) -> None:
    (site.folder / "file").touch()
    site.config.write_text(site.config.read_text().replace("server: {", f"server: {{state: {site.folder}/file/state, "))
    with closing(Daemon(site)) as daemon:
        assert daemon.end() == 1
    (line,) = daemon.lines
    assert f"error server.state: {site.folder}/file/state: cannot be made" in line


def plain_interpreter() -> str:
    """An interpreter that any user may run, of our version, with our packages in reach; skips where there is none."""
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("no interpreter in /usr that another user could run")
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    there = subprocess.run(
        [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    if there.stdout.strip() != ours:
        pytest.skip(f"{found} is {there.stdout.strip() or 'broken'}, the tests run on {ours}")
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
def test_A8_privileges_are_dropped_after_binding() -> None:
    """Bound to a port below 1024 as root, then nobody for good: also the compiler, at the reload too."""
    import pydantic

    interpreter = plain_interpreter()
    packages = Path(pydantic.__file__).parents[1]
    if not all(folder.stat().st_mode & 0o005 == 0o005 for folder in (*packages.parents, packages, *(ROOT / "src").parents)):
        pytest.skip("another user could not read the packages")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        site = Site(folder)
        site.port = low_port()
        site.listen = f'["127.0.0.1:{site.port}"]'
        site.write()
        site.config.write_text(site.config.read_text().replace("server: {", "server: {user: nobody, "))
        (folder / "cache").mkdir()
        shutil.chown(folder / "cache", "nobody")
        environ = {"PYTHONPATH": f"{ROOT / 'src'}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
        with running(site, environ, [interpreter]) as daemon:
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
                if ":\t" in line
            )
            nobody = pwd.getpwnam("nobody")
            assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
            assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
            assert status["Groups"].split() == [str(group) for group in os.getgrouplist("nobody", nobody.pw_gid)]
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
            assert site.ask("www.example.com") == ["192.0.2.1"]
            daemon.send(signal.SIGHUP)
            daemon.wait_for("published", 2)
            (image,) = (folder / "cache" / "geodns").iterdir()
            assert image.stat().st_uid == nobody.pw_uid


def low_port() -> int:
    for port in range(1023, 600, -1):
        try:
            (one,) = bind_all([("127.0.0.1", port)])
        except StartError:
            continue
        one.close()
        return port
    pytest.skip("no port below 1024 is free")
