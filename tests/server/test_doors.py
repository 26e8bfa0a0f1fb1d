"""Binding of HTTP and of the control socket, with real sockets and files."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from geodns.errors import StartError
from geodns.server.doors import bind_control, bind_doors, bind_http, remove_socket
from geodns.server.listen import LONGEST

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def taken() -> Iterator[int]:
    """A TCP port that is somebody else's."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True


def test_only_the_owner_may_connect_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(bind_control(path)) as bound:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert connects(path) and not bound.getblocking()
        assert os.umask(0) == 0, "the umask is put back"
    finally:
        os.umask(before)


def test_what_a_dead_daemon_left_is_replaced(path: Path) -> None:
    """A daemon that is killed cannot take its socket file away."""
    program = (
        f"import os\nfrom pathlib import Path\nfrom geodns.server.doors import bind_control\n"
        f"kept = bind_control(Path({str(path)!r}))\nos.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert path.is_socket() and not connects(path)
    with closing(bind_control(path)):
        assert connects(path)


def test_a_living_daemon_is_not_replaced(path: Path) -> None:
    with closing(bind_control(path)):
        with pytest.raises(StartError, match=r"^server\.control: .*another daemon listens there"):
            bind_control(path)
        assert connects(path)


def test_a_living_daemon_that_accepts_nothing_is_not_replaced(path: Path) -> None:
    with closing(bind_control(path)):
        waiting = []
        try:
            while True:
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                waiting.append(client)
                client.connect(str(path))
        except BlockingIOError:  # its queue is full
            with pytest.raises(StartError, match="another daemon listens there"):
                bind_control(path)
        finally:
            for client in waiting:
                client.close()


@pytest.mark.parametrize("make", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(path: Path, make: str) -> None:
    if make == "file":
        path.write_text("precious")
    elif make == "folder":
        path.mkdir()
    else:
        path.symlink_to("/nowhere")
    with pytest.raises(StartError, match="is there, and is no socket"):
        bind_control(path)
    assert path.is_symlink() or path.exists()


def test_a_path_too_long_says_how_long_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=rf"longer than the {LONGEST} octets"):
        bind_control(tmp_path / ("x" * 120))


def test_a_missing_folder_is_made_only_where_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    with pytest.raises(StartError, match="cannot listen: No such file or directory"):
        bind_control(path)
    bind_control(path, make=True).close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


@as_root
def test_socket_and_folder_are_given_to_the_user(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    nobody = pwd.getpwnam("nobody")
    bind_control(path, "nobody", make=True).close()
    assert [(found.stat().st_uid, found.stat().st_gid) for found in (path, path.parent)] == [
        (nobody.pw_uid, nobody.pw_gid)
    ] * 2
    bind_control(path, "no-such-user").close()  # drop_privileges says what is wrong with that
    remove_socket(path)
    assert not path.exists()
    remove_socket(path)


def test_http_says_which_key_is_meant(taken: int) -> None:
    with pytest.raises(
        StartError, match=rf"^server\.http: 127\.0\.0\.1:{taken}: cannot listen on TCP: Address already in use"
    ):
        bind_http("127.0.0.1", taken)
    with closing(bind_http("127.0.0.1", 0)) as bound:
        socket.create_connection(bound.getsockname()).close()


def test_what_was_written_must_be_had(path: Path, taken: int) -> None:
    path.write_text("precious")
    with pytest.raises(StartError, match=r"^server\.http: "):
        bind_doors(("127.0.0.1", taken), None, None, {"http"})
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(StartError, match=r"^server\.control: "):
        bind_doors(("127.0.0.1", port), path, None, {"control"})
    bind_http("127.0.0.1", port).close()  # nothing is left bound


def test_what_is_only_a_default_is_a_warning(path: Path, taken: int) -> None:
    path.write_text("precious")
    with closing(bind_doors(("127.0.0.1", taken), path, None, ())) as doors:
        assert (doors.http, doors.control) == (None, None)
        assert [line.partition(":")[0] for line in doors.warnings] == ["server.http", "server.control"]


def test_both_doors(path: Path) -> None:
    with closing(bind_doors(("127.0.0.1", 0), path, None, ())) as doors:
        assert doors.http is not None and doors.control is not None and not doors.warnings
        socket.create_connection(doors.http.getsockname()).close()
        assert connects(path)
    assert not connects(path)
    with closing(bind_doors(None, None, None, {"http", "control"})) as doors:
        assert (doors.http, doors.control, doors.warnings) == (None, None, ())
