"""Binding and dropping privileges, with real sockets on loopback and real socket files."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from geodns.errors import StartError
from geodns.server.listen import LONGEST, Bound, bind_all, bind_backend, drop_privileges, raise_file_limit


def speaks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not speaks_ipv6(), reason="this machine has no ::1")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")


@pytest.fixture
def bound() -> Iterator[Bound]:
    (one,) = bind_all([("127.0.0.1", 0)])
    yield one
    one.close()


def test_udp_and_tcp_share_a_port(bound: Bound) -> None:
    assert bound.port == bound.udp.getsockname()[1] == bound.tcp.getsockname()[1] > 0
    assert not bound.wildcard
    assert str(bound) == f"127.0.0.1:{bound.port}"


@needs_ipv6
def test_both_families_on_one_port() -> None:
    (six,) = bind_all([("::", 0)])
    with closing(six):
        (four,) = bind_all([("0.0.0.0", six.port)])  # fails unless the other one is v6 only
        four.close()
        assert six.wildcard
        assert four.wildcard
        assert str(six) == f"[::]:{six.port}"


def test_second_daemon_is_refused_in_one_line(bound: Bound) -> None:
    with pytest.raises(StartError) as caught:
        bind_all([("127.0.0.1", bound.port)])
    text = str(caught.value)
    assert text.startswith(
        f"server.listen: 127.0.0.1:{bound.port}: cannot listen on TCP: Address already in use (the port is taken"
    )
    assert "\n" not in text


def test_stranger_on_the_udp_port_is_noticed() -> None:
    """Even one that set SO_REUSEADDR, with which the kernel would let UDP sockets share a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", 0))
        with pytest.raises(StartError, match="cannot listen on UDP"):
            bind_all([stranger.getsockname()])


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", pytest.param("::1", marks=needs_ipv6)])
def group(request: pytest.FixtureRequest) -> Iterator[Bound]:
    (one,) = bind_all([(request.param, 0)], workers=4)
    yield one
    one.close()


def test_one_flow_is_spread_over_all_sockets_of_a_group(group: Bound) -> None:
    """By the kernel's own hash all 2,000 queries of one client would be in one of them."""
    assert len({one.getsockname() for one in group.group}) == 1
    address = "::1" if group.udp.family == socket.AF_INET6 else "127.0.0.1"
    counts = [0] * 4
    with socket.socket(group.udp.family, socket.SOCK_DGRAM) as sender:
        for _ in range(20):
            for _ in range(100):
                sender.sendto(b"?", (address, group.port))
            for number, one in enumerate(group.group):
                while take_one(one):
                    counts[number] += 1
    assert sum(counts) == 2000
    assert all(400 < count < 600 for count in counts), "five standard deviations from 500"


def take_one(bound: socket.socket) -> bool:
    try:
        bound.recv(100)
    except BlockingIOError:
        return False
    return True


def test_second_daemon_is_refused_by_a_group_too(group: Bound) -> None:
    with pytest.raises(StartError, match="taken"):
        bind_all([(group.address, group.port)], workers=4)
    with pytest.raises(StartError, match="taken"):
        bind_all([(group.address, group.port)])


def test_a_stranger_who_would_share_the_port_is_noticed() -> None:
    """Whoever is there with SO_REUSEPORT already would take a share of the queries."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        with pytest.raises(StartError, match="cannot listen on UDP"):
            bind_all([("127.0.0.1", stranger.getsockname()[1])], workers=4)


def test_a_group_that_cannot_be_had_leaves_nothing_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 10, hard))
    try:
        with pytest.raises(StartError, match=r"server\.workers: 127\.0\.0\.1, port [0-9]+: cannot open 100 sockets for UDP"):
            bind_all([("127.0.0.1", 0)], workers=100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_restart_is_not_kept_out_by_old_connections(bound: Bound) -> None:
    """Our side closes first, so the connection lingers in TIME_WAIT on our port."""
    with socket.create_connection(("127.0.0.1", bound.port)) as client:
        bound.tcp.setblocking(True)
        accepted, _ = bound.tcp.accept()
        accepted.close()
        assert client.recv(1) == b""
    bound.close()
    (again,) = bind_all([("127.0.0.1", bound.port)])
    again.close()


def test_nothing_stays_bound_after_a_failure(bound: Bound) -> None:
    (other,) = bind_all([("127.0.0.1", 0)])
    other.close()
    with pytest.raises(StartError):
        bind_all([("127.0.0.1", other.port), ("127.0.0.1", bound.port)])
    (free,) = bind_all([("127.0.0.1", other.port)])
    free.close()


def test_foreign_address_has_a_hint() -> None:
    with pytest.raises(StartError, match=r"192\.0\.2\.1:5300: .*this machine has no such address"):
        bind_all([("192.0.2.1", 5300)])


@as_root
def test_low_port_without_permission_has_a_hint() -> None:
    code = """
import os
from geodns.server.listen import bind_all
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
bind_all([("127.0.0.1", 1)])
"""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1:
        pytest.skip("this kernel lets everybody bind low ports")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "CAP_NET_BIND_SERVICE" in done.stderr


def test_unknown_user_is_one_line() -> None:
    with pytest.raises(StartError, match=r'^server\.user: no user "no-such-user" on this machine \(.*\)$'):
        drop_privileges("no-such-user")


def test_being_that_user_already_is_fine() -> None:
    drop_privileges(pwd.getpwuid(os.getuid()).pw_name)


@as_root
def test_drop_keeps_nothing() -> None:
    code = """
import os
from geodns.server.listen import drop_privileges
os.setgroups([0, 4])
drop_privileges("nobody")
print(os.getresuid(), os.getresgid(), os.getgroups(), os.environ["HOME"])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapPrm", "CapEff"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    nobody = pwd.getpwnam("nobody")
    uid, gid = (nobody.pw_uid,) * 3, (nobody.pw_gid,) * 3
    groups = os.getgrouplist("nobody", nobody.pw_gid)
    assert done.stdout.splitlines()[0] == f"{uid} {gid} {groups} {nobody.pw_dir}"
    assert done.stdout.splitlines()[1] == str(["0" * 16] * 2)


@as_root
def test_only_root_becomes_another() -> None:
    code = """
import os
from geodns.errors import StartError
from geodns.server.listen import drop_privileges
drop_privileges("nobody")
try:
    drop_privileges("daemon")
except StartError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("server.user: only root can become daemon")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backend.sock"


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o666])
def test_powerdnss_socket_has_its_mode_whatever_the_umask(path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        with closing(bind_backend(path, None, mode)) as bound:
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert connects(path) and not bound.getblocking()
        assert os.umask(0o077) == 0o077, "the umask is put back"
    finally:
        os.umask(before)


def test_powerdnss_socket_is_its_groups(path: Path) -> None:
    """One of our own groups needs no root."""
    group = grp.getgrgid(os.getgid()).gr_name if os.geteuid() else grp.getgrall()[-1].gr_name
    with closing(bind_backend(path, group, 0o660)):
        assert path.stat().st_gid == grp.getgrnam(group).gr_gid


@as_root
def test_powerdnss_socket_is_the_users_whom_we_become(path: Path) -> None:
    """Who else could hand its connections to a successor?"""
    nobody, group = pwd.getpwnam("nobody"), grp.getgrall()[-1]
    with closing(bind_backend(path, group.gr_name, 0o660, "nobody")):
        assert (path.stat().st_uid, path.stat().st_gid) == (nobody.pw_uid, group.gr_gid)
    with closing(bind_backend(path, None, 0o660, "no-such-user")):  # drop_privileges says what is wrong with that
        assert path.stat().st_uid == 0


def test_an_unknown_group_is_one_line_and_leaves_nothing(path: Path) -> None:
    with pytest.raises(StartError, match=r'^server\.backend\.group: no group "no-such-group" on this machine \(.*\)$'):
        bind_backend(path, "no-such-group", 0o660)
    assert not path.exists()


@as_root
def test_a_group_that_is_not_ours_to_give_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from geodns.errors import StartError
from geodns.server.listen import bind_backend
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
try:
    bind_backend(Path("backend.sock"), "root", 0o660)
except StartError as error:
    print(error, os.listdir())
"""
    tmp_path.chmod(0o777)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == (
        "server.backend.group: backend.sock cannot be given to root: start as root, or make our user a member of it []\n"
    )


def test_what_a_dead_daemon_left_is_replaced(path: Path) -> None:
    program = (
        f"import os\nfrom pathlib import Path\nfrom geodns.server.listen import bind_backend\n"
        f"kept = bind_backend(Path({str(path)!r}), None, 0o600)\nos.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert path.is_socket() and not connects(path)
    with closing(bind_backend(path, None, 0o600)):
        assert connects(path)


def test_a_living_daemons_socket_is_not_replaced(path: Path) -> None:
    with closing(bind_backend(path, None, 0o600)):
        with pytest.raises(StartError, match=r"^server\.backend: .*another daemon listens there"):
            bind_backend(path, None, 0o600)
        assert connects(path)


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(StartError, match=r"^server\.backend: .*is there, and is no socket"):
        bind_backend(path, None, 0o600)
    assert path.read_text() == "precious"


def test_paths_that_cannot_be_had_say_why(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=rf"^server\.backend: .*longer than the {LONGEST} octets"):
        bind_backend(tmp_path / ("x" * 120), None, 0o600)
    with pytest.raises(StartError, match=r"^server\.backend: .*cannot listen: No such file or directory$"):
        bind_backend(tmp_path / "run" / "backend.sock", None, 0o600)


def test_file_limit_is_the_most_allowed() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        assert raise_file_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
