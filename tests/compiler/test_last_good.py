"""The last good configuration: what was read is what is kept, a complete one at every moment, damage is refused."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import pwd
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.world import write_world

from geodns.compiler import child, last_good
from geodns.compiler.build import Built, build
from geodns.compiler.child import compile_in_child
from geodns.compiler.handover import Handover, Old, Refusal, unpack
from geodns.compiler.last_good import FOLDER, MANIFEST, find, keep, open_kept, stage
from geodns.config.files import Disk
from geodns.errors import ConfigError

MAIN = """
server: {listen: ["127.0.0.1:5300"]}
geoip: {database: world.mmdb, networks_file: more/networks.yaml}
datacenters:
  ams: {coordinates: [52.37, 4.90]}
  nyc: {coordinates: [40.71, -74.01]}
include: conf.d/*.yaml
"""
FILES = {
    "geodns.yaml": MAIN,
    "conf.d/services.yaml": "services: {www: {check: off, pools: {ams: [192.0.2.1], nyc: [192.0.2.2]}}}\n",
    "conf.d/zones.yaml": "zones: {example.com: {file: ../zones/example.com.zone, records: {www: {service: www}}}}\n",
    "more/networks.yaml": "203.0.113.0/24: {datacenter: ams}\n",
    "zones/example.com.zone": "$TTL 60\n@ NS ns1\nns1 A 192.0.2.53\n$INCLUDE hosts.inc\n",
    "zones/hosts.inc": "a A 192.0.2.7 ; f\xfcr alle\n",
}
FRANCE = {"0.0.0.0/1": {"country": "FR", "continent": "EU", "coordinates": [48.0, 2.0]}}
AMERICA = {"0.0.0.0/1": {"country": "US", "continent": "NA", "coordinates": [40.0, -75.0]}}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration of six files in `site/`, its database, and an empty `state/`; the path of its main file."""
    for name, text in FILES.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
        os.utime(path, (1_700_000_000, 1_700_000_000))
    (tmp_path / "site" / "world.mmdb").write_bytes(write_world(FRANCE, build_epoch=int(time.time())))
    (tmp_path / "state").mkdir()
    return tmp_path / "site" / "geodns.yaml"


def state_of(site: Path) -> Path:
    return site.parents[1] / "state"


def keep_now(site: Path) -> Built:
    """Compile, and make it the last good configuration."""
    disk = Disk()
    built = build(site, None, files=disk)
    keep(state_of(site), stage(disk, site, state_of(site), os.getpid()))
    return built


def compile_now(site: Path, *, last_good: bool = False, old: Old | None = None) -> Handover | Refusal:
    return asyncio.run(compile_in_child(site, state_of(site), None, last_good=last_good, old=old))


def lines_of(outcome: Handover | Refusal) -> list[str]:
    assert isinstance(outcome, Handover), outcome
    return [str(complaint) for complaint in outcome.complaints]


def test_the_copies_compile_to_the_same_without_any_original(site: Path) -> None:
    built = keep_now(site)
    for name in FILES:
        (site.parent / name).unlink()
    shutil.rmtree(site.parent / "conf.d")
    folder = find(state_of(site))
    assert folder == state_of(site) / FOLDER
    kept = open_kept(folder, site)
    again = build(site, None, files=kept)
    assert (again.zones, again.maps, again.loaded.config) == (built.zones, built.maps, built.loaded.config)
    assert again.loaded.files == built.loaded.files
    assert list(kept.taken) == [
        site,
        site.parent / "conf.d" / "services.yaml",
        site.parent / "conf.d" / "zones.yaml",
        site.parent / "more" / "networks.yaml",
        site.parent / "conf.d" / "../zones/example.com.zone",
        site.parent / "conf.d" / "../zones/hosts.inc",
    ]


def test_a_relative_path_is_found_again_from_another_folder(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.parent)
    disk = Disk()
    built = build(Path("geodns.yaml"), None, files=disk)
    keep(state_of(site), stage(disk, Path("geodns.yaml"), state_of(site), 1))
    monkeypatch.chdir("/")
    site.unlink()
    kept = open_kept(state_of(site) / FOLDER, site)
    again = build(kept.main, None, files=kept)
    assert (again.zones, again.maps) == (built.zones, built.maps)


def test_complaints_about_copies_name_the_originals(site: Path) -> None:
    with (site.parent / "zones" / "hosts.inc").open("a") as file:
        file.write("a A 192.0.2.7\n")
    built = keep_now(site)
    (complaint,) = built.complaints
    site.unlink()
    (again,) = build(site, None, files=open_kept(state_of(site) / FOLDER)).complaints
    assert str(again) == str(complaint)
    assert str(again).startswith(f"{site.parent}/conf.d/../zones/hosts.inc:2: warning: a.example.com. A stands twice")


def test_what_was_read_is_kept_and_not_what_stands_there_later(site: Path) -> None:
    disk = Disk()
    build(site, None, files=disk)
    for name in FILES:
        (site.parent / name).write_text("half a fi")
    keep(state_of(site), stage(disk, site, state_of(site), 1))
    kept = open_kept(state_of(site) / FOLDER, site)
    assert [taken.octets for taken in kept.taken.values()] == [text.encode("latin-1") for text in FILES.values()]
    assert {taken.changed for taken in kept.taken.values()} == {1_700_000_000}, "serials come from it"


def test_nobody_else_may_read_the_copies(site: Path) -> None:
    keep_now(site)
    folder = state_of(site) / FOLDER
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == len(FILES) + 1


def test_the_newer_one_takes_the_place_of_the_older(site: Path) -> None:
    keep_now(site)
    (site.parent / "zones" / "hosts.inc").write_text("c A 192.0.2.8\n")
    built = keep_now(site)
    assert build(site, None, files=open_kept(state_of(site) / FOLDER, site)).zones == built.zones
    assert [path.name for path in state_of(site).iterdir()] == [FOLDER]


class Crash(BaseException):
    """The machine stops here."""


def crashing(calls: list[str], stop_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the *stop_at*-th step of `keep` never happen."""

    def wrap(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def step(*arguments: object, **options: object) -> object:
            if len(calls) == stop_at:
                raise Crash
            calls.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, step)

    wrap(Path, "rename")
    wrap(shutil, "rmtree")
    wrap(last_good, "_sync")


@pytest.mark.parametrize("stop_at", range(6))
def test_there_is_a_complete_one_after_a_crash_at_every_step(
    site: Path, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one can be kept after it."""
    first = keep_now(site)
    (site.parent / "zones" / "hosts.inc").write_text("c A 192.0.2.8\n")
    disk = Disk()
    second = build(site, None, files=disk)
    staged = stage(disk, site, state_of(site), 1)
    calls: list[str] = []
    with monkeypatch.context() as patch:
        crashing(calls, stop_at, patch)
        try:
            keep(state_of(site), staged)
        except Crash:
            assert len(calls) == stop_at
        else:
            assert calls == ["rmtree", "rename", "rename", "_sync", "rmtree"][:stop_at] and stop_at == 5
    folder = find(state_of(site))
    assert folder is not None
    zones = build(site, None, files=open_kept(folder, site)).zones
    assert zones == (first.zones if stop_at < 3 else second.zones)
    assert keep_now(site).zones == second.zones
    assert find(state_of(site)) == state_of(site) / FOLDER


def test_a_folder_that_cannot_be_put_in_place_leaves_the_one_before(site: Path) -> None:
    first = keep_now(site)
    with pytest.raises(FileNotFoundError):
        keep(state_of(site), state_of(site) / "never-staged")
    assert build(site, None, files=open_kept(state_of(site) / FOLDER, site)).zones == first.zones


def damages(folder: Path) -> Iterator[tuple[Path, bytes | None]]:
    """Every file of *folder*: gone, empty, cut off, with one octet flipped."""
    chance = random.Random(7)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        for octets in (None, b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", bytes(flipped)):
            yield path, octets


def test_every_damage_is_refused_in_one_line_that_names_the_folder(site: Path) -> None:
    keep_now(site)
    folder = state_of(site) / FOLDER
    for path, octets in list(damages(folder)):
        whole = path.read_bytes()
        path.unlink()
        if octets is not None:
            path.write_bytes(octets)
        with pytest.raises(ConfigError) as caught:
            open_kept(folder, site)
        (complaint,) = caught.value.complaints
        expected = "No such file or directory" if octets is None else "damaged: "
        assert str(complaint).startswith(f"{folder}: ")
        assert expected in str(complaint), (path.name, octets, str(complaint))
        path.write_bytes(whole)
    open_kept(folder, site)


@pytest.mark.parametrize("swap", ["link", "folder", "pipe"])
def test_copies_that_are_no_files_are_refused_without_opening_them(site: Path, swap: str) -> None:
    keep_now(site)
    folder = state_of(site) / FOLDER
    copy = next(folder.glob("00001-*"))
    copy.rename(folder / "elsewhere")
    if swap == "link":
        copy.symlink_to("elsewhere")
    elif swap == "folder":
        copy.mkdir()
    else:
        os.mkfifo(copy)
    with pytest.raises(ConfigError, match=f"{folder}: (damaged|cannot be read)"):
        open_kept(folder, site)


@pytest.mark.parametrize(
    "content", [[], {}, {"main": 1}, {"main": "/a", "files": 3}, {"main": "/a", "files": [{}]}, 7, None]
)
def test_a_manifest_of_another_shape_is_refused(site: Path, content: Any) -> None:
    keep_now(site)
    folder = state_of(site) / FOLDER
    (folder / MANIFEST).write_bytes(last_good._seal(content))
    with pytest.raises(ConfigError, match="damaged"):
        open_kept(folder)


def test_copies_outside_of_the_folder_are_refused(site: Path) -> None:
    keep_now(site)
    folder = state_of(site) / FOLDER
    content = json.loads((folder / MANIFEST).read_bytes())["content"]
    content["files"][0]["copy"] = "../../site/geodns.yaml"
    (folder / MANIFEST).write_bytes(last_good._seal(content))
    with pytest.raises(ConfigError, match="is no name of a copy"):
        open_kept(folder)


def test_a_form_of_another_version_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_now(site)
    monkeypatch.setattr(last_good, "FORM", 2)
    with pytest.raises(ConfigError, match="is of form 1, this version reads 2; the last good configuration is lost"):
        open_kept(state_of(site) / FOLDER)


def test_that_of_another_configuration_is_refused(site: Path) -> None:
    keep_now(site)
    with pytest.raises(ConfigError, match=f"was made from {site}, not from /etc/geodns/geodns.yaml"):
        open_kept(state_of(site) / FOLDER, Path("/etc/geodns/geodns.yaml"))


def test_a_full_disk_leaves_the_one_before_and_nothing_behind(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = keep_now(site)
    (site.parent / "zones" / "hosts.inc").write_text("c A 192.0.2.8\n")
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    disk = Disk()
    build(site, None, files=disk)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        stage(disk, site, state_of(site), 1)
    assert [path.name for path in state_of(site).iterdir()] == [FOLDER]
    assert build(site, None, files=open_kept(state_of(site) / FOLDER, site)).zones == first.zones


@pytest.fixture
def small_disk(site: Path) -> Iterator[Path]:
    """The state directory on a file system of 128 KiB."""
    state = state_of(site)
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(state)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield state
    subprocess.run(["umount", str(state)], check=True)


def test_a_disk_that_is_really_full_leaves_the_one_before(site: Path, small_disk: Path) -> None:
    first = keep_now(site)
    (site.parent / "zones" / "hosts.inc").write_text("".join(f"h{i} A 192.0.2.1\n" for i in range(10_000)))
    outcome = compile_now(site)
    assert lines_of(outcome) == [
        f"{small_disk / FOLDER}: warning: this configuration cannot be kept as the last good one: No space left on device; "
        "the one before stays"
    ]
    assert [path.name for path in small_disk.iterdir()] == [FOLDER]
    assert build(site, None, files=open_kept(small_disk / FOLDER, site)).zones == first.zones
    (site.parent / "zones" / "hosts.inc").write_text("c A 192.0.2.8\n")
    outcome = compile_now(site)
    assert isinstance(outcome, Handover)
    assert outcome.staged is not None, "there is room for what is small"


def test_more_than_may_be_held_is_not_staged(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geodns.config.files.KEPT_MOST", 100)
    disk = Disk()
    build(site, None, files=disk)
    with pytest.raises(OSError, match=r"geodns\.yaml makes it too large"):
        stage(disk, site, state_of(site), 1)
    assert list(state_of(site).iterdir()) == []


def test_what_was_staged_and_never_kept_goes(site: Path) -> None:
    """One folder for each daemon, and those of daemons that are gone for an hour."""
    disk = Disk()
    build(site, None, files=disk)
    ours, others, old = (stage(disk, site, state_of(site), owner) for owner in (1, 2, 3))
    os.utime(old, (time.time() - 4000,) * 2)
    assert stage(disk, site, state_of(site), 1) == ours
    assert sorted(state_of(site).iterdir()) == sorted([ours, others])


# In the compiler's own process


def test_the_child_stages_what_it_compiled_and_tells_what_it_read(site: Path) -> None:
    outcome = compile_now(site)
    assert isinstance(outcome, Handover)
    assert outcome.staged is not None
    assert outcome.files == tuple(open_kept(outcome.staged, site).taken)
    assert outcome.folders == (site.parent / "conf.d",)
    assert outcome.databases == (site.parent / "world.mmdb",)
    assert len(outcome.digest) == 64
    assert not outcome.last_good
    assert find(state_of(site)) is None, "only what is published is the last good one"


def test_the_main_thread_does_not_unpack(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand members take 100 ms; queries do not wait for that, and the collector is as it was afterwards."""
    threads: list[threading.Thread] = []

    def watched(octets: bytes) -> Handover | Refusal:
        threads.append(threading.current_thread())
        assert not gc.isenabled(), "one look at what is half built would stop all threads"
        return unpack(octets)

    monkeypatch.setattr(child, "unpack", watched)
    assert isinstance(compile_now(site), Handover)
    assert threads != [threading.main_thread()]
    assert gc.isenabled()


def test_half_a_configuration_is_served_from_the_copies_loudly(site: Path) -> None:
    keep_now(site)
    (site.parent / "conf.d" / "zones.yaml").write_text(FILES["conf.d/zones.yaml"][:40])
    refused = compile_now(site)
    assert isinstance(refused, Refusal)
    assert "zones.yaml" in refused.lines[0]
    outcome = compile_now(site, last_good=True)
    assert isinstance(outcome, Handover)
    assert outcome.last_good
    assert outcome.staged is None
    kept = open_kept(state_of(site) / FOLDER)
    assert lines_of(outcome) == [
        f"{kept.folder}: warning: the last good configuration, of {kept.when}, is served until {site} is mended and reloaded"
    ]


@pytest.mark.parametrize("fault", ["gone", "folder"])
def test_whatever_the_original_has_become(site: Path, fault: str) -> None:
    built = keep_now(site)
    site.unlink()
    if fault == "folder":
        site.mkdir()
    assert isinstance(compile_now(site), Refusal)
    outcome = compile_now(site, last_good=True)
    assert isinstance(outcome, Handover)
    assert outcome.zones == built.zones


def compile_as_nobody(site: Path, *options: str) -> Handover | Refusal:
    """What the compiler's process hands over when it is run by a user who owns the state and nothing else."""
    # The interpreter and its modules may lie where nobody else may look: it compiles once before it changes users.
    code = """
import os, sys
from pathlib import Path
from geodns.compiler import __main__, work
work.compile_files(Path(sys.argv[1]), None, None, {}, None)
user = int(sys.argv.pop())
os.setresuid(user, user, user)
__main__.main()
"""
    arguments = [str(site), f"--state={state_of(site)}", *options, str(pwd.getpwnam("nobody").pw_uid)]
    command = [sys.executable, "-P", "-c", code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        return unpack(process.stdout.read())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_permission_that_was_lost_with_the_privileges(site: Path) -> None:
    """An editor leaves the configuration readable for root alone: the copies are the daemon's own."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others
        shutil.copytree(site.parents[1], name, dirs_exist_ok=True)
        Path(name).chmod(0o755)
        site = Path(name, "site", "geodns.yaml")
        shutil.chown(state_of(site), "nobody")
        first = compile_as_nobody(site)
        assert isinstance(first, Handover)
        assert first.staged is not None
        keep(state_of(site), first.staged)
        site.chmod(0o600)
        assert compile_as_nobody(site) == Refusal((f"{site}: cannot be read: Permission denied",), 1)
        again = compile_as_nobody(site, "--last-good")
        assert isinstance(again, Handover)
        assert again.zones == first.zones


def test_without_copies_or_state_it_is_a_refusal_that_says_so(site: Path) -> None:
    refused = compile_now(site, last_good=True)
    assert refused == Refusal((f"{site}: there is no last good configuration in {state_of(site)}",), 1)
    refused = asyncio.run(compile_in_child(site, None, None, last_good=True))
    assert refused == Refusal((f"{site}: no state directory, so no last good configuration",), 1)


def test_a_damaged_copy_is_a_refusal_of_the_child(site: Path) -> None:
    keep_now(site)
    next((state_of(site) / FOLDER).glob("00003-*")).write_bytes(b"zones:")
    refused = compile_now(site, last_good=True)
    assert isinstance(refused, Refusal)
    assert "damaged: 00003-zones.yaml is cut off, 6 of " in refused.lines[0]


def test_a_state_that_cannot_be_written_is_a_warning_and_the_load_goes_on(site: Path) -> None:
    shutil.rmtree(state_of(site))
    state_of(site).write_text("a file in place of a folder")
    outcome = compile_now(site)
    assert lines_of(outcome) == [
        f"{state_of(site) / FOLDER}: warning: this configuration cannot be kept as the last good one: Not a directory; "
        "the one before stays"
    ]
    assert isinstance(outcome, Handover)
    assert outcome.staged is None


def test_the_child_compares_with_what_is_served(site: Path) -> None:
    first = compile_now(site)
    assert isinstance(first, Handover)
    same = compile_now(site, old=first.old)
    assert isinstance(same, Handover)
    assert same.comparison is not None
    assert same.comparison.worst == 0
    (site.parent / "world.mmdb").write_bytes(write_world(AMERICA, build_epoch=int(time.time())))
    moved = compile_now(site, old=first.old)
    assert isinstance(moved, Handover)
    assert moved.comparison is not None
    (service,) = moved.comparison.services
    assert service.service == "www"
    assert {(move.source, move.target) for move in service.moves} == {("ams", "nyc")}
    assert 0.99 < moved.comparison.worst < 1, "all but 203.0.113.0/24, which is corrected"


def test_an_image_that_is_gone_costs_the_comparison_alone(site: Path, tmp_path: Path) -> None:
    first = compile_now(site)
    assert isinstance(first, Handover)
    outcome = compile_now(site, old=Old(first.packed, tmp_path / "gone.img"))
    assert isinstance(outcome, Handover)
    assert outcome.comparison is None
    assert lines_of(outcome) == [
        f"{site}: warning: what is served cannot be compared with: {tmp_path}/gone.img: No such file or directory"
    ]


def test_what_is_compared_with_may_be_larger_than_a_pipe(site: Path) -> None:
    first = compile_now(site)
    assert isinstance(first, Handover)
    assert isinstance(first.maps, bytes)
    larger = Old(first.packed, first.maps + bytes(1 << 20))
    outcome = compile_now(site, old=larger)
    assert isinstance(outcome, Handover)
    assert outcome.comparison is None, "too long for a block: it came over whole and was verified"
