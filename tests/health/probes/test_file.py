"""The file probe: what a file says, when it is read again, and files that say nothing."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.health.probes.servers import make_target, probe_once

from geodns.config.model_checks import FileCheck
from geodns.health.probes.file import MOST_OCTETS, Files, judge, name_member
from geodns.health.probes.finding import Finding, Unable
from geodns.health.state import Verdict

NOW = 1_700_000_000.0
MEMBER = "192.0.2.10"


def look(path: Path, member: str = MEMBER, files: Files | None = None, now: float = NOW, **check: Any) -> Finding:
    """What the file at *path* says of *member*."""
    found = make_target(type="file", path=str(path), **check).check
    assert isinstance(found, FileCheck)
    return (files or Files()).probe(member, found, now)


def write(path: Path, content: Any, modified: float = NOW) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(path, (modified, modified))
    return path


STATES = st.sampled_from(["up", "down"])
WEIGHTS = st.integers(0, 65535)


@given(STATES, st.one_of(st.none(), WEIGHTS), st.booleans())
def test_always_what_was_written(state: str, weight: int | None, short: bool) -> None:
    entry: Any = {"state": state} | ({} if weight is None else {"weight": weight})
    if short and weight is None:
        entry = state
    elif short and state == "up":
        entry = weight
    found = judge(entry, MEMBER, Path("x.json"))
    assert (found.verdict, found.seen, found.weight) == (Verdict(state), True, weight)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["state", "weight", "x"]), inner)),
    max_leaves=5,
)


@given(JSON)
def test_never_a_verdict_that_was_not_written(entry: Any) -> None:
    found = judge(entry, MEMBER, Path("x.json"))
    state = entry.get("state", "up") if isinstance(entry, dict) else entry
    weight = entry.get("weight") if isinstance(entry, dict) else entry if type(entry) is int else None
    right = type(entry) is int or state in ("up", "down")
    right = right and (weight is None or (type(weight) is int and 0 <= weight <= 65535))
    right = right and not (isinstance(entry, dict) and "x" in entry)
    assert (found.verdict is not Verdict.UNKNOWN) == right
    assert found.weight is None or found.weight == weight


@pytest.mark.parametrize(
    ("written", "member"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("2001:DB8:0:0::10", "2001:db8::10"),
        ("edge-a.cdn.example.net", "edge-a.cdn.example.net."),
        ("Edge-A.cdn.example.net.", "edge-a.cdn.example.net."),
    ],
)
def test_members_in_any_spelling(written: str, member: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", {written: "down"})
    assert look(path, member).verdict is Verdict.DOWN
    assert name_member(written) == name_member(member)


def test_the_text_says_where_it_comes_from(tmp_path: Path) -> None:
    path = write(tmp_path / "verdicts.json", {MEMBER: {"state": "down", "weight": 3}, "192.0.2.11": 5})
    assert look(path).text == "verdicts.json says down, weight 3"
    assert look(path, "192.0.2.11") == (Verdict.UP, "verdicts.json says up, weight 5", True, 5)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"192.0.2.10": "up"', "is not JSON: "),
        ("", "is not JSON: "),
        ("[" * 100_000, "is not JSON: "),
        ('{"192.0.2.1": "\\ud800", "\\ud800": 1}', "says nothing of 192.0.2.10"),
        ("[1]", "must hold an object"),
        ('"up"', "must hold an object"),
        ({"192.0.2.11": "up"}, "says nothing of 192.0.2.10"),
        (" " * MOST_OCTETS + "{}", "is larger than 1 MiB"),
    ],
    ids=["cut", "empty", "deep", "surrogate", "list", "text", "other", "large"],
)  # fmt: skip
def test_a_file_that_says_nothing(content: Any, text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", content)
    with pytest.raises(Unable) as raised:
        look(path)
    assert str(raised.value).startswith(f"{path} {text}")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # opening it must not wait for a writer
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path, text in (
        (tmp_path / "none", "cannot be read: no such file"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "fifo", "is not a regular file"),
        (Path("/dev/zero"), "is not a regular file"),
    ):
        with pytest.raises(Unable, match=text):
            look(path)
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208


def test_a_file_is_read_again_when_it_changes_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    loads = json.loads

    def read(octets: bytes) -> Any:
        reads.append(octets)
        return loads(octets)

    monkeypatch.setattr(json, "loads", read)
    files, path = Files(), write(tmp_path / "x.json", {MEMBER: "up"})
    for _ in range(3):
        assert look(path, files=files).verdict is Verdict.UP
    assert len(reads) == 1
    # Renamed over it: of the same size, with the same time.
    write(tmp_path / "next", {MEMBER: 4711}).rename(path)
    assert look(path, files=files).weight == 4711
    # Written over: another size or time.
    write(path, {MEMBER: "down"}, NOW + 1)
    assert look(path, files=files).verdict is Verdict.DOWN
    assert len(reads) == 3
    path.unlink()
    with pytest.raises(Unable):
        look(path, files=files)
    write(path, {MEMBER: "up"})
    assert look(path, files=files).verdict is Verdict.UP


def test_a_broken_file_is_mended(tmp_path: Path) -> None:
    files, path = Files(), write(tmp_path / "x.json", "{")
    with pytest.raises(Unable):
        look(path, files=files)
    write(path, {MEMBER: "up"})
    assert look(path, files=files).verdict is Verdict.UP


def test_an_old_file_says_nothing(tmp_path: Path) -> None:
    files, path = Files(), write(tmp_path / "x.json", {MEMBER: "up"}, NOW - 300)
    assert look(path, files=files).verdict is Verdict.UP
    assert look(path, files=files, max_age="5m").verdict is Verdict.UP
    with pytest.raises(Unable, match="is 301 s old, at most 300 s are allowed"):
        look(path, files=files, now=NOW + 1, max_age="5m")
    write(path, {MEMBER: "up"}, NOW + 1e6)  # from the future: not old
    assert look(path, files=files, max_age="5m").verdict is Verdict.UP


def test_through_the_door(tmp_path: Path) -> None:
    """All of it, by the clock that was given."""
    path = write(tmp_path / "x.json", {MEMBER: {"weight": 0}})
    target = make_target("192.0.2.10", 0, MEMBER, type="file", path=str(path), max_age="5m")
    outcome = asyncio.run(probe_once(target, now=lambda: NOW))
    assert (outcome.verdict, outcome.seen, outcome.weight) == (Verdict.UP, True, 0)
    outcome = asyncio.run(probe_once(target, now=lambda: NOW + 1000))
    assert (outcome.verdict, outcome.seen, outcome.weight) == (Verdict.UNKNOWN, True, None)
    assert "is 1000 s old" in outcome.text


def test_one_result_is_enough_unless_something_else_is_written() -> None:
    check = make_target(type="file", path="x").check
    assert (check.rise, check.fall) == (1, 1)
    assert make_target(type="file", path="x", fall="2").check.fall == 2
    assert make_target(type="icmp").check.fall == 3
