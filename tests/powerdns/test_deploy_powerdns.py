"""The files of deploy/powerdns do what they say: PowerDNS starts with them, answers by client, signs, keeps static zones."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from tests.powerdns.differences import DIFFERENCES
from tests.powerdns.pdns import PATIENCE, UTIL, Pdns, find_missing, find_port, find_version, needs_pdns, run_pdns
from tests.world import Record, write_world

from geodns.backend_only import Spot, find_spot
from geodns.config.check_powerdns import check_powerdns
from geodns.config.load import load_server
from geodns.errors import Severity

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "powerdns"
FILES = sorted(FOLDER.glob("*.conf"))
DROP_INS = sorted(FOLDER.glob("*.service.d/*.conf"))
SHIM, GEODNS = "/opt/geodns/bin/geodns", "/etc/geodns/geodns.yaml"
SOCKET, KEYS = "/run/geodns/backend.sock", "/var/lib/powerdns/keys.sqlite3"
WORLD: dict[str, Record] = {
    "20.0.0.0/8": {"country": "US", "continent": "NA", "coordinates": [40.0, -75.0]},
    "30.0.0.0/8": {"country": "NL", "continent": "EU", "coordinates": [52.0, 5.0]},
}
CONFIG = """
server:
  listen: ["127.0.0.1:{port}"]
  http: off
  state: {folder}/state
  control: {folder}/control.sock
  backend: {folder}/backend.sock
geoip: {{database: world.mmdb}}
datacenters: {{ams: {{coordinates: [52.37, 4.90]}}, nyc: {{coordinates: [40.71, -74.01]}}}}
services:
  www: {{check: off, pools: {{ams: [192.0.2.10], nyc: [198.51.100.10]}}}}
zones:
  example.com:
    ns: [ns1.example.com.]
    records:
      "@": {{service: www, MX: ["10 mail"]}}
      www: {{service: www}}
      ns1: {{A: 192.0.2.53}}
      mail: {{A: 192.0.2.25}}
      "*.apps": {{service: www}}
      a.b: {{A: 192.0.2.26}}
      sub: {{NS: [ns.sub]}}
      ns.sub: {{A: 192.0.2.54}}
  geo.example.net: {{ns: [ns1.example.com.], records: {{www: {{service: www}}}}}}
  example.org: {{ns: [ns1.example.com.], records: {{www: {{service: www}}, static: {{A: 192.0.2.99}}}}}}
"""
MASTER = """
$ORIGIN {zone}.
$TTL 300
@ SOA ns1.example.com. hostmaster 1 3600 900 1209600 60
@ NS ns1.example.com.
static A 192.0.2.88
"""
AMERICA, EUROPE = "20.1.2.0/24", "30.1.2.0/24"
FROM_AMERICA, FROM_EUROPE = ["198.51.100.10"], ["192.0.2.10"]


@dataclass(frozen=True)
class Site:
    """A folder with everything that the paths in the files are to be replaced by."""

    folder: Path

    def read(self, name: str) -> str:
        """The file *name*, with the paths of this folder."""
        text = (FOLDER / name).read_text()
        program = Path(sys.executable).with_name("geodns")
        for path, mine in {
            SHIM: program,
            GEODNS: self.folder / "geodns.yaml",
            SOCKET: self.folder / "backend.sock",
            KEYS: self.folder / "keys.sqlite3",
            "/etc/powerdns": self.folder,
        }.items():
            text = text.replace(path, str(mine))
        return text

    @contextmanager
    def run(self, name: str) -> Iterator[Pdns]:
        """PowerDNS with the file *name*, in a folder of its own."""
        folder = self.folder / name.removesuffix(".conf")
        folder.mkdir(exist_ok=True)
        with run_pdns(folder, self.read(name)) as pdns:
            yield pdns


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A daemon that serves CONFIG, and its folder."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "world.mmdb").write_bytes(write_world(WORLD))
    config = folder / "geodns.yaml"
    config.write_text(CONFIG.format(port=find_port(), folder=folder))
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen([sys.executable, "-m", "geodns", "serve", "-c", str(config)], stdout=log, stderr=log)
    try:
        wait_until(lambda: b"answering on" in (folder / "log").read_bytes() or daemon.poll() is not None)
        assert daemon.poll() is None, (folder / "log").read_text()
        yield Site(folder)
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)


def wait_until(holds: Callable[[], bool]) -> None:
    """Look until *holds* does, for a minute."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def ask(pdns: Pdns, name: str, rtype: str = "A", client: str | None = None, dnssec: bool = False) -> dns.message.Message:
    options = [dns.edns.ECSOption.from_text(client)] if client else []
    query = dns.message.make_query(name, rtype, use_edns=0, want_dnssec=dnssec, options=options)
    return pdns.ask(query)


def addresses(reply: dns.message.Message) -> list[str]:
    return sorted(str(record) for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A for record in rrset)


def scope(reply: dns.message.Message) -> int:
    (option,) = [one for one in reply.options if isinstance(one, dns.edns.ECSOption)]
    return int(option.scopelen)


def expect_geography(pdns: Pdns, name: str = "www.example.com") -> None:
    """Each client its own, again and again, with a scope that keeps them apart."""
    for _ in range(3):
        for client, wanted in ((AMERICA, FROM_AMERICA), (EUROPE, FROM_EUROPE)):
            reply = ask(pdns, name, client=client)
            assert (reply.rcode(), addresses(reply)) == (dns.rcode.NOERROR, wanted)
            assert reply.flags & dns.flags.AA
            assert 1 <= scope(reply) <= 8


def expect_statics(pdns: Pdns) -> None:
    assert addresses(ask(pdns, "mail.example.com")) == ["192.0.2.25"]
    assert ask(pdns, "nope.example.com").rcode() == dns.rcode.NXDOMAIN
    assert (ask(pdns, "b.example.com").rcode(), ask(pdns, "b.example.com").answer) == (dns.rcode.NOERROR, [])
    assert ask(pdns, "www.example.invalid").rcode() == dns.rcode.REFUSED
    referral = ask(pdns, "x.sub.example.com")
    assert [rrset.to_text() for rrset in referral.authority] == ["sub.example.com. 300 IN NS ns.sub.example.com."]


@needs_pdns("pipe")
def test_pipe_shim(site: Site) -> None:
    with site.run("pipe-shim.conf") as pdns:
        expect_geography(pdns)
        expect_statics(pdns)
        expect_geography(pdns, "any.apps.example.com")


@needs_pdns("remote")
def test_remote_unix(site: Site) -> None:
    with site.run("remote-unix.conf") as pdns:
        expect_geography(pdns)
        expect_statics(pdns)
        expect_geography(pdns, "example.com")


@needs_pdns("remote")
def test_remote_takes_a_new_zone_when_told(site: Site) -> None:
    """As the guide says: not by purge, by rediscover."""
    config = site.folder / "geodns.yaml"
    with site.run("remote-unix.conf") as pdns:
        config.write_text(config.read_text() + "  new.test: {ns: [ns1.example.com.], records: {www: {service: www}}}\n")
        subprocess.run([sys.executable, "-m", "geodns", "reload", "-c", str(config)], check=True, capture_output=True)
        for control, wanted in ((None, dns.rcode.REFUSED), ("purge", dns.rcode.REFUSED), ("rediscover", dns.rcode.NOERROR)):
            if control is not None:
                pdns.control(control)
            assert ask(pdns, "www.new.test").rcode() == wanted, control


@needs_pdns("pipe")
def test_pipe_self_contained(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon but the one that the shims start, with all in the folders that the drop-in gives the service."""
    for name in ("run", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    config = CONFIG.format(port=53, folder=tmp_path).replace(f"  state: {tmp_path}/state\n", "")
    (tmp_path / "geodns.yaml").write_text(config.replace(f"  control: {tmp_path}/control.sock\n", ""))
    shutil.copy(site.folder / "world.mmdb", tmp_path)
    own = Site(tmp_path)
    try:
        with own.run("pipe-self-contained.conf") as pdns:
            wait_until(lambda: ask(pdns, "www.example.com").rcode() == dns.rcode.NOERROR)
            expect_geography(pdns)
            expect_statics(pdns)
            assert (tmp_path / "state" / "images").is_dir()
    finally:
        end_daemon(find_spot(str(tmp_path / "geodns.yaml")))


def end_daemon(spot: Spot) -> None:
    """End whoever listens at *spot*, as who started it would after 30 seconds; returns when its lock is free."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(spot.socket)
        pid, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    assert pid > 1
    assert uid == os.getuid()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not lock_is_held(spot.lock))


def lock_is_held(lock: str) -> bool:
    with Path(lock).open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@needs_pdns("pipe", "bind")
def test_beside_bind(site: Site) -> None:
    """Whole zones, a zone below, an overlay."""
    below = "geo NS ns1.example.com.\ncdn CNAME www.geo\nelsewhere CNAME www.example.com.\n"
    (site.folder / "example.net").write_text(MASTER.format(zone="example.net") + below)
    (site.folder / "example.org").write_text(MASTER.format(zone="example.org"))
    zones = [f'zone "{zone}" {{ type native; file "{site.folder}/{zone}"; }};' for zone in ("example.net", "example.org")]
    (site.folder / "named.conf").write_text("\n".join(zones))
    with site.run("beside-bind.conf") as pdns:
        for name in (
            "www.example.com",
            "cdn.example.net",
            "elsewhere.example.net",
            "www.geo.example.net",
            "www.example.org",
        ):
            expect_geography(pdns, name)
        expect_statics(pdns)
        assert addresses(ask(pdns, "static.example.net")) == addresses(ask(pdns, "static.example.org")) == ["192.0.2.88"]
        for name in ("nope.example.net", "nope.geo.example.net", "nope.example.org"):
            assert ask(pdns, name).rcode() == dns.rcode.NXDOMAIN


def commands(site: Site, name: str) -> list[str]:
    """What the head of the file *name* has the operator type, with the paths of *site*; without comments in parentheses."""
    lines = re.findall(r"^#   ((?:sqlite3|pdnsutil|chown|geodns) .*)$", site.read(name), re.MULTILINE)
    return [line.partition("      (")[0] for line in lines]


@needs_pdns("pipe", "gsqlite3")
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed (as root: make system-tools)")
def test_dnssec(site: Site) -> None:
    """The commands of the file's head, one by one; then everything that is answered validates against the key."""
    typed = commands(site, "dnssec.conf")
    assert [line.split()[0] for line in typed] == [
        "sqlite3",
        "chown",
        "sqlite3",
        "pdnsutil",
        "pdnsutil",
        "geodns",
        "pdnsutil",
    ]
    (site.folder / "pdns.conf").write_text(site.read("dnssec.conf"))
    geodns = Path(sys.executable).with_name("geodns")
    for line in typed:
        if line.startswith("chown"):  # not everybody may, or has that user
            continue
        whole = re.sub("^geodns", str(geodns), line).replace(UTIL, f"{UTIL} --config-dir={site.folder}")
        done = subprocess.run(["sh", "-c", whole], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{whole}: {done.stdout}{done.stderr}"
    assert "NARROW" in done.stdout
    with site.run("dnssec.conf") as pdns:
        expect_signed(pdns)
        expect_geography(pdns)
    if not find_missing("remote"):
        (site.folder / "signed-remote").mkdir()
        with run_pdns(site.folder / "signed-remote", over_remote(site.read("dnssec.conf"), site)) as pdns:
            expect_signed(pdns)
    expect_wide_denial_to_be_fatal(site)


def over_remote(text: str, site: Site) -> str:
    """The same with the remote backend, as the guide says."""
    rest = re.sub(r"^(pipe-.*|zone-cache-.*)\n", "", text, flags=re.MULTILINE).replace("launch=gsqlite3,pipe", "")
    return (
        f"{rest}launch=gsqlite3,remote\nremote-connection-string=unix:path={site.folder}/backend.sock\nremote-dnssec=yes\n"
    )


def expect_wide_denial_to_be_fatal(site: Site) -> None:
    """What `geodns check --powerdns` calls an error is one: PowerDNS below 5.0 does not survive the first question."""
    with closing(sqlite3.connect(site.folder / "keys.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM domainmetadata WHERE kind = 'NSEC3NARROW'")
    (complaint,) = [one for one in check_powerdns(site.folder / "pdns.conf") if one.severity is Severity.ERROR]
    assert "example.com has keys without narrow NSEC3" in complaint.text
    if find_version() >= (5, 0):
        return
    with site.run("dnssec.conf") as pdns:
        with pytest.raises(dns.exception.Timeout):
            dns.query.udp(dns.message.make_query("nope.example.com", "A", want_dnssec=True), "127.0.0.1", 2, pdns.port)
        wait_until(lambda: not pdns.is_alive())
        assert pdns.process.returncode == -signal.SIGABRT


def expect_signed(pdns: Pdns) -> None:
    apex = dns.name.from_text("example.com.")
    (keys,) = [
        rrset for rrset in ask(pdns, "example.com", "DNSKEY", dnssec=True).answer if rrset.rdtype == dns.rdatatype.DNSKEY
    ]
    for name, rtype, client in (
        ("example.com", "DNSKEY", None),
        ("www.example.com", "A", AMERICA),
        ("www.example.com", "A", EUROPE),
        ("www.example.com", "TXT", EUROPE),
        ("x.apps.example.com", "A", AMERICA),
        ("nope.example.com", "A", None),
        ("b.example.com", "A", None),
    ):
        reply = ask(pdns, name, rtype, client, dnssec=True)
        for section in (reply.answer, reply.authority):
            validate(section, apex, keys)
        if name != "nope.example.com":
            assert reply.rcode() == dns.rcode.NOERROR
        else:
            assert reply.rcode() == dns.rcode.NXDOMAIN
            assert sum(rrset.rdtype == dns.rdatatype.NSEC3 for rrset in reply.authority) == 3, "RFC 5155 7.2.2"
    referral = ask(pdns, "x.sub.example.com", dnssec=True)
    signed = [rrset.covers for rrset in referral.authority if rrset.rdtype == dns.rdatatype.RRSIG]
    assert signed == [dns.rdatatype.NSEC3], "RFC 4035 2.2: delegations and glue are not signed"


def validate(section: list[dns.rrset.RRset], apex: dns.name.Name, keys: dns.rrset.RRset) -> None:
    """Every rrset of *section* has a signature that is right; there is at least one."""
    plain = [rrset for rrset in section if rrset.rdtype != dns.rdatatype.RRSIG]
    for rrset in plain:
        (signatures,) = [one for one in section if one.covers == rrset.rdtype and one.name == rrset.name]
        dns.dnssec.validate(rrset, signatures, {apex: keys})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_said_of_them(path: Path, tmp_path: Path) -> None:
    """As they stand, beside a configuration that has what their heads ask for; but for what is not installed here."""
    (tmp_path / "geodns.yaml").write_text(f'server: {{backend: {{path: {SOCKET}, group: pdns, mode: "0660"}}}}')
    text = (
        path.read_text()
        .replace(SHIM, str(Path(sys.executable).with_name("geodns")))
        .replace(GEODNS, f"{tmp_path}/geodns.yaml")
    )
    (tmp_path / "pdns.conf").write_text(text)
    complaints = check_powerdns(tmp_path / "pdns.conf", tmp_path / "geodns.yaml", load_server(tmp_path / "geodns.yaml"))
    assert [one.path for one in complaints] == (
        ["gsqlite3-database"] if path.stem == "dnssec" and not Path(KEYS).exists() else []
    )


@pytest.mark.parametrize("path", [*FILES, *DROP_INS], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_line_has_its_reason(path: Path) -> None:
    """A comment stands above each setting, or above the group that it opens."""
    before = ""
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            assert before and not before.startswith("["), f"{path.name}: {line}"
        before = line


def test_what_they_share_is_the_same() -> None:
    """One reading of each setting: where two files have it, it has the same value but for what a backend is made of."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        for name, value in re.findall(r"^([a-z0-9-]+)=(.*)$", path.read_text(), re.MULTILINE):
            found.setdefault(name, set()).add(value)
    several = {name for name, values in found.items() if len(values) > 1}
    assert several == {"launch", "pipe-command", "zone-cache-refresh-interval"}


def test_the_guide_has_every_setting_every_file_and_every_difference() -> None:
    guide = (ROOT / "docs" / "guide" / "powerdns.md").read_text()
    explained = dict(re.findall(r"^\| `([a-z0-9-]+)=([^`]*)`", guide, re.MULTILINE))
    own = re.compile("launch|(pipe-command|remote-|bind-|gsqlite3-|zone-cache)")
    for path in FILES:
        for name, value in re.findall(r"^([a-z0-9-]+)=(.*)$", path.read_text(), re.MULTILINE):
            assert own.match(name) or explained.get(name) == value, f"{path.name}: {name}={value}"
    named = set(re.findall(r"deploy/powerdns/(\S+\.conf)", guide))
    assert named == {str(path.relative_to(FOLDER)) for path in (*FILES, *DROP_INS)}
    rows = [f"| {row.title} | {row.reason} |" for row in DIFFERENCES]
    assert [row for row in rows if row not in guide.splitlines()] == []


def test_the_drop_in_gives_back_the_call_that_the_unit_takes() -> None:
    """chown(2) is among @privileged; systemd takes the last word for each call."""
    unit = (ROOT / "deploy" / "geodns.service").read_text()
    drop_in = (FOLDER / "geodns.service.d" / "powerdns.conf").read_text()
    assert "SystemCallFilter=~@privileged\n" in unit
    assert "SystemCallFilter=@chown\n" in drop_in
    assert "SupplementaryGroups=pdns\n" in drop_in


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("path", DROP_INS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_drop_ins_are_understood(path: Path, tmp_path: Path) -> None:
    """systemd has nothing to say of the unit with the drop-in, and would with a mistake in it."""
    unit = tmp_path / path.parent.name.removesuffix(".d")
    folder = tmp_path / path.parent.name
    folder.mkdir()
    unit.write_text(f"[Service]\nType=notify\nExecStart={shutil.which('true')}\n")

    def verify(text: str) -> str:
        (folder / path.name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
        )
        return "\n".join(line for line in done.stderr.splitlines() if str(folder) in line or unit.name in line)

    assert verify(path.read_text()) == ""
    assert "Unknown key" in verify(path.read_text() + "\n[Service]\nStateDirectry=x\n")
