"""Flips in a real event loop: how soon and how often they are published, what is kept, and that queries are answered."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import logging
import os
import random
import resource
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.world import write_world

from geodns import engine, publish
from geodns import flips as flips_module
from geodns.answer import Settings, answer
from geodns.compiler.build import Built, assemble, build
from geodns.compiler.choices import build_choices, build_pool
from geodns.engine import Native
from geodns.errors import ControlError
from geodns.flips import PACE, Flips, is_told, moment
from geodns.health.overrides import Override
from geodns.health.state import Health, Outcome, Verdict
from geodns.health.store import load_states, save_overrides
from geodns.health.targets import Plan, Target, build_targets
from geodns.server.listen import Bound, bind_all
from geodns.server.udp import UdpReader
from geodns.settings import make_settings
from geodns.slices import at_once
from geodns.snapshot import Choices, Pool, PoolPlan, Snapshot

if TYPE_CHECKING:
    from geodns.server.native_udp import NativeReader

POOLS, MEMBERS = 50, 10
PATIENCE = 10.0  # seconds until something that was waited for has failed
QUERY = b"\0\7\1\0\0\1\0\0\0\0\0\0\2w0\7example\3com\0\0\1\0\1"
Scene = tuple[Built, Snapshot, Plan]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Fifty services in one datacenter, ten members each, all watched; compiled once."""
    folder = tmp_path_factory.mktemp("flips")
    (folder / "world.mmdb").write_bytes(write_world({"0.0.0.0/1": {"country": "US", "coordinates": [40.0, -75.0]}}))
    services = "\n".join(
        f"  w{pool}: {{check: web, pools: {{nyc: [{', '.join(f'10.0.{pool}.{one}' for one in range(MEMBERS))}]}}}}"
        for pool in range(POOLS)
    )
    records = ", ".join(f"w{pool}: {{service: w{pool}}}" for pool in range(POOLS))
    (folder / "geodns.yaml").write_text(f"""
geoip: {{database: world.mmdb}}
datacenters: {{nyc: {{coordinates: [40, -74]}}}}
checks: {{web: {{type: tcp, port: 80, rise: 1, fall: 1}}}}
services:
{services}
zones: {{example.com: {{ns: [ns1.example.net.], records: {{{records}}}}}}}
""")
    built = build(folder / "geodns.yaml", None)
    return built, assemble(built), build_targets(built.loaded.config)


@pytest.fixture(params=["pure", "native"])
def native(request: pytest.FixtureRequest) -> Native | None:
    """The engine that answers; None: the reference."""
    if request.param == "pure":
        return None
    found, trouble = engine.find()
    if found is None and not trouble and not shutil.which(os.environ.get("CC", "cc")):
        pytest.skip("no compiler, so no native engine")
    assert found is not None, trouble or "with a compiler it must have been built"
    return found


class Running:
    """Flips of a scene that is served, and everything that was published: when, and what."""

    def __init__(self, flips: Flips, scene: Scene) -> None:
        self.flips, (_, self.snapshot, self.plan) = flips, scene
        self.published: list[tuple[float, Snapshot]] = []
        flips.told = lambda snapshot: self.published.append((time.monotonic(), snapshot))
        self.targets = tuple(self.plan.targets.values())

    def say(self, targets: Iterable[Target], verdict: Verdict) -> None:
        self.flips.hear([Outcome(one.key, verdict, True, "it said", 0.001) for one in targets])

    async def idle(self) -> None:
        """Until the pace allows a publish at once again."""
        await self.until(lambda: not self.published or time.monotonic() > self.published[-1][0] + 2 * PACE)

    @staticmethod
    async def until(found: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not found():
            assert time.monotonic() < deadline, "waited in vain"
            await asyncio.sleep(0.002)

    def settled(self) -> bool:
        """Is the health that is known in the answers?"""
        assert publish.current is not None
        current = publish.current.snapshot
        return current.choices == build_choices(current.zones, self.flips.roster.health())


@asynccontextmanager
async def running(scene: Scene, state: Path | None = None, native: Native | None = None) -> AsyncIterator[Running]:
    """Everybody is up and served, by *native* if it is given; nothing probes."""
    built, snapshot, plan = scene
    flips = await Flips.open(state, native)
    run = Running(flips, scene)
    flips.start(keep=True)
    names = await flips.roots.open(snapshot.maps, built.zones)
    async with flips.replacing():
        flips.publish(snapshot, at_once(flips.roots.finish(names, snapshot.choices, snapshot.zones)))
        flips.adopt(plan, built.loaded.config.health, snapshot.zones.pools)
    run.say(run.targets, Verdict.UP)
    await run.until(run.settled)
    await run.idle()
    run.published.clear()
    try:
        yield run
    finally:
        await flips.stop()


def in_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Run *work* to its end; whatever is left over fails."""

    async def run() -> None:
        await asyncio.wait_for(work(), 6 * PATIENCE)

    asyncio.run(run())


def test_a_lone_flip_is_in_the_answers_at_once(scene: Scene, native: Native | None) -> None:
    """Five milliseconds is the aim (bench/flips.py has the figures); here the bound is for machines that are busy."""

    async def work() -> None:
        async with running(scene, native=native) as run:
            took = []
            for number in range(10):
                await run.idle()
                began = time.monotonic()
                run.say(run.targets[number : number + 1], Verdict.DOWN)
                await run.until(lambda: len(run.published) == number + 1)  # noqa: B023 - waited for at once
                took.append(run.published[-1][0] - began)
            print("hear to publish:", ", ".join(f"{1e3 * one:.2f}" for one in sorted(took)), "ms")
            assert sorted(took)[5] < 0.05

    in_loop(work)


def test_always_at_most_ten_publishes_a_second_and_the_last_state_at_the_end(scene: Scene, native: Native | None) -> None:
    """A thousand flips a second, drawn by chance, with queries answered all the while."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)

    async def work() -> None:
        async with running(scene, native=native) as run, asking(scene[0], native) as asked:
            flipped, began = 0, time.monotonic()
            down: set[str] = set()
            while (now := time.monotonic()) < began + 2:
                while flipped < (now - began) * 1000:
                    target = rng.choice(run.targets)
                    run.say([target], Verdict.UP if target.key in down else Verdict.DOWN)
                    down ^= {target.key}
                    flipped += 1
                await asyncio.sleep(0.001)
            await run.until(run.settled)
            times = [when for when, _ in run.published]
            assert flipped > 1000
            assert len(times) <= 2 / PACE + 2
            assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.95 * PACE
            assert len(times) >= 5, "a storm does not hold publishing up either"
            assert asked.sent - asked.answered <= 1, "but for the one under way"
            assert asked.sent > 50
            print(f"{flipped} flips, {len(times)} publishes, slowest answer {1e3 * asked.slowest:.1f} ms")

    in_loop(work)


class Asked:
    """Queries to the loop's own reader, one after the other."""

    def __init__(self) -> None:
        self.sent, self.answered, self.slowest = 0, 0, 0.0


@asynccontextmanager
async def asking(built: Built, native: Native | None = None) -> AsyncIterator[Asked]:
    (bound,) = bind_all([("127.0.0.1", 0)])
    loop, asked = asyncio.get_running_loop(), Asked()
    reader = open_reader(bound, make_settings(built.loaded.config.server), native)
    reader.start(loop)

    async def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            one.connect(("127.0.0.1", bound.port))
            while True:
                began = time.monotonic()
                asked.sent += 1
                await loop.sock_sendall(one, QUERY)
                reply = await loop.sock_recv(one, 512)
                assert reply[:2] == QUERY[:2] and reply[3] & 15 == 0
                asked.answered += 1
                asked.slowest = max(asked.slowest, time.monotonic() - began)
                await asyncio.sleep(0.002)

    task = asyncio.create_task(ask())
    try:
        yield asked
    finally:
        assert not task.done(), "an answer was wrong"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        reader.stop()
        bound.close()


def open_reader(bound: Bound, settings: Settings, native: Native | None) -> UdpReader | NativeReader:
    """As the daemon reads with that engine."""
    if native is None:
        return UdpReader(bound, answer, settings)
    from geodns.server.native_udp import NativeReader

    return NativeReader(bound, answer, settings)


def test_only_what_was_touched_is_another_object(scene: Scene) -> None:
    async def work() -> None:
        async with running(scene) as run:
            before = publish.current
            run.say(run.targets[:1], Verdict.DOWN)
            await run.until(lambda: run.published)
            after = publish.current
            assert before is not None and after is not None
            pairs = zip(before.snapshot.choices.pools, after.snapshot.choices.pools, strict=True)
            assert [number for number, (old, new) in enumerate(pairs) if old is not new] == [0]
            assert after.snapshot.zones is before.snapshot.zones
            assert after.counters is before.counters

    in_loop(work)


def test_while_a_load_replaces_the_snapshot_flips_wait_and_come_after(scene: Scene) -> None:
    async def work() -> None:
        async with running(scene) as run:
            async with run.flips.replacing():
                run.say(run.targets[:1], Verdict.DOWN)
                await asyncio.sleep(3 * PACE)
                assert not run.published
            await run.until(lambda: run.published)
            assert run.settled()

    in_loop(work)


def test_an_override_is_answered_and_kept_when_put_returns(scene: Scene, tmp_path: Path) -> None:
    async def work() -> None:
        async with running(scene, tmp_path) as run:
            await run.flips.put(Override("w0/nyc", "drain", "rob", "test", time.time(), time.time() + 60))
            assert run.published
            assert run.settled()
            assert [one["target"] for one in saved(tmp_path, "overrides")] == ["w0/nyc"]
            await run.flips.end("w0/nyc", ("drain",))
            assert run.settled()
            assert saved(tmp_path, "overrides") == []

    in_loop(work)


def test_an_override_at_the_end_is_kept_or_refused_never_lost(scene: Scene, tmp_path: Path) -> None:
    """A successor reads the file once we have stopped; what comes later would be written over its head."""

    async def work() -> None:
        async with running(scene, tmp_path) as run:
            late = Override("w0/nyc", "drain", "rob", "test", time.time(), None)
            async with run.flips.replacing():  # so that it is not published in time
                putting = asyncio.create_task(run.flips.put(late))
                await asyncio.sleep(2 * PACE)
                assert not putting.done()
                await run.flips.stop()
            assert [one["target"] for one in saved(tmp_path, "overrides")] == ["w0/nyc"]
            (tmp_path / "overrides.json").unlink()
            await putting
            with pytest.raises(ControlError, match="this process is ending"):
                await run.flips.put(late)
            with pytest.raises(ControlError, match="this process is ending"):
                await run.flips.end("w0/nyc", ("drain",))
            assert not (tmp_path / "overrides.json").exists()

    in_loop(work)


def test_what_a_predecessor_put_and_ended_is_inherited_but_not_a_damaged_file(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = time.time()
    old, kept, new = (Override(f"w{number}/nyc", "drain", "rob", "test", now, None) for number in range(3))

    async def work() -> None:
        save_overrides(tmp_path, (old, kept), now)
        async with running(scene, tmp_path) as run:
            save_overrides(tmp_path, (kept, new), now)
            await run.flips.inherit()
            assert set(run.flips.roster.overrides) == {kept, new}
            (tmp_path / "overrides.json").write_text("{")
            await run.flips.inherit()
            assert set(run.flips.roster.overrides) == {kept, new}
            assert "cut off or damaged" in caplog.text

    in_loop(work)


def saved(folder: Path, kind: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / f"{kind}.json").read_text())[kind]
    return found


def test_a_flip_is_kept_soon_and_everything_at_the_end(scene: Scene, tmp_path: Path) -> None:
    async def work() -> None:
        async with running(scene, tmp_path) as run:
            run.say(run.targets[:3], Verdict.DOWN)
            await run.until(lambda: (tmp_path / "states.json").exists() and count_down() == 3)
            run.say(run.targets[3:4], Verdict.DOWN)
        assert count_down() == 4

    def count_down() -> int:
        states, warnings = load_states(tmp_path, time.time())
        assert not warnings
        return sum(one.state.verdict is Verdict.DOWN for one in states)

    in_loop(work)


def test_a_disk_that_is_full_loses_nothing_that_was_saved_and_is_said(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files may not grow beyond what they are: the operating system says EFBIG where a full disk says ENOSPC."""

    async def work() -> None:
        async with running(scene, tmp_path) as run:
            run.say(run.targets[:1], Verdict.DOWN)
            await run.until(lambda: (tmp_path / "states.json").exists() and '"down"' in states.read_text())
            await run.flips.save()
            before = states.read_bytes()
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
            try:
                run.say(run.targets[1:2], Verdict.DOWN)
                await run.until(lambda: "cannot be saved" in caplog.text)
                with pytest.raises(OSError) as failed:
                    await run.flips.put(Override("w0/nyc", "drain", "rob", "test", time.time(), None))
                assert failed.value.errno == errno.EFBIG
                assert failed.value.filename == str(tmp_path / "overrides.json")
                assert run.settled(), "it counts all the same"
                assert states.read_bytes() == before
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                signal.signal(signal.SIGXFSZ, old)
            await run.flips.save()
            assert states.read_bytes() != before, "and once there is room it is saved"
            assert list(tmp_path.glob(".*.part")) == []
        assert "states.json: cannot be saved: File too large; a restart would not know it" in caplog.text

    states = tmp_path / "states.json"
    in_loop(work)


def test_a_bug_in_one_publish_is_told_and_the_next_flip_is_published(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    def build_or_break(plan: PoolPlan, health: Health) -> Pool:
        if broken:
            raise RuntimeError("a bug")
        return build_pool(plan, health)

    async def work() -> None:
        nonlocal broken
        async with running(scene) as run:
            monkeypatch.setattr(flips_module, "build_pool", build_or_break)
            await run.flips.put(Override("w1/nyc", "drain", "rob", "test", time.time(), None))
            assert "a bug in geodns" in caplog.text
            broken = False
            run.say(run.targets[:1], Verdict.DOWN)
            await run.until(lambda: run.published)

    in_loop(work)


def test_a_clock_that_jumps_changes_no_verdict_and_is_said(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with running(scene) as run:
            run.say(run.targets[:1], Verdict.DOWN)
            await run.until(lambda: run.published)
            run.published.clear()
            for jump in (-86400 * 365, 86400 * 365):
                monkeypatch.setattr(flips_module, "moment", lambda by=jump: moment()._replace(wall=time.time() + by))
                caplog.clear()
                await run.until(lambda: "the clock was set" in caplog.text)
            assert not run.published
            assert run.settled()

    in_loop(work)


def test_a_thousand_flips_in_one_portion_are_a_hundred_lines_and_a_number(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with running(scene) as run:
            caplog.clear()
            with caplog.at_level(logging.INFO):
                run.say(run.targets, Verdict.DOWN)
            lines = [record.getMessage() for record in caplog.records]
            assert len(lines) == 101
            assert lines[-1] == f"and {POOLS * MEMBERS - 100} more changes of health at once"

    in_loop(work)


def test_a_changed_ttl_alone_is_not_told(scene: Scene) -> None:
    choices: Choices = scene[1].choices
    plans: Sequence[PoolPlan] = scene[1].zones.pools
    one = choices.pools[0]
    assert not is_told(one, build_pool(plans[0], {}))
    assert is_told(one, choices.pools[1])
