"""Reading through one door: each file once, nothing that might never end, and patterns that find files alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.config import files
from geodns.config.files import Disk, TooLargeError, digest_files


def test_a_file_is_read_once_and_told_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"one")
    os.utime(path, (1000, 1000))
    disk = Disk()
    assert disk.changed(path) is None
    assert disk.read(path, 10) == b"one"
    path.write_bytes(b"two")
    assert disk.read(path, 10) == b"one", "a second reader must see the same"
    (taken,) = disk.taken.values()
    assert (taken.octets, taken.size, taken.changed) == (b"one", 3, 1000)
    assert taken.digest == hashlib.sha256(b"one").digest()
    assert disk.changed(path) == 1000


def test_relative_and_absolute_are_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"one")
    disk = Disk()
    disk.read(Path("a.yaml"), 10)
    assert list(disk.taken) == [tmp_path / "a.yaml"]
    assert disk.changed(tmp_path / "a.yaml") is not None


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    disk = Disk()
    (tmp_path / "a.yaml").write_bytes(b"one")
    disk.read(tmp_path / "a.yaml", 10)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer that never comes
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="it is not a file"):
            disk.read(path, 10)
    with pytest.raises(FileNotFoundError):
        disk.read(tmp_path / "none", 10)
    assert list(disk.taken) == [tmp_path / "a.yaml"]


def test_the_first_file_may_be_a_pipe() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"piped")
    os.close(writing)
    disk = Disk()
    assert disk.read(Path(f"/dev/fd/{reading}"), 10) == b"piped"
    os.close(reading)
    assert disk.read(Path(f"/dev/fd/{reading}"), 10) == b"piped", "it can be read only once, and was"


def test_a_file_that_is_too_large_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(bytes(2 << 20))
    disk = Disk()
    assert len(disk.read(path, 2 << 20)) == 2 << 20
    disk = Disk()
    with pytest.raises(TooLargeError, match=r"^is larger than 1 MiB$"):
        disk.read(path, 1 << 20)
    assert disk.taken == {}


def test_contents_beyond_the_bound_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "KEPT_MOST", 5)
    disk = Disk()
    for name, octets in (("a", b"123"), ("b", b"123"), ("c", b"12")):
        (tmp_path / name).write_bytes(octets)
        assert disk.read(tmp_path / name, 10) == octets
    assert [taken.octets for taken in disk.taken.values()] == [b"123", None, b"12"]
    assert disk.read(tmp_path / "b", 10) == b"123", "it is read again"


def test_a_pattern_finds_files_in_order_without_folders_and_the_main_file(tmp_path: Path) -> None:
    folder = tmp_path / "[conf]"  # brackets in the folder's own name are no pattern
    (folder / "sub.yaml").mkdir(parents=True)
    for name in ("b.yaml", "a.yaml", "main.yaml", "c.txt"):
        (folder / name).write_bytes(b"")
    (folder / "link.yaml").symlink_to("main.yaml")
    disk = Disk()
    assert disk.match(folder, "*.yaml", folder / "main.yaml") == [folder / "a.yaml", folder / "b.yaml"]
    assert disk.matched == {(folder, "*.yaml"): (folder / "a.yaml", folder / "b.yaml")}


@settings(deadline=None)
@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_digests_differ_when_contents_do(
    tmp_path_factory: pytest.TempPathFactory, one: list[bytes], other: list[bytes]
) -> None:
    def digest(contents: list[bytes]) -> str:
        folder, disk = tmp_path_factory.mktemp("files"), Disk()
        for number, octets in enumerate(contents):
            (folder / str(number)).write_bytes(octets)
            disk.read(folder / str(number), 10)
        return digest_files(disk.taken.values())

    assert (digest(one) == digest(other)) == (one == other), "by contents alone, whatever the folder"
