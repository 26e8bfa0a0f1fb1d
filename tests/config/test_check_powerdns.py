"""What is said of a pdns.conf: each setting alone against one that is right, and PowerDNS itself as the judge of errors."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.powerdns.pdns import PdnsEndedError, find_version, needs_pdns, run_pdns
from tests.scenes import write_scene

from geodns.cli import run
from geodns.config.check_powerdns import MOST_THREADS, check_powerdns
from geodns.config.load import load_server
from geodns.errors import Complaint, Severity

SOCKET = "/run/geodns/backend.sock"
TUNED = """\
cache-ttl=0
negquery-cache-ttl=5
edns-subnet-processing=yes
consistent-backends=no
disable-axfr=yes
"""
PIPE = TUNED + "zone-cache-refresh-interval=0\nlaunch=pipe\npipe-abi-version=5\n"
REMOTE = TUNED + f"launch=remote\nremote-connection-string=unix:path={SOCKET}\n"
NO_START = "PowerDNS does not start"
Check = Callable[[str], list[Complaint]]


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """A program called geodns; as a coprocess its banner is what it is told, which PowerDNS takes."""
    program = tmp_path / "geodns"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def pipe(shim: Path) -> str:
    """A pdns.conf that there is nothing to say about."""
    return PIPE + f"pipe-command={shim} pipe --socket {SOCKET}\n"


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """The complaints about a text."""

    def check(text: str) -> list[Complaint]:
        path = tmp_path / "pdns.conf"
        path.write_text(text)
        return check_powerdns(path)

    return check


def test_nothing_is_said_of_what_is_right(check: Check, pipe: str) -> None:
    assert check(pipe) == []
    assert check(REMOTE) == []
    assert check(pipe.replace("launch=pipe", "launch=bind,pipe\nbind-config=/etc/x")) == []


def test_a_file_that_is_not_there_is_one_complaint(tmp_path: Path) -> None:
    (complaint,) = check_powerdns(tmp_path / "none.conf")
    assert str(complaint) == f"{tmp_path}/none.conf: cannot be read: No such file or directory"


ERRORS = [  # settings after a right file with a pipe; what is said of the last of them
    (
        "zone-cache-refresh-interval=300",
        f"{NO_START}, for the pipe backend cannot list its zones; write zone-cache-refresh-inter",
    ),
    ("cache-ttl=soon", f"{NO_START}, for this must be a whole number"),
    ("distributor-threads=many", f"{NO_START}, for this must be a whole number"),
    ("pipe-timeout=x", f"{NO_START}, for this must be a whole number"),
    ("pipe-abi-version=x", f"{NO_START}, for this must be a whole number"),
    ("pipe-abi-version=6", "geodns answers SERVFAIL to all, for it knows no such version; write pipe-abi-version=5"),
    ("pipe-abi-version=0", "geodns answers SERVFAIL to all"),
    ("remote-dnssec=no", f"{NO_START}, for no remote backend in launch has such a setting"),
    ("bind-config=/etc/named.conf", f"{NO_START}, for launch names no bind backend"),
    ("pipe-two-timeout=2000", f"{NO_START}, for no pipe backend in launch has such a setting"),
    ("pipe-abi=5", f"{NO_START}, for no pipe backend in launch has such a setting"),
    ("pipe-command=", f"{NO_START}; write pipe-command=/opt/geodns/bin/geodns pipe --socket"),
    (
        "pipe-command=geodns pipe --socket /run/x",
        f"{NO_START}, for geodns is not looked for in PATH; write where it is, from / on",
    ),
    (
        "pipe-command=/nonexistent/geodns pipe --socket /run/x",
        f"{NO_START}, for there is no /nonexistent/geodns: No such file",
    ),
    ("pipe-command=/etc/passwd pipe --socket /run/x", f"{NO_START}, for /etc/passwd cannot be executed"),
    ("pipe-command=/etc pipe --socket /run/x", f"{NO_START}, for /etc cannot be executed"),
    ("pipe-command={shim} pipe --socket '/run/x'", "quotes reach the command as they stand"),
    ('pipe-command={shim} pipe "--socket" /run/x', "quotes reach the command as they stand"),
    (
        "pipe-command={shim} pipe  --socket /run/x",
        "each space ends an argument, so two in a row make an empty one; write one",
    ),
    ("pipe-command={shim} pipe\t--socket /run/x", "a TAB does not end an argument"),
    ("pipe-command={shim} pipe --socket $RUNTIME/x", "there is no shell that $ would mean something to"),
    ("pipe-command={shim} pipe --socket /run/x 2>/dev/null", "there is no shell that > would mean something to"),
    ("pipe-command={shim} pipe --socket run/x", "--socket run/x: the path must begin with /"),
    ("pipe-command={shim} pipe --config=geodns.yaml", "--config geodns.yaml: the path must begin with /"),
    ("pipe-command={shim} pipe", "geodns pipe takes one of --socket PATH and --config FILE"),
    ("pipe-command={shim} pipe --socket /run/x -c /etc/y", "geodns pipe takes one of --socket PATH and --config FILE"),
    ("pipe-command={shim} pipe --sokcet /run/x", "geodns pipe knows no --sokcet"),
    ("pipe-command={shim} pipe --socket /run/" + 104 * "x", "the path of a socket has at most 107 octets"),
]


@pytest.mark.parametrize(("setting", "said"), ERRORS)
def test_errors(check: Check, pipe: str, shim: Path, setting: str, said: str) -> None:
    complaints = check(pipe + setting.format(shim=shim) + "\n")
    assert all(complaint.severity is Severity.ERROR for complaint in complaints)
    lines = [complaint for complaint in complaints if said in complaint.text]
    assert [(one.place.line, one.path) for one in lines] == [(len(pipe.splitlines()) + 1, setting.split("=", 1)[0])], (
        complaints
    )


WARNINGS = [
    ("cache-ttl=20", "is 20: for so many seconds an empty answer to one client is given to all; write cache-ttl=0"),
    (
        "negquery-cache-ttl=60",
        "still missing, for all clients; also a whole zone is, once a shim has died; write negquery-cache-ttl=5",
    ),
    ("query-cache-ttl=61", "a record that was changed is answered as it was; write query-cache-ttl=20"),
    ("edns-subnet-processing=no", "every client is taken to be where its resolver is; write edns-subnet-processing=yes"),
    ("edns-subnet-processing=off", "every client is taken to be where its resolver is"),
    ("consistent-backends=yes", "geodns is asked twice for each query; write consistent-backends=no"),
    ("consistent-backends=false", "(only no and off are no to PowerDNS); write consistent-backends=no"),
    ("any-to-tcp=no", "also where the sender is forged; write any-to-tcp=yes"),
    ("disable-axfr=no", "geodns refuses zone transfers"),
    ("expand-alias=yes", "is resolved where PowerDNS is, not where the client is; write expand-alias=no"),
    ("chroot=/srv/pdns", "have to be inside"),
    ("distributor-threads=1", "holds up all queries over UDP; write distributor-threads=3"),
    (f"distributor-threads={MOST_THREADS + 1}", f"that makes {MOST_THREADS + 1} threads"),
    (f"receiver-threads={MOST_THREADS}", f"that makes {3 * MOST_THREADS} threads"),
    ("pipe-abi-version=1", "one client's answer is kept for all; write pipe-abi-version=5"),
    ("pipe-abi-version=2", "one client's answer is kept for all"),
    ("pipe-timeout=0", "0 ms is no limit: where geodns hangs, PowerDNS does too"),
    ("pipe-timeout=500", "500 ms may pass before geodns has begun"),
    ("pipe-command=/bin/cat", "is not `geodns pipe`"),
    ("pipe-command={shim} pipe --socket /tmp/geodns.sock", "as a service PowerDNS has a /tmp of its own"),
]


@pytest.mark.parametrize(("setting", "said"), WARNINGS)
def test_warnings(check: Check, pipe: str, shim: Path, setting: str, said: str) -> None:
    (complaint,) = check(pipe + setting.format(shim=shim) + "\n")
    assert (complaint.severity, complaint.path) == (Severity.WARNING, setting.split("=", 1)[0])
    assert complaint.place.line == len(pipe.splitlines()) + 1
    assert said in complaint.text


FINE = [
    "negquery-cache-ttl=0",
    "query-cache-ttl=0",
    "query-cache-ttl=60",
    "zone-cache-refresh-interval=0",
    "pipe-abi-version=3",
    "pipe-abi-version=4",
    "pipe-timeout=1000",
    "distributor-threads=2",
    "pipe-regex=^([^.]+[.])*example[.]com$",
    "pipe-command=/bin/sh -m geodns pipe --config /etc/geodns/geodns.yaml",
    "pipe-command={shim} pipe -c /etc/geodns/geodns.yaml",
    "pipe-command={shim} pipe --socket=/run/geodns/backend.sock",
]


@pytest.mark.parametrize("setting", FINE)
def test_what_is_fine_is_left_alone(check: Check, pipe: str, shim: Path, setting: str) -> None:
    assert check(pipe + setting.format(shim=shim) + "\n") == []


def test_defaults_of_powerdns_count_where_nothing_is_written(check: Check) -> None:
    complaints = check("launch=pipe\n")
    assert [(str(one.place).rpartition("/")[2], one.severity.value, one.path) for one in complaints] == [
        ("pdns.conf", "error", "zone-cache-refresh-interval"),
        ("pdns.conf", "warning", "cache-ttl"),
        ("pdns.conf", "warning", "negquery-cache-ttl"),
        ("pdns.conf", "warning", "edns-subnet-processing"),
        ("pdns.conf", "warning", "consistent-backends"),
        ("pdns.conf", "warning", "disable-axfr"),
        ("pdns.conf", "error", "pipe-command"),
        ("pdns.conf", "warning", "pipe-abi-version"),
    ]
    assert complaints[1].text.startswith("is 20 by default: ")


@pytest.mark.parametrize("launch", ["", "launch=\n", "launch=bind\n", "launch=pip\n"])
def test_without_a_backend_of_ours_that_is_what_is_said(check: Check, launch: str) -> None:
    (complaint,) = check(TUNED + launch)
    assert (complaint.severity, complaint.path) == (Severity.ERROR, "launch")
    assert "geodns is never asked" in complaint.text


REMOTES = [
    (
        "remote-connection-string=",
        "error",
        "is nothing: geodns is reached on its unix socket alone; write remote-connection-string=un",
    ),
    ("remote-connection-string=http:url=http://127.0.0.1:8053/dns", "error", "on its unix socket alone"),
    ("remote-connection-string=pipe:command=/usr/bin/x", "error", "on its unix socket alone"),
    ("remote-connection-string=unix:timeout=2000", "error", "it names no path that begins with /"),
    ("remote-connection-string=unix:path=geodns.sock", "error", "it names no path that begins with /"),
    ("remote-connection-string=unix:path=/run/x,timeout=soon", "error", "soon is not a number of milliseconds"),
    ("remote-connection-string=unix:path=/run/x,timeout=0", "warning", "0 ms is no limit"),
    ("remote-connection-string=unix:path=/run/x,timeout=100", "warning", "100 ms may pass"),
    ("remote-connection-string=unix:path=/var/tmp/x", "warning", "as a service PowerDNS has a /tmp of its own"),
]


@pytest.mark.parametrize(("setting", "severity", "said"), REMOTES)
def test_remote(check: Check, setting: str, severity: str, said: str) -> None:
    (complaint,) = check(f"{REMOTE}{setting}\n")
    assert (complaint.severity.value, complaint.path) == (severity, "remote-connection-string")
    assert said in complaint.text


def test_each_instance_of_a_backend_is_looked_at(check: Check, shim: Path) -> None:
    text = PIPE.replace("launch=pipe\npipe-abi-version=5", "launch=pipe:one,pipe:two\npipe-one-abi-version=5")
    complaints = check(text + f"pipe-one-command={shim} pipe --socket {SOCKET}\npipe-two-timeout=0\n")
    assert [(one.path, one.severity.value) for one in complaints] == [
        ("pipe-two-command", "error"),
        ("pipe-two-abi-version", "warning"),
        ("pipe-two-timeout", "warning"),
    ]


def test_settings_that_are_far_apart_are_told_where_they_stand(tmp_path: Path, pipe: str) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.conf").write_text("# a package's\nlaunch+=bind\ncache-ttl=60\n")
    path = tmp_path / "pdns.conf"
    path.write_text(f"include-dir={tmp_path}/more\n{pipe}")
    assert [str(one.place) for one in check_powerdns(path)] == [f"{tmp_path}/more/x.conf:3"]


def test_paths_are_those_of_the_daemon(tmp_path: Path, pipe: str, shim: Path) -> None:
    config, path = tmp_path / "geodns.yaml", tmp_path / "pdns.conf"

    def told(server: str, text: str) -> list[str]:
        config.write_text(server)
        path.write_text(text)
        return [one.text.split(": ", 1)[1] for one in check_powerdns(path, config, load_server(config))]

    for text in (pipe, REMOTE):
        assert told(f"server: {{backend: {SOCKET}}}", text) == []
        assert told(f"server: {{backend: {{path: /run/geodns/../geodns{SOCKET[11:]}}}}}", text) == []
        assert told("server: {backend: /run/other.sock}", text) == [
            "the daemon's socket is /run/other.sock, as server.backend.path says"
        ]
        assert told("server: {}", text) == [f"the daemon opens no such socket; write server.backend: {SOCKET} in {config}"]
    own = pipe + f"pipe-command={shim} pipe --config "
    assert told("server: {}", f"{own}{config}\n") == []
    assert told("server: {}", f"{own}/etc/geodns/other.yaml\n") == [
        f"--config /etc/geodns/other.yaml is not the configuration that is checked, {config}"
    ]


def test_a_socket_as_command_is_an_error(check: Check, pipe: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        (complaint,) = check(f"{pipe}pipe-command={tmp_path}/s\n")
    assert f"write geodns pipe --socket {tmp_path}/s" in complaint.text


SCHEMA = """
CREATE TABLE domains (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE records (domain_id INTEGER, type TEXT, disabled BOOLEAN);
CREATE TABLE cryptokeys (domain_id INTEGER, active BOOLEAN);
CREATE TABLE domainmetadata (domain_id INTEGER, kind TEXT, content TEXT);
INSERT INTO domains VALUES (1, 'wide.example'), (2, 'narrow.example'), (3, 'own.example'), (4, 'idle.example');
INSERT INTO cryptokeys VALUES (1, 1), (2, 1), (3, 1), (4, 0);
INSERT INTO domainmetadata VALUES (2, 'NSEC3NARROW', '1'), (1, 'NSEC3PARAM', '1 0 0 -');
INSERT INTO records VALUES (3, 'SOA', 0), (1, 'SOA', 1);
"""


def test_zones_with_keys_need_narrow_nsec3(check: Check, pipe: str, tmp_path: Path) -> None:
    database = tmp_path / "a b?.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.executescript(SCHEMA)
    connection.close()
    text = pipe.replace("launch=pipe", f"launch=gsqlite3,pipe\ngsqlite3-database={database}\ngsqlite3-dnssec=")
    (complaint,) = check(text.replace("gsqlite3-dnssec=", "gsqlite3-dnssec=yes"))
    assert (complaint.severity, complaint.path) == (Severity.ERROR, "gsqlite3-database")
    assert "wide.example has keys without narrow NSEC3" in complaint.text
    assert "pdnsutil set-nsec3 wide.example '1 0 0 -' narrow" in complaint.text
    assert check(text.replace("gsqlite3-dnssec=", "gsqlite3-dnssec=no")) == []
    database.unlink()
    (complaint,) = check(text.replace("gsqlite3-dnssec=", "gsqlite3-dnssec=yes"))
    assert complaint.severity is Severity.WARNING
    assert "cannot be looked into (unable to open database file)" in complaint.text
    assert not database.exists()


def test_signed_zones_need_the_remote_backends_own_switch(check: Check, tmp_path: Path) -> None:
    database = tmp_path / "keys.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.executescript(SCHEMA.replace("(1, 1), ", ""))
    connection.close()
    text = REMOTE.replace("launch=remote", f"launch=gsqlite3,remote\ngsqlite3-dnssec=yes\ngsqlite3-database={database}")
    (complaint,) = check(text)
    assert (complaint.severity, complaint.path) == (Severity.WARNING, "remote-dnssec")
    assert check(f"{text}remote-dnssec=yes\n") == []


def starts(folder: Path, text: str) -> bool:
    """Does PowerDNS start with *text*?"""
    try:
        with run_pdns(folder, text):
            return True
    except PdnsEndedError:
        return False


@needs_pdns("pipe")
@pytest.mark.parametrize("setting", [setting for setting, _ in ERRORS])
def test_powerdns_starts_unless_it_is_said_not_to(check: Check, tmp_path: Path, pipe: str, shim: Path, setting: str) -> None:
    text = pipe + setting.format(shim=shim) + "\n"
    said = any(NO_START in complaint.text for complaint in check(text))
    assert starts(tmp_path, text) is not said, f"PowerDNS {find_version()}"


@needs_pdns("pipe", "remote")
def test_powerdns_starts_over_every_warning(tmp_path: Path, pipe: str, shim: Path) -> None:
    settings = [setting.format(shim=shim) for setting, _ in WARNINGS if not setting.startswith("chroot")]
    assert starts(tmp_path, pipe + "\n".join([*settings, f"distributor-threads=2\npipe-command={shim} pipe\n"]))


def test_the_command_tells_both(tmp_path: Path, pipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_scene(tmp_path)
    path = tmp_path / "pdns.conf"
    arguments = ["check", "-c", str(config), "--powerdns", str(path)]

    def tell(text: str, *more: str) -> tuple[int, str]:
        path.write_text(text)
        status = run([*arguments, *more])
        return status, capsys.readouterr().out

    own = pipe.replace(f"--socket {SOCKET}", f"--config {config}")
    status, out = tell(own)
    assert (status, "pdns.conf" in out) == (0, False)
    status, out = tell(own + "cache-ttl=20\n")
    assert status == 0
    assert f"{path}:{len(own.splitlines()) + 1}: warning: cache-ttl: is 20: " in out
    assert tell(own + "cache-ttl=20\n", "--strict")[0] == 1
    status, out = tell(pipe)
    assert status == 1
    assert "PowerDNS cannot use it\n" in out
    assert "the daemon opens no such socket" in out
    assert out.splitlines()[-1].startswith("2 zones")
    status, out = tell(own + "cache-ttl=20\n", "--json")
    (told,) = [one for one in json.loads(out)["complaints"] if one["path"] == "cache-ttl"]
    assert told["severity"] == "warning"


def test_a_broken_configuration_hides_nothing_about_powerdns(
    tmp_path: Path, pipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "geodns.yaml").write_text("server: {listn: 5}\n")
    (tmp_path / "pdns.conf").write_text(pipe + "cache-ttl=20\n")
    assert run(["check", "-c", str(tmp_path / "geodns.yaml"), "--powerdns", str(tmp_path / "pdns.conf")]) == 1
    out = capsys.readouterr().out
    assert "unknown key" in out
    assert "cache-ttl: is 20" in out
