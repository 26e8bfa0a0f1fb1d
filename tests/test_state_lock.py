"""One daemon for each state directory: who has the lock is told by pid, it goes with its process and passes on."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from geodns.errors import StartError
from geodns.state_lock import find_holder, inherit_lock, lock_state

HOLD = """
import sys
from pathlib import Path
from geodns.state_lock import lock_state
lock_state(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    command = [sys.executable, "-c", HOLD, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_one_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        assert find_holder(tmp_path) == process.pid
        with pytest.raises(StartError) as caught:
            lock_state(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}: in use by process {process.pid}: one geodns for each state directory "
            "(`geodns serve --replace` takes over from it)"
        )
        process.kill()  # as abruptly as can be
        process.wait()
        assert find_holder(tmp_path) is None
        os.close(lock_state(tmp_path))


def test_the_same_process_is_refused_too_and_may_come_again(tmp_path: Path) -> None:
    held = lock_state(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(StartError, match=f"process {os.getpid()}"):
        lock_state(tmp_path)
    assert not os.get_inheritable(held), "a child must not keep the directory locked"
    os.close(held)
    os.close(lock_state(tmp_path))


@pytest.mark.parametrize("left", [b"", b"999999999999\n", b"12x\n", b"\xff" * 500])
def test_what_is_left_in_the_file_is_nobodys_pid(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "lock").write_bytes(left)
    assert find_holder(tmp_path) is None
    held = lock_state(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    os.close(held)


def test_a_holder_that_did_not_sign_is_another_process(tmp_path: Path) -> None:
    with closing((tmp_path / "lock").open("w")) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert find_holder(tmp_path) is None
        with pytest.raises(StartError, match="in use by another process"):
            lock_state(tmp_path)


def test_a_directory_that_cannot_be_locked_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="lock: cannot be opened: No such file or directory"):
        lock_state(tmp_path / "none")
    (tmp_path / "lock").mkdir()
    with pytest.raises(StartError, match="lock: cannot be opened: Is a directory"):
        lock_state(tmp_path)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to("victim")
    with pytest.raises(StartError, match="cannot be opened"):
        lock_state(tmp_path)
    assert (tmp_path / "victim").read_text() == "precious"


def test_it_passes_on_with_the_descriptor(tmp_path: Path) -> None:
    """As by SCM_RIGHTS: a copy of the descriptor holds the same lock, also after the first is closed."""
    first = lock_state(tmp_path)
    second = os.dup(first)
    os.close(first)
    (tmp_path / "lock").write_text("1\n")
    assert inherit_lock(second, tmp_path)
    assert find_holder(tmp_path) == os.getpid()
    with pytest.raises(StartError):
        lock_state(tmp_path)
    os.close(second)
    assert find_holder(tmp_path) is None


def test_the_lock_of_another_directory_is_let_go(tmp_path: Path) -> None:
    """The new configuration has another state: the old one's lock is of no use."""
    for state in ("old", "new"):
        (tmp_path / state).mkdir()
    held = lock_state(tmp_path / "new")
    for wanted in (tmp_path / "new", tmp_path / "none", None):
        inherited = lock_state(tmp_path / "old")
        assert not inherit_lock(inherited, wanted)
        assert find_holder(tmp_path / "old") is None, "it was closed"
    os.close(held)
