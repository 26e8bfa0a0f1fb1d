"""A daemon with a real PowerDNS in front, and clients who know what they must be told.

Knows how both are started on one backend socket, which names there are, and what each client should get. Knows nothing of
what goes wrong between the two.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
from tests.powerdns.pdns import Pdns, run_pdns
from tests.powerdns.transports import WAYS, Way
from tests.test_daemon import Daemon, Site

PATIENCE = 10.0  # seconds until something that was waited for has failed
GONE = 4.0  # seconds after which a client gives up a question
PAUSE = 0.002  # seconds between two questions of a client
HOSTS = 20  # names with an address of their own
WORLD = {
    "0.0.0.0/1": {"country": "US", "continent": "NA", "coordinates": [40, -75]},
    "128.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48, 2]},
}
CLIENTS = {"20.0.0.0": "192.0.2.1", "200.0.2.0": "192.0.2.11"}  # whose network gets which member
LABEL = "l" * 63
LONG = ".".join([LABEL, LABEL, LABEL, "l" * 49])  # with the zone's name 253 characters, 255 octets
DEEP = ".".join("d" * 100)
CONFIG = r"""
server:
  listen: ["127.0.0.1:{port}"]
  http: off
  control: {folder}/c
  state: {folder}/state
  backend: {{path: {folder}/b, mode: "0600"}}
geoip: {{database: world.mmdb}}
datacenters: {{nyc: {{coordinates: [40, -74]}}, ams: {{coordinates: [52, 5]}}}}
services:
  www: {{check: off, pools: {{nyc: [192.0.2.1], ams: [192.0.2.11]}}}}
zones:
  example.com:
    ns: [ns1.example.com.]
    file: example.com.zone
    records:
      ns1: {{A: 192.0.2.53}}
      "@": {{service: www}}
      www: {{service: www}}
      "*.apps": {{service: www}}
"""
ZONE = rf"""$TTL 60
$GENERATE 0-{HOSTS - 1} h$ A 192.0.2.1${{0,2}}
*.wild      A 192.0.2.90
_under.-dash A 192.0.2.91
a\.dot      A 192.0.2.92
back\\slash A 192.0.2.93
sp\032ace   A 192.0.2.94
at\064sign  A 192.0.2.95
star.*.in   A 192.0.2.96
semi\;colon A 192.0.2.97
\000nul\255 A 192.0.2.98
tab\009feed\010 A 192.0.2.99
{LONG}      A 192.0.2.80
{DEEP}      A 192.0.2.81
"""


class Question(NamedTuple):
    """What one client asks, and the one address that it must get."""

    name: str
    subnet: str
    address: str


class Reply(NamedTuple):
    """What became of a question: ``right``, an rcode, ``lost``, or what was wrong; and when (monotonic seconds)."""

    asked: float
    answered: float
    what: str
    question: Question


class Behind(Site):
    """A folder with the daemon's configuration, and the daemon. The path of its backend socket is short enough for one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.backend = folder / "b"
        self.daemon: Daemon | None = None
        (folder / "example.com.zone").write_text(ZONE)
        (folder / "state").mkdir()
        self.config.write_text(CONFIG.format(port=self.port, folder=folder))
        self.write_world(WORLD)

    def start(self) -> float:
        """Start `geodns serve`; returns when it said that it answers (monotonic seconds)."""
        self.daemon = Daemon(self)
        self.daemon.wait_for("answering on")
        return time.monotonic()

    def is_alive(self) -> bool:
        """Does the daemon run?"""
        return self.daemon is not None and self.daemon.process.poll() is None

    def send(self, number: int) -> None:
        """Send the daemon a signal."""
        assert self.daemon is not None
        self.daemon.send(number)

    def end(self, number: int) -> None:
        """End the daemon by a signal."""
        assert self.daemon is not None
        self.daemon.send(number)
        self.daemon.end()

    def replace(self) -> float:
        """Have the daemon replaced by another; returns when the old one was gone (monotonic seconds)."""
        old, self.daemon = self.daemon, Daemon(self, options=["--replace"])
        self.daemon.wait_for("answering on")
        assert old is not None
        assert old.end() == 0
        return time.monotonic()

    @contextmanager
    def pdns(self, way: Way, settings: Mapping[str, str] | None = None) -> Iterator[Pdns]:
        """A pdns_server over the backend socket."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        with run_pdns(folder, way.write(self.backend), settings) as pdns:
            yield pdns

    @contextmanager
    def fronts(self, *names: str, patience: int = 10) -> Iterator[dict[str, Front]]:
        """A pdns_server for each of these ways, all on the one socket, each with clients.

        *patience* is their pipe-timeout in seconds; long where nothing hangs, so that a busy machine is no fault.
        """
        with ExitStack() as stack:
            found = {}
            for name in names:
                way = WAYS[name.partition("/")[0]]
                settings = {"zone-cache-refresh-interval": "1"} if way.lists_zones else {}  # so that faults meet one
                if way.abi:
                    settings["pipe-timeout"] = str(1000 * patience)
                pdns = stack.enter_context(self.pdns(way, settings))
                found[name] = Front(pdns, stack.enter_context(Clients(pdns.port)))
            yield found


@contextmanager
def behind() -> Iterator[Behind]:
    """A daemon in a folder of its own, gone at last."""
    folder = Path(tempfile.mkdtemp(prefix="behind-"))
    site = Behind(folder)
    try:
        site.start()
        yield site
    finally:
        if site.daemon is not None:
            site.daemon.close()
        shutil.rmtree(folder)


def choose_question(number: int) -> Question:
    """The *number*-th question: all kinds of names in turn, so that PowerDNS searches zones, wildcards, missing names."""
    subnet = list(CLIENTS)[number % 2]
    match number // 2 % 5:
        case 0:
            return Question("www.example.com.", subnet, CLIENTS[subnet])
        case 1:
            return Question(f"n{number}.apps.example.com.", subnet, CLIENTS[subnet])
        case 2:
            return Question("example.com.", subnet, CLIENTS[subnet])
        case 3:
            return Question(f"a{number}.b.wild.example.com.", subnet, "192.0.2.90")
    host = number // 10 % HOSTS
    return Question(f"h{host}.example.com.", subnet, f"192.0.2.1{host:02}")


def put(question: Question, port: int, patience: float = GONE) -> Reply:
    """Ask once, by UDP; what came of it."""
    subnet = dns.edns.ECSOption(question.subnet, 24)
    query = dns.message.make_query(question.name, "A", use_edns=0, options=[subnet])
    asked = time.monotonic()
    try:
        reply = dns.query.udp(query, "127.0.0.1", patience, port)
    except (dns.exception.Timeout, OSError):
        return Reply(asked, time.monotonic(), "lost", question)
    found = [str(rdata) for rrset in reply.answer for rdata in rrset]
    rcode = dns.rcode.to_text(reply.rcode())
    what = rcode if rcode != "NOERROR" else "right" if found == [question.address] else f"wrong: {found}"
    return Reply(asked, time.monotonic(), what, question)


class Clients:
    """One client after the other, each with the next question, until told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.replies: list[Reply] = []
        self._stopped = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="clients")

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(PAUSE):
            reply = put(choose_question(number), self._port)
            number += 1
            with self._news:
                self.replies.append(reply)
                self._news.notify_all()

    def wait_for(self, what: str, count: int = 1, since: float = 0.0) -> Reply:
        """The *count*-th reply of a kind among those asked at *since* or later; fails after `PATIENCE`."""

        def find() -> list[Reply]:
            return [reply for reply in self.replies if reply.asked >= since and reply.what == what]

        with self._news:
            assert self._news.wait_for(lambda: len(find()) >= count, PATIENCE), (what, self.tell())
            return find()[count - 1]

    def tell(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(reply.what for reply in self.replies)

    def close(self) -> None:
        """Ask no more."""
        self._stopped.set()
        self._thread.join(2 * GONE)

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Front(NamedTuple):
    """A pdns_server and its clients."""

    pdns: Pdns
    clients: Clients


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Look every 10 ms whether it *holds*; fails after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def list_children(pid: int) -> list[int]:
    """The processes that *pid* has started and that still run."""
    tasks = Path(f"/proc/{pid}/task")
    found = [path.read_text() for path in tasks.glob("*/children")] if tasks.exists() else []
    return [int(word) for text in found for word in text.split() if is_running(int(word))]


def list_sockets(pid: int) -> set[str]:
    """The sockets that *pid* and the processes that it has started have open, as the kernel numbers them."""
    links = [path.readlink() for each in (pid, *list_children(pid)) for path in Path(f"/proc/{each}/fd").iterdir()]
    return {str(link) for link in links if link.name.startswith("socket:")}


def is_running(pid: int) -> bool:
    """Is there such a process, and no mere remains of one?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def connect(path: Path) -> socket.socket:
    """A connection to the backend socket that fails instead of waiting for ever."""
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(PATIENCE)
    opened.connect(str(path))
    return opened
