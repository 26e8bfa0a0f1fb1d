"""The file of the query log: what is in it and in its elders after any sequence; and a writer that nobody waits for."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns import querylog_file
from geodns.querylog_file import Lines, LogFile, Writer

PATIENCE = 5.0


def files(path: Path) -> list[str]:
    """The log and its elders, the newest first."""
    found = sorted(path.parent.glob(f"{path.name}*"), key=lambda one: int(one.suffix[1:]) if one.suffix[1:].isdigit() else 0)
    return [one.read_text() for one in found]


# The file


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=40), st.integers(10, 60), st.integers(0, 3))
def test_always_the_newest_lines_in_order_and_no_file_too_large(sizes: list[int], most: int, keep: int) -> None:
    """Against a plain model: portions go into the newest file while they fit."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        file = LogFile(path, most, keep)
        model = [""]
        for number, size in enumerate(sizes):
            portion = f"{number:02}".ljust(size, "x") + "\n"
            file.write(portion.encode())
            if model[0] and len(model[0]) + len(portion) > most:
                model.insert(0, "")
            model[0] += portion
        file.close()
        assert files(path) == (model[: keep + 1] if sizes else [])


@pytest.mark.parametrize("umask", [0, 0o077])
def test_made_for_owner_and_group_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "log"
    before = os.umask(umask)
    try:
        LogFile(path, None, 5).open()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    LogFile(path, None, 5).open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "whoever changes it has a reason"


def test_what_is_there_stays_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    file = LogFile(path, 12, 1)
    file.write(b"one\n")
    assert files(path) == ["before\none\n"]
    file.write(b"two\n")
    assert files(path) == ["two\n", "before\none\n"]


def test_no_limit_never_rotates(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", None, 5)
    for _ in range(100):
        file.write(b"x" * 1000 + b"\n")
    assert len(files(tmp_path / "log")) == 1


def test_a_file_that_somebody_else_has_rotated_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path, 10, 3)
    file.write(b"123456\n")
    path.rename(tmp_path / "log-yesterday")
    path.write_text("")  # as logrotate makes it
    file.write(b"abcdef\n")
    assert (tmp_path / "log-yesterday").read_text() == "123456\n"
    assert path.read_text() == "abcdef\n"
    assert not (tmp_path / "log.1").exists()


def test_opening_anew_follows_the_name(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path, None, 5)
    file.write(b"one\n")
    path.rename(tmp_path / "old")
    file.write(b"two\n")
    file.open()
    file.write(b"three\n")
    assert ((tmp_path / "old").read_text(), path.read_text()) == ("one\ntwo\n", "three\n")


def test_a_disk_that_takes_half_a_line_gets_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "log", os.write
    room = [10]

    def narrow(descriptor: int, octets: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(descriptor, octets[: room[0]])
        room[0] -= taken
        return taken

    file = LogFile(path, None, 5)
    file.write(b"first\n")
    monkeypatch.setattr(os, "write", narrow)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"does not fit\n")
    assert path.read_text() == "first\n"
    room[0] = 1000
    file.write(b"fits\n")
    assert path.read_text() == "first\nfits\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_device_is_an_error_and_nothing_else() -> None:
    file = LogFile(Path("/dev/full"), 10, 5)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            file.write(b"line after line\n")
    file.close()


# The writer


@pytest.fixture
def making() -> Iterator[Callable[..., Writer]]:
    """Makes writers that are stopped in the end."""
    made: list[Writer] = []

    def make(file: LogFile, **rest: int) -> Writer:
        made.append(Writer(file, **rest))
        return made[-1]

    yield make
    for writer in made:
        if writer._thread.is_alive():
            writer.stop()


def lines(*texts: str) -> Lines:
    return Lines("".join(f"{text}\n" for text in texts).encode(), len(texts))


def test_writes_what_it_is_brought_in_order_and_counts_lines(tmp_path: Path, making: Callable[..., Writer]) -> None:
    writer = making(LogFile(tmp_path / "log", None, 5))
    writer.start()
    writer.bring(lines("a", "b"))
    writer.bring(lines("c"))
    writer.stop()
    assert (tmp_path / "log").read_text() == "a\nb\nc\n"
    assert (writer.written, writer.lost, writer.refused, writer.trouble) == (3, 0, 0, "")
    assert not writer._thread.is_alive()


def test_a_file_that_cannot_be_opened_is_told_at_the_start(tmp_path: Path, making: Callable[..., Writer]) -> None:
    with pytest.raises(FileNotFoundError):
        making(LogFile(tmp_path / "no" / "log", None, 5)).start()
    with pytest.raises(IsADirectoryError):
        making(LogFile(tmp_path, None, 5)).start()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device or address"):  # a pipe that nobody reads
        making(LogFile(tmp_path / "pipe", None, 5)).start()


def test_a_file_system_that_hangs_is_told_at_the_start(
    tmp_path: Path, making: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querylog_file, "OPEN_WAIT", 0.05)
    hanging = Hanging(tmp_path / "log")
    with pytest.raises(TimeoutError, match="does not open within"):
        making(hanging).start()
    hanging.go_on.set()


class Hanging(LogFile):
    """A file on a disk that does not reply until it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, None, 5)
        self.go_on = threading.Event()

    def open(self) -> None:
        self.go_on.wait(PATIENCE)
        super().open()


class Slow(LogFile):
    """A file whose disk takes nothing until it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, None, 5)
        self.go_on = threading.Event()

    def write(self, lines: bytes) -> None:
        self.go_on.wait(PATIENCE)
        super().write(lines)


def test_what_waits_for_the_disk_is_bounded_and_the_rest_is_counted(tmp_path: Path, making: Callable[..., Writer]) -> None:
    file = Slow(tmp_path / "log")
    writer = making(file, waiting_most=20)
    writer.start()
    for number in range(100):
        writer.bring(lines(f"{number:04}"))
    assert writer.refused == 96, "5 octets each: 4 of them may wait"
    file.go_on.set()
    writer.stop()
    assert (writer.written, writer.lost) == (4, 0)
    assert (tmp_path / "log").read_text() == "0000\n0001\n0002\n0003\n"


def test_a_disk_that_is_full_loses_lines_and_says_why(making: Callable[..., Writer]) -> None:
    writer = making(LogFile(Path("/dev/full"), None, 5))
    writer.start()
    writer.bring(lines("a", "b"))
    writer.stop()
    assert (writer.written, writer.lost, writer.trouble) == (0, 2, "No space left on device")


def test_trouble_is_over_when_the_file_takes_lines_again(tmp_path: Path, making: Callable[..., Writer]) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    writer = making(LogFile(folder / "log", None, 5))
    writer.start()
    folder.rename(tmp_path / "aside")
    writer.reopen()
    writer.bring(lines("lost"))
    wait_until(lambda: writer.lost == 1)
    assert writer.trouble == "No such file or directory"
    folder.mkdir()
    writer.bring(lines("kept"))
    writer.stop()
    assert writer.trouble == ""
    assert (folder / "log").read_text() == "kept\n"


def wait_until(true: Callable[[], bool]) -> None:
    """Look again and again, for a bounded time."""
    for _ in range(1000):
        if true():
            return
        threading.Event().wait(PATIENCE / 1000)
    raise AssertionError("it did not happen")


def test_opening_anew_comes_between_what_was_brought_before_and_after(tmp_path: Path, making: Callable[..., Writer]) -> None:
    path, file = tmp_path / "log", Slow(tmp_path / "log")
    writer = making(file)
    writer.start()
    writer.bring(lines("before"))
    path.rename(tmp_path / "old")
    for _ in range(100):
        writer.reopen()
    writer.bring(lines("after"))
    assert writer._queue.qsize() <= 3, "a hundred signals are one wish"
    file.go_on.set()
    writer.stop()
    assert ((tmp_path / "old").read_text(), path.read_text()) == ("before\n", "after\n")
