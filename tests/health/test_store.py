"""The files in the state directory: round trips, damage of every kind, full disks, and threads that must not be held up."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.health import store
from geodns.health.overrides import KINDS, Override
from geodns.health.state import Saved, State, Verdict
from geodns.health.store import load_overrides, load_states, save_overrides, save_states

NOW = 1_790_000_000.0
times = st.floats(0, NOW)
texts = st.text(max_size=8)
counts = st.integers(0, 2**40)
states = st.builds(
    State, st.sampled_from(Verdict), counts, times, st.none() | times, texts, texts, st.floats(0, 9), counts, counts,
    st.none() | st.integers(0, 65535), st.just(True),
)  # fmt: skip
saved = st.lists(st.builds(Saved, texts, texts, states), max_size=8)
overrides = st.lists(
    st.builds(
        Override, st.sampled_from(("ams", "www/*", "2001:db8::1")), st.sampled_from(KINDS), texts, texts, times,
        st.none() | st.floats(0, 2 * NOW),
    ),
    max_size=8,
)  # fmt: skip
SAVED = [
    Saved("k1", "s1", State(Verdict.UP, 1, 5.0, 9.0, "status 200", "", 0.25, 3, 0, None, True)),
    Saved("k2", "s2", State(restored=True)),
]
OVERRIDES = [Override("ams", "drain", "alice", "works", 5.0, 99.0), Override("192.0.2.1", "down", "bob", "", 6.0, None)]


@settings(deadline=None)
@given(saved)
def test_states_always_come_back(tmp_path_factory: pytest.TempPathFactory, given: list[Saved]) -> None:
    folder = tmp_path_factory.mktemp("state")
    save_states(folder, given, NOW)
    assert load_states(folder, NOW) == (tuple(given), [])


@settings(deadline=None)
@given(overrides)
def test_overrides_always_come_back(tmp_path_factory: pytest.TempPathFactory, given: list[Override]) -> None:
    folder = tmp_path_factory.mktemp("state")
    save_overrides(folder, given, NOW)
    assert load_overrides(folder, NOW) == (tuple(given), [])


def test_nothing_saved_is_nothing_to_say(tmp_path: Path) -> None:
    assert load_states(tmp_path, NOW) == ((), [])
    assert load_overrides(tmp_path / "absent", NOW) == ((), [])


def test_a_file_cut_off_anywhere_is_whole_or_set_aside(tmp_path: Path) -> None:
    """No length gives a part of what was saved, or anything that was not."""
    save_states(tmp_path, SAVED, NOW)
    whole = (tmp_path / "states.json").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "states.json").write_bytes(whole[:length])
        found, said = load_states(tmp_path, NOW)
        if length == len(whole) - 1:  # without its last line feed
            assert (found, said) == (tuple(SAVED), [])
            continue
        assert found == ()
        assert len(said) == 1
        assert "is cut off or damaged: it is no JSON; set aside as states.json.broken-" in said[0]
        assert not (tmp_path / "states.json").exists()
        aside = tmp_path / said[0].split("set aside as ")[1].split(",")[0]
        assert aside.read_bytes() == whole[:length], "nothing is lost"
    assert len(list(tmp_path.glob("states.json.broken-*"))) == 3


def test_the_three_newest_of_what_was_set_aside_stay(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / "overrides.json").write_text(f"broken {number}")
        load_overrides(tmp_path, NOW + 0.1 * number)
    left = sorted(path.read_text() for path in tmp_path.glob("overrides.json.broken-*"))
    assert left == ["broken 3", "broken 4", "broken 5"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "is something else: it has no states"),
        ('{"form": 1, "overrides": []}', "is something else: it has no states"),
        ('{"form": 2, "states": []}', "has form 2; this version reads form 1"),
        ("\x00\x01", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_foreign_is_set_aside_with_a_reason(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "states.json").write_text(text)
    found, (said,) = load_states(tmp_path, NOW)
    assert found == ()
    assert why in said
    assert str(tmp_path / "states.json") in said
    assert next(tmp_path.glob("states.json.broken-*")).read_text() == text


GOOD = ["k", "s", ["up", 0, 1.0, 2.0, "", "", 0.1, 1, 1, None]]


@pytest.mark.parametrize(
    "entry",
    [
        None, [], "abc", {"key": 1}, ["k", "s"], ["k", 1, GOOD[2]], ["k", "s", "up"], ["k", "s", GOOD[2][:-1]],
        ["k", "s", ["sideways", *GOOD[2][1:]]], ["k", "s", ["up", -1, *GOOD[2][2:]]], ["k", "s", ["up", True, *GOOD[2][2:]]],
        ["k", "s", ["up", 0, float("nan"), *GOOD[2][3:]]], ["k", "s", ["up", 0, -1.0, *GOOD[2][3:]]],
        ["k", "s", ["up", 0, 1e300, *GOOD[2][3:]]], ["k", "s", [*GOOD[2][:4], 5, *GOOD[2][5:]]],
        ["k", "s", [*GOOD[2][:9], 65536]],
    ],
)  # fmt: skip
def test_one_unsound_state_costs_no_other(tmp_path: Path, entry: object) -> None:
    (tmp_path / "states.json").write_text(json.dumps({"form": 1, "states": [GOOD, entry, GOOD]}))
    found, (said,) = load_states(tmp_path, NOW)
    assert [one.key for one in found] == ["k", "k"]
    assert "1 of 3 states are unsound (entry 2: " in said
    assert "set aside as states.json.broken-" in said


@pytest.mark.parametrize(
    "change", [{"target": "a b"}, {"kind": "sideways"}, {"owner": None}, {"since": "now"}, {"until": -1}]
)
def test_one_unsound_override_costs_no_other(tmp_path: Path, change: dict[str, object]) -> None:
    good = {"target": "ams", "kind": "drain", "owner": "alice", "reason": "", "since": 1.0, "until": None}
    (tmp_path / "overrides.json").write_text(json.dumps({"form": 1, "overrides": [good | change, good]}))
    found, (said,) = load_overrides(tmp_path, NOW)
    assert found == (Override("ams", "drain", "alice", "", 1.0, None),)
    assert "1 of 2 overrides are unsound (entry 1: " in said


def test_times_in_the_future_count_as_now(tmp_path: Path) -> None:
    """The clock was wrong when they were saved, or is wrong now; an override still lasts as long as it was meant to."""
    ahead = State(Verdict.DOWN, 0, NOW + 3600, NOW + 7200, restored=True)
    save_states(tmp_path, [Saved("k", "s", ahead), *SAVED], NOW)
    found, said = load_states(tmp_path, NOW)
    assert (found[0].state.since, found[0].state.probed, found[0].state.verdict) == (NOW, NOW, Verdict.DOWN)
    assert found[1:] == tuple(SAVED)
    assert said == [f"{tmp_path / 'states.json'}: 1 of 3 states have times in the future: they count as of now"]
    save_overrides(tmp_path, [Override("ams", "drain", "a", "", NOW + 3600, NOW + 5400)], NOW)
    (override,), said = load_overrides(tmp_path, NOW)
    assert (override.since, override.until) == (NOW, NOW + 1800)
    assert len(said) == 1


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LARGEST", 1 << 20)
    (tmp_path / "states.json").write_bytes(b" " * ((1 << 20) + 1))
    found, (said,) = load_states(tmp_path, NOW)
    assert found == ()
    assert "is larger than 1 MiB; set aside" in said


def test_a_file_that_cannot_be_read_is_set_aside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_states(tmp_path, SAVED, NOW)

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    found, (said,) = load_states(tmp_path, NOW)
    assert found == ()
    assert "cannot be read: Permission denied; set aside as states.json.broken-" in said


def test_a_folder_in_its_place_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "states.json").mkdir()
    found, (said,) = load_states(tmp_path, NOW)
    assert found == ()
    assert "cannot be read: Is a directory; set aside" in said
    save_states(tmp_path, SAVED, NOW)
    assert load_states(tmp_path, NOW)[0] == tuple(SAVED)


def test_what_cannot_be_set_aside_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "states.json").write_text("broken")

    def refuse(path: Path, other: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "rename", refuse)
    assert load_states(tmp_path, NOW)[1] == [
        f"{tmp_path / 'states.json'}: is cut off or damaged: it is no JSON; it cannot be set aside: Permission denied"
    ]


def test_a_full_disk_leaves_the_old_file_and_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_states(tmp_path, SAVED, NOW)
    written, write = 0, os.write

    def fill_up(descriptor: int, octets: memoryview) -> int:
        nonlocal written
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += 1
        return write(descriptor, octets[:10])  # the kernel takes a part first

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(OSError, match="No space left on device"):
        save_states(tmp_path, [], NOW)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["states.json"]
    assert load_states(tmp_path, NOW) == (tuple(SAVED), [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_kernel_that_says_full_is_an_oserror() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            store._write_all(descriptor, b"x")
    finally:
        os.close(descriptor)


def test_a_rename_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_overrides(tmp_path, OVERRIDES, NOW)

    def refuse(path: Path, other: Path) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        save_overrides(tmp_path, [], NOW)
    monkeypatch.undo()
    assert load_overrides(tmp_path, NOW) == (tuple(OVERRIDES), [])
    assert [path.name for path in tmp_path.iterdir()] == ["overrides.json"]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash at any moment finds the old file or the new one, whole."""
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")
        fsync(descriptor)

    def note_rename(path: Path, other: Path) -> Path:
        steps.append("rename")
        return rename(path, other)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_rename)
    save_states(tmp_path, SAVED, NOW)
    assert steps == ["file", "rename", "folder"]


def test_the_files_are_private_and_a_link_is_not_followed(tmp_path: Path) -> None:
    save_overrides(tmp_path, OVERRIDES, NOW)
    assert (tmp_path / "overrides.json").stat().st_mode & 0o777 == 0o600
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".overrides.json.part").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        save_overrides(tmp_path, [], NOW)
    assert victim.read_text() == "precious"
    save_overrides(tmp_path, [], NOW)
    assert load_overrides(tmp_path, NOW) == ((), [])


def test_two_threads_that_save_leave_one_whole_file(tmp_path: Path) -> None:
    many = [[Saved(f"{thread}-{n}", "s", State(restored=True)) for n in range(200)] for thread in range(4)]
    threads = [threading.Thread(target=save_states, args=(tmp_path, some, NOW)) for some in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, said = load_states(tmp_path, NOW)
    assert said == []
    assert list(found) in many


def test_saving_ten_thousand_leaves_the_interpreter_to_others(tmp_path: Path) -> None:
    """Between two portions others have their turn: with so long a switch interval, only if it gives way by itself."""
    many = [Saved(f"key {n}", "s", State(Verdict.UP, 0, NOW, NOW, "status 200")) for n in range(10_000)]
    thread = threading.Thread(target=save_states, args=(tmp_path, many, NOW))
    turns, before = 0, sys.getswitchinterval()
    sys.setswitchinterval(5.0)
    try:
        thread.start()
        while thread.is_alive():
            time.sleep(0)
            turns += 1
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert turns > 20
    assert len(load_states(tmp_path, NOW)[0]) == 10_000
