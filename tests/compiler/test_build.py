"""Building: the order of work, all complaints at once, and the image cache."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.world import write_world

from geodns.answer import UDP, Settings, Turn, answer
from geodns.compiler import images
from geodns.compiler.build import Built, assemble, build, hand_over
from geodns.compiler.child import compile_in_child
from geodns.compiler.handover import Handover, Refusal, pack, refuse, unpack
from geodns.compiler.images import find_images, find_state, image_path, read_image, write_image
from geodns.compiler.serials import find_serials, read_serials, write_serials
from geodns.config.model import Server
from geodns.errors import ConfigError, DatabaseError, GeodnsError, StartError
from geodns.health.state import Condition, Verdict
from geodns.image import LAYOUT
from geodns.metrics import new_tally

NOW = datetime(2026, 6, 30, tzinfo=UTC).timestamp()
BUILT = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
CONFIG = """
geoip: {database: world.mmdb}
datacenters:
  ams: {coordinates: [52.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01]}
services:
  www: {check: off, pools: {ams: [192.0.2.1], nyc: [192.0.2.2]}}
zones:
  example.com:
    ns: [ns1]
    records:
      www: {service: www}
      ns1: {A: 192.0.2.53}
"""
WORLD = {
    "0.0.0.0/2": {"country": "US", "continent": "NA", "coordinates": [40.0, -75.0]},
    "64.0.0.0/3": {"country": "FR", "continent": "EU", "coordinates": [48.0, 2.0]},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "geodns.yaml"
    path.write_text(CONFIG)
    (tmp_path / "world.mmdb").write_bytes(write_world(WORLD, build_epoch=BUILT))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "images"
    found.mkdir()
    return found


def ask(built: Built, name: bytes = b"\x03www\x07example\x03com\x00", *, down: str = "") -> bytes:
    health = {("www", down, member): Condition(Verdict.DOWN) for member in ("192.0.2.1", "192.0.2.2")}
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"
    snapshot = assemble(built, health)
    turn = Turn(snapshot, UDP, Settings(), NOW, new_tally(len(snapshot.zones.pools)))
    reply = answer(turn, query, bytes((64, 1, 2, 3)), 0)
    assert reply is not None
    return reply


def test_built_and_assembled_it_answers(config: Path) -> None:
    built = build(config, None, now=NOW)
    assert built.complaints == ()
    assert ask(built)[-4:] == bytes((192, 0, 2, 1)), "France is nearer to Amsterdam"
    assert ask(built, down="ams")[-4:] == bytes((192, 0, 2, 2))
    assert built.image is None


def test_summary_counts_and_tells_who_is_nearest(config: Path) -> None:
    built = build(config, None, now=NOW)
    assert built.counts == "1 zone, 1 service, 2 datacenters"
    # 64.0.0.0/3 is half of 0.0.0.0/2, but for 0, 10 and 127/8 and other blocks that are nobody's
    assert built.summary.startswith("1 zone, 1 service, 2 datacenters; nyc is nearest for 6")
    assert built.summary.endswith(" % of IPv4 addresses")


def test_every_part_complains_at_once(config: Path) -> None:
    """Reading, checking and zones: one error each, in the order of the file, none hidden by another."""
    text = CONFIG.replace("ams: [192.0.2.1]", "fra: [192.0.2.1]").replace("192.0.2.53", "192.0.2.530")
    config.write_text(text.replace("coordinates: [52.37, 4.90]", "coordinates: [52.37, 4.90], wieght: 3"))
    with pytest.raises(ConfigError) as caught:
        build(config, None, now=NOW)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["4", "7", "13"]
    assert ["wieght" in lines[0], '"fra"' in lines[1], "192.0.2.530" in lines[2]] == [True] * 3


def test_errors_come_before_any_database_is_opened(config: Path) -> None:
    (config.parent / "world.mmdb").unlink()
    with pytest.raises(DatabaseError, match=r"world\.mmdb: No such file or directory"):
        build(config, None, now=NOW)
    config.write_text(CONFIG.replace("{service: www}", "{service: wwww}"))
    with pytest.raises(ConfigError, match="wwww"):
        build(config, None, now=NOW)


@pytest.mark.parametrize("octets", [b"", b"not a database", write_world(WORLD)[:-40]], ids=["empty", "text", "cut"])
def test_unusable_database_is_one_line_that_names_it(config: Path, octets: bytes) -> None:
    (config.parent / "world.mmdb").write_bytes(octets)
    with pytest.raises(DatabaseError) as caught:
        build(config, None, now=NOW)
    assert str(caught.value).startswith(str(config.parent / "world.mmdb"))
    assert "\n" not in str(caught.value)


def test_old_data_are_a_warning_with_a_place(config: Path) -> None:
    built = build(config, None, now=BUILT + 91 * 86400)
    (complaint,) = built.complaints
    assert str(complaint).startswith(f"{config}:2:")
    assert str(complaint).endswith("warning: geoip.database: world.mmdb: the data are of 2026-06-01, 91 days old")
    assert build(config, None, now=BUILT + 90 * 86400).complaints == ()


def test_image_is_written_once_and_found_again(config: Path, folder: Path) -> None:
    first = build(config, folder, now=NOW)
    assert not first.found
    assert first.image is not None
    assert first.image.read_bytes() == first.maps
    assert stat.S_IMODE(first.image.stat().st_mode) == 0o444
    again = build(config, folder, now=NOW)
    assert again.found
    assert (again.maps, again.image, again.complaints) == (first.maps, first.image, ())
    assert [path.name for path in folder.iterdir()] == [first.image.name]


def test_deploy_that_touches_only_records_finds_the_image(config: Path, folder: Path) -> None:
    build(config, folder, now=NOW)
    config.write_text(CONFIG.replace("192.0.2.53", "192.0.2.54"))
    assert build(config, folder, now=NOW).found


@pytest.mark.parametrize("change", ["database", "datacenter", "map"])
def test_whatever_decides_an_order_compiles_again(config: Path, folder: Path, change: str) -> None:
    build(config, folder, now=NOW)
    if change == "database":
        (config.parent / "world.mmdb").write_bytes(
            write_world(WORLD | {"96.0.0.0/8": WORLD["0.0.0.0/2"]}, build_epoch=BUILT)
        )
    elif change == "datacenter":
        config.write_text(CONFIG.replace("52.37", "52.38"))
    else:
        config.write_text(CONFIG + "maps: {world: {rules: [{country: [FR], order: [nyc]}]}}\n")
    assert not build(config, folder, now=NOW).found


@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "swapped", "another layout"])
def test_damaged_image_is_compiled_again_with_a_warning(config: Path, folder: Path, damage: str) -> None:
    first = build(config, folder, now=NOW)
    assert first.image is not None
    octets = bytearray(first.maps)
    octets[-1] ^= 1
    if damage == "swapped":  # a sound image under another's name
        config.write_text(CONFIG.replace("52.37", "12.37"))
        octets = bytearray(build(config, None, now=NOW).maps)
        config.write_text(CONFIG)
    if damage == "another layout":  # of a later version of ours: all that the digest covers is as it should be
        octets[-1] ^= 1
        octets[10:12] = (LAYOUT + 1).to_bytes(2, sys.byteorder)
    first.image.unlink()
    first.image.write_bytes(b"" if damage == "empty" else octets[:-100] if damage == "cut" else octets)
    again = build(config, folder, now=NOW)
    assert not again.found
    assert again.maps == first.maps
    (complaint,) = again.complaints
    assert str(complaint).startswith(f"{first.image}: warning: ")
    assert str(complaint).endswith("; compiled again")
    assert build(config, folder, now=NOW).found, "the damaged file was replaced"


def test_folder_without_room_is_a_warning(config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    built = build(config, folder, now=NOW)
    assert str(built.complaints[0]).startswith(f"{folder}: warning: the compiled maps cannot be kept: No space left")
    assert built.image is None
    assert hand_over(built).maps == built.maps, "then they go through the pipe"
    assert list(folder.iterdir()) == [], "nothing half-written stays"


def test_newest_two_images_are_kept(folder: Path) -> None:
    digests = [bytes((n,)) * 32 for n in range(5)]
    for age, digest in enumerate(digests[:4]):
        os.utime(write_image(folder, digest, b"%d" % age), (1000 + age, 1000 + age))
    assert {path.read_bytes() for path in folder.iterdir()} == {b"2", b"3"}
    assert read_image(folder, digests[2]) == b"2"  # which makes it the youngest
    write_image(folder, digests[4], b"4")
    assert {path.read_bytes() for path in folder.iterdir()} == {b"2", b"4"}
    assert read_image(folder, digests[3]) is None


def test_abandoned_half_written_files_go_and_fresh_ones_stay(folder: Path) -> None:
    old, fresh = folder / ".maps-old.part", folder / ".maps-fresh.part"
    old.touch()
    fresh.touch()
    os.utime(old, (1, 1))
    write_image(folder, bytes(32), b"image")
    assert not old.exists()
    assert fresh.exists(), "another command is writing it"


def test_several_commands_at_once_leave_one_whole_image(config: Path, folder: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from geodns.compiler.build import build
built = build(Path({str(config)!r}), Path({str(folder)!r}), now={NOW})
assert built.image.read_bytes() == built.maps
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    (only,) = folder.iterdir()
    assert only.read_bytes() == build(config, None, now=NOW).maps


def test_state_written_down_must_be_had(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert find_state(Server(state=wanted), {}) == (wanted, "")
    assert wanted.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"^server\.state: .*file/below: cannot be made: Not a directory$"):
        find_state(Server(state=tmp_path / "file" / "below"), {})


def test_state_by_default_is_only_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "given"
    assert find_state(Server(), {"STATE_DIRECTORY": f"{given}:/other"}) == (given, "")
    monkeypatch.setattr(images, "USUAL_STATE", tmp_path / "usual")
    state, warning = find_state(Server(), {})
    assert state is None
    assert warning.startswith(f"no state directory: {tmp_path}/usual: there is no such directory; ")
    (tmp_path / "usual").mkdir()
    assert find_state(Server(), {}) == (tmp_path / "usual", "")


def test_images_lie_in_the_state_else_in_the_cache(tmp_path: Path) -> None:
    state, cache = tmp_path / "state", tmp_path / "cache"
    environ = {"XDG_CACHE_HOME": str(cache), "HOME": str(tmp_path)}
    assert find_images(state, environ) == state / "images"
    assert find_images(None, environ) == cache / "geodns"
    assert find_images(None, {"HOME": str(tmp_path)}) == tmp_path / ".cache" / "geodns"
    (tmp_path / "file").touch()
    assert find_images(tmp_path / "file", environ) == cache / "geodns", "a state that cannot be used"
    assert find_images(None, {}) is None


def test_serials_are_remembered_and_never_go_back(config: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    assert read_serials(None) == read_serials(state) == {}
    served = find_serials(assemble(build(config, None, now=NOW)).zones.zones)
    assert served.keys() == {"example.com."}
    assert served["example.com."] == int(config.stat().st_mtime)
    write_serials(state, served)
    write_serials(state, {"other.example.": 7})
    assert read_serials(state) == served | {"other.example.": 7}
    os.utime(config, (1000, 1000))
    again = assemble(build(config, None, read_serials(state), now=NOW)).zones.zones
    assert find_serials(again) == served


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a.": "x", "b.": -1, "c.": true, "d.": 4294967296}'])
def test_damaged_serials_count_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "serials.json").write_text(text)
    assert read_serials(tmp_path) == {}


def test_handover_survives_the_pipe_and_has_no_zones(config: Path, folder: Path) -> None:
    built = build(config, folder, now=NOW)
    handed = unpack(pack(hand_over(built)))
    assert isinstance(handed, Handover)
    assert handed.config == built.loaded.config.model_copy(update={"zones": {}})
    assert (handed.maps, handed.zones, handed.maps_digest) == (built.image, built.zones, built.digest)
    assert handed.summary == "1 zone, 1 service, 2 datacenters; maps compiled"


@pytest.mark.parametrize("octets", [b"", pack(Refusal(("no",), 1))[:-3], b"\x80\x05K\x01."])
def test_handover_that_is_cut_off_is_an_error(octets: bytes) -> None:
    with pytest.raises(GeodnsError, match="the compiler handed over"):
        unpack(octets)


def compile_now(path: Path, images: Path | None = None, limit: float = 60.0) -> Handover | Refusal:
    return asyncio.run(compile_in_child(path, None, images, limit=limit))


def test_child_hands_over_what_build_makes(config: Path, folder: Path) -> None:
    handed = compile_now(config, folder)
    built = build(config, folder)
    assert isinstance(handed, Handover)
    assert (handed.zones, handed.maps, handed.maps_digest) == (built.zones, built.image, built.digest)
    without = compile_now(config)
    assert isinstance(without, Handover)
    assert without.maps == built.maps


def test_child_refuses_with_every_line(config: Path) -> None:
    config.write_text(CONFIG.replace("{service: www}", "{service: wwww}") + "extra: 1\n")
    refused = compile_now(config)
    assert isinstance(refused, Refusal)
    with pytest.raises(ConfigError) as caught:
        build(config, None)
    assert refused == refuse(caught.value)
    assert refused.problems == len(refused.lines) == 2


def test_child_that_takes_too_long_is_stopped(config: Path) -> None:
    os.mkfifo(config.parent / "slow.mmdb")  # opening it waits for a writer that never comes
    config.write_text(CONFIG.replace("world.mmdb", "slow.mmdb"))
    began = time.monotonic()
    refused = compile_now(config, limit=0.5)
    assert refused == Refusal(("compiling took more than 0.5 s and was stopped",), 1)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("nice", "more"), [(True, 10), (False, 0)])
def test_child_is_as_nice_as_it_is_told(config: Path, nice: bool, more: int) -> None:
    os.mkfifo(config.parent / "slow.mmdb")
    config.write_text(CONFIG.replace("world.mmdb", "slow.mmdb"))
    own = os.getpriority(os.PRIO_PROCESS, 0)

    async def find_niceness() -> int:
        compiling = asyncio.create_task(compile_in_child(config, None, None, nice=nice))
        writer = await open_for_reader(config.parent / "slow.mmdb", compiling)
        try:
            (child,) = find_children("geodns.compiler")
            assert os.getsid(child) == os.getsid(0), "niceness counts for nothing between sessions"
            assert os.getpgid(child) == child, "^C must not end it before us"
            return os.getpriority(os.PRIO_PROCESS, child) - own
        finally:
            compiling.cancel()
            await asyncio.wait([compiling])
            os.close(writer)

    assert asyncio.run(find_niceness()) == min(more, 19 - own)


async def open_for_reader(path: Path, reading: asyncio.Task[Any]) -> int:
    """Open *path*, a FIFO, as soon as somebody reads it."""
    while not reading.done():
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            await asyncio.sleep(0.02)
    raise AssertionError(reading.result())


def find_children(word: str) -> list[int]:
    """Our children with *word* on their command line."""
    children = [child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()]
    return [int(child) for child in children if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_child_that_is_killed_is_a_refusal(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    suicide = tmp_path / "interpreter"
    suicide.write_text("#!/bin/sh\nkill -9 $$\n")
    suicide.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(suicide))
    assert compile_now(config) == Refusal(("the compiler was killed by SIGKILL (out of memory?)",), 1)
    suicide.write_text("#!/bin/sh\nexit 3\n")
    assert compile_now(config) == Refusal(("the compiler ended with status 3",), 1)
    suicide.write_text("#!/bin/sh\necho nonsense\n")
    refused = compile_now(config)
    assert isinstance(refused, Refusal)
    assert refused.lines[0].startswith("the compiler handed over 9 octets that are not whole: ")
    suicide.chmod(0o644)
    assert compile_now(config) == Refusal((f"cannot start the compiler, {suicide}: Permission denied",), 1)


def test_child_ends_with_its_parent(config: Path) -> None:
    """The parent is killed outright while the child waits for a database that never comes."""
    os.mkfifo(config.parent / "slow.mmdb")
    config.write_text(CONFIG.replace("world.mmdb", "slow.mmdb"))
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "geodns.compiler", {str(config)!r}], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.01)


def is_running(process: int) -> bool:
    """Is there such a process, and is it more than an entry that nobody has waited for?"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_image_path_names_the_digest(folder: Path) -> None:
    assert image_path(folder, b"\xab" * 32) == folder / f"maps-{'ab' * 32}.img"
