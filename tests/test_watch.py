"""The watch: sequences on a made-up disk against a plain model, then a real one; then the runner, with a disk that hangs."""

from __future__ import annotations

import asyncio
import errno
import glob
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.watch import AGO, HOLD, Print, Watch, read_print, watch_files

ONE, TWO = Path("/etc/geodns/geodns.yaml"), Path("/etc/geodns/zone")
PATIENCE = 5.0


def looks(inode: int = 1, size: int = 10, mtime: int = 100, target: str = "x") -> Print:
    return Print(target, 1, inode, size, mtime)


# What a file may look like: itself, other sizes, times (also back), inodes, targets of a link; None is no file.
LOOKS = (looks(), looks(size=11), looks(mtime=101), looks(mtime=99), looks(inode=2), looks(target="y"), None)


class Disk:
    """A disk that says what it is told to say."""

    def __init__(self, files: dict[Path, Print | None]) -> None:
        self.files = files
        self.broken: set[Path] = set()

    def stat(self, path: Path) -> Print | None:
        if path in self.broken:
            raise OSError(errno.ESTALE, "stale")
        return self.files[path]


def told(history: Iterable[Print | None], quiet: int) -> list[bool]:
    """What a watch of one file says second by second, by looking back over all of *history*; each change told is accepted.

    *history*[0] is what was there at the first look.
    """
    seen: list[Print | None] = []
    accepted, said = None, []
    for now, found in enumerate(history):
        seen.append(found)
        accepted = found if now == 0 else accepted
        quiet_since = now
        while quiet_since and seen[quiet_since - 1] == found:
            quiet_since -= 1
        change = found != accepted and now - quiet_since >= quiet
        accepted = found if change else accepted
        said.append(change)
    return said


def watched(history: Iterable[Print | None], quiet: int) -> list[bool]:
    said = []
    disk = Disk({})
    watch = Watch([ONE], quiet, disk.stat)
    for now, found in enumerate(history):
        disk.files[ONE] = found
        said.append(bool(watch.look(float(now))))
        watch.accept()
    return said


def test_every_sequence_of_five_looks() -> None:
    """7 appearances, 5 seconds: whatever happens to one file, and in whatever order."""
    for history in product(LOOKS, repeat=5):
        assert watched(history, 2) == told(history, 2), history


@settings(deadline=None)
@given(st.lists(st.sampled_from(LOOKS), min_size=1, max_size=30), st.integers(0, 5))
def test_always_as_the_plain_model(history: list[Print | None], quiet: int) -> None:
    assert watched(history, quiet) == told(history, quiet)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LOOKS), st.sampled_from(LOOKS)), min_size=1, max_size=60))
def test_never_loses_a_change_nor_tells_one_that_is_not(history: list[tuple[Print | None, Print | None]]) -> None:
    """Two files: whoever is told differs from what was accepted; and when all is quiet, nothing is left untold."""
    disk = Disk({})
    watch = Watch([ONE, TWO], 2.0, disk.stat)
    accepted: dict[Path, Print | None] = {}
    quiet_end = [history[-1]] * 6
    for now, (one, two) in enumerate([*history, *quiet_end]):
        disk.files = {ONE: one, TWO: two}
        if now == 0:
            accepted = dict(disk.files)
        found = watch.look(float(now))
        assert all(disk.files[path] != accepted[path] for path in found)
        watch.accept()
        accepted |= {path: disk.files[path] for path in found}
    assert accepted == disk.files


def test_what_is_written_together_is_told_together() -> None:
    disk = Disk({ONE: looks(), TWO: looks()})
    watch = Watch([ONE, TWO], 2.0, disk.stat)
    watch.look(0)
    disk.files[ONE] = looks(size=1)
    assert watch.look(1) == frozenset()
    disk.files[TWO] = looks(size=2)
    assert [watch.look(now) for now in (2, 3, 3.9)] == [frozenset()] * 3, "the second is still moving"
    assert watch.look(4) == {ONE, TWO}


def test_a_file_that_never_rests_does_not_hold_up_the_others_for_ever() -> None:
    disk = Disk({ONE: looks(), TWO: looks()})
    watch = Watch([ONE, TWO], 2.0, disk.stat)
    watch.look(0)
    disk.files[ONE] = looks(size=1)
    found = []
    for now in range(1, 30):
        disk.files[TWO] = looks(size=1000 + now)
        found.append((now, watch.look(now)))
    assert next(now for now, files in found if files) == 1 + 2 * HOLD
    assert {files for _, files in found} == {frozenset(), frozenset({ONE})}


def test_what_is_not_accepted_is_told_again() -> None:
    disk = Disk({ONE: looks()})
    watch = Watch([ONE], 0.0, disk.stat)
    watch.look(0)
    disk.files[ONE] = None
    assert watch.look(1) == watch.look(2) == {ONE}
    watch.accept()
    assert watch.look(3) == frozenset()


def test_a_file_of_which_nobody_can_say_anything_stays_as_it_was() -> None:
    disk = Disk({ONE: looks(), TWO: looks()})
    watch = Watch([ONE, TWO], 1.0, disk.stat)
    watch.look(0)
    disk.files = {ONE: looks(size=1), TWO: looks(size=1)}
    watch.look(1)
    disk.broken = {ONE}
    assert watch.look(5) == {TWO}
    watch.accept()
    disk.broken = set()
    assert watch.look(6) == {ONE}


def test_a_load_accepts_what_was_seen_before_it_and_nothing_later() -> None:
    disk = Disk({ONE: looks(), TWO: looks()})
    watch = Watch([ONE, TWO], 2.0, disk.stat)
    watch.look(0)
    disk.files[ONE] = looks(size=1)
    watch.look(1)
    disk.files[TWO] = looks(size=1)
    watch.look(10)
    watch.follow([ONE, TWO], mono=1 + AGO, wall=0)
    assert watch.look(12) == {TWO}


@pytest.mark.parametrize(("mtime", "is_told"), [(99, False), (100, True), (101, True)])
def test_a_new_file_that_is_newer_than_the_load_may_not_have_been_read(mtime: int, is_told: bool) -> None:
    disk = Disk({ONE: looks(), TWO: looks(mtime=mtime * 10**9)})
    watch = Watch([ONE], 2.0, disk.stat)
    watch.look(0)
    watch.follow([ONE, TWO], mono=50, wall=100)
    assert watch.look(60) == frozenset()
    assert watch.look(62) == ({TWO} if is_told else frozenset())
    watch.accept()
    assert watch.look(70) == frozenset(), "once"
    assert watch.files == {ONE, TWO}


def test_a_file_that_the_load_read_and_that_is_gone_at_the_first_look_has_changed() -> None:
    disk = Disk({ONE: None})
    watch = Watch([], 1.0, disk.stat)
    watch.follow([ONE], mono=5, wall=100)
    assert [watch.look(now) for now in (6, 7)] == [frozenset(), {ONE}]


def test_who_is_no_longer_followed_is_not_looked_at() -> None:
    disk = Disk({ONE: looks(), TWO: looks()})
    watch = Watch([ONE, TWO], 0.0, disk.stat)
    watch.look(0)
    watch.follow([TWO], mono=0, wall=0)
    disk.files.pop(ONE)
    assert watch.look(1) == frozenset()


# A real disk


class Real:
    """A watch of `name` in *folder*, whose time is a number."""

    def __init__(self, path: Path) -> None:
        self.watch, self.now = Watch([path], 2.0), 0.0
        self.watch.look(0)

    def tells(self) -> bool:
        """After things were quiet for long enough."""
        self.now += 10
        self.watch.look(self.now)
        found = self.watch.look(self.now + 2)
        self.watch.accept()
        return bool(found)


def test_written_touched_renamed_over_deleted(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("one")
    real = Real(path)
    assert not real.tells()
    path.write_text("more")
    assert real.tells()
    os.utime(path, ns=(1, 1))
    assert real.tells(), "time may go back"
    other.write_text("less")
    os.utime(other, ns=(1, 1))
    other.rename(path)
    assert real.tells(), "same size, same time, another file"
    path.unlink()
    assert real.tells()
    assert not real.tells()
    path.write_text("back")
    assert real.tells()


def test_gone_for_a_moment_and_back_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    real = Real(path)
    path.rename(tmp_path / "aside")
    assert real.watch.look(1) == frozenset()
    (tmp_path / "aside").rename(path)
    assert not real.tells()


def test_a_folder_swapped_by_a_symbolic_link(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: geodns.yaml -> ..data/geodns.yaml, ..data -> ..2026, and ..data is renamed over."""
    for folder in ("..1", "..2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "geodns.yaml").write_text("same")
        os.utime(tmp_path / folder / "geodns.yaml", ns=(5, 5))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "geodns.yaml").symlink_to("..data/geodns.yaml")
    real = Real(tmp_path / "geodns.yaml")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert real.tells()


def test_a_pattern_looks_like_all_that_matches(tmp_path: Path) -> None:
    folder = tmp_path / "conf[1].d"
    folder.mkdir()
    real = Real(Path(glob.escape(str(folder))) / "*.yaml")
    assert not real.tells()
    (folder / "notes.txt").write_text("no match")
    assert not real.tells()
    (folder / "a.yaml").write_text("one")
    assert real.tells()
    (folder / "a.yaml").write_text("more")
    assert real.tells()
    (folder / "a.yaml").rename(folder / "b.yaml")
    assert real.tells()


def test_a_file_with_brackets_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "a[1].yaml"
    path.write_text("one")
    found = read_print(path)
    assert found is not None
    assert found.target == str(path)


def test_links_in_a_circle_cannot_be_said_and_links_to_nothing_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        read_print(tmp_path / "a")
    (tmp_path / "b").symlink_to("nowhere")
    assert read_print(tmp_path / "b") is None
    (tmp_path / "c").write_text("")
    assert read_print(tmp_path / "c" / "d") is None


# The runner


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


def run_watching(watch: Watch, test: Callable[[list[frozenset[Path]]], object], patience: float = PATIENCE) -> None:
    """Run *test* while *watch* is run; it is given what was told."""

    async def run() -> None:
        changes: list[frozenset[Path]] = []
        task = asyncio.create_task(watch_files(watch, changes.append, every=0.005, patience=patience))
        result = test(changes)
        assert asyncio.iscoroutine(result)
        await result
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()

    asyncio.run(run())


def test_runner_tells_each_change_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    watch = Watch([path], 0.01)

    async def test(changes: list[frozenset[Path]]) -> None:
        await until(lambda: watch._sights[path] is not None)
        path.write_text("other")
        await until(lambda: changes)
        await asyncio.sleep(0.1)
        assert changes == [frozenset({path})]

    run_watching(watch, test)


def test_a_disk_that_hangs_is_told_once_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    hang, calls = threading.Event(), []

    def stat(path: Path) -> Print:
        calls.append(path)
        hang.wait(PATIENCE)
        return looks()

    async def test(changes: list[frozenset[Path]]) -> None:
        await until(lambda: "not replied" in caplog.text)
        await asyncio.sleep(0.1)
        assert len(calls) == 1, "one look at a time"
        hang.set()
        await until(lambda: "replies again" in caplog.text)
        await until(lambda: len(calls) > 2)

    with caplog.at_level(logging.WARNING):
        run_watching(Watch([ONE], 0.0, stat), test, patience=0.05)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_the_end_waits_for_no_disk(recwarn: pytest.WarningsRecorder) -> None:
    """The loop is closed while a look hangs; the thread ends in silence once the disk replies."""
    hang = threading.Event()

    def stat(path: Path) -> Print:
        hang.wait(PATIENCE)
        return looks()

    async def test(changes: list[frozenset[Path]]) -> None:
        await until(lambda: any(thread.name == "watch" for thread in threading.enumerate()))

    run_watching(Watch([ONE], 0.0, stat), test)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "watch"]
    hang.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not recwarn


def test_many_files_are_looked_at_more_rarely() -> None:
    """A look that costs 2 ms of processor time is followed by a pause of 200 ms, whatever was asked for."""
    looks_at: list[float] = []

    def stat(path: Path) -> Print:
        looks_at.append(time.monotonic())
        while time.thread_time() < 0.002:
            continue
        return looks()

    async def test(changes: list[frozenset[Path]]) -> None:
        await until(lambda: len(looks_at) >= 3)

    run_watching(Watch([ONE], 0.0, stat), test)
    assert min(after - before for before, after in pairwise(looks_at)) >= 0.2


def test_a_mistake_of_ours_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with asyncio.timeout(PATIENCE):
            await watch_files(Watch([ONE], 0.0, Disk({}).stat), lambda files: None, every=0.005)

    asyncio.run(run())
    assert "bug in geodns" in caplog.text
