"""What a load leaves to queries: the rest of `loading` is told by the daemon's tests, and by tests/operation."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.test_daemon import FRANCE, PATIENCE
from tests.world import write_world

from geodns import compiler, loading
from geodns.compiler.handover import Handover, Refusal
from geodns.config.model import Server
from geodns.flips import Flips
from geodns.loading import Loader

SLICE = 0.004  # seconds


def slices(times: list[tuple[float, float]]) -> Generator[None, None, str]:
    for _ in range(10):
        began = time.monotonic()
        while time.monotonic() < began + SLICE:
            pass
        times.append((began, time.monotonic()))
        yield
    return "done"


def find_pauses(tmp_path: Path, *, answering: bool) -> list[float]:
    """Seconds between two slices, each as a multiple of the one before."""
    times: list[tuple[float, float]] = []

    async def work() -> None:
        loader = Loader(tmp_path / "geodns.yaml", Server(), None, None, await Flips.open(None))
        loader.answering = answering
        assert await loader._in_slices(slices(times)) == "done"

    asyncio.run(work())
    return [(later[0] - earlier[1]) / (earlier[1] - earlier[0]) for earlier, later in itertools.pairwise(times)]


def test_queries_have_two_thirds_of_the_time_while_a_load_is_taken_over(tmp_path: Path) -> None:
    """Half of what we can answer may be asked meanwhile: with half of the time a queue would not go down again."""
    assert min(find_pauses(tmp_path, answering=True)) > 1.9


def test_who_is_not_answering_yet_does_not_pause(tmp_path: Path) -> None:
    assert sorted(find_pauses(tmp_path, answering=False))[5] < 0.5


def test_the_compiler_is_nice_once_somebody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at a plain start: there is nobody to be nice to, and on a busy machine it took most of a minute."""
    asked: list[bool] = []

    async def compile_in_child(path: Path, state: Path | None, images: Path | None, **options: bool) -> Handover | Refusal:
        asked.append(options["nice"])
        return await compiler.child.compile_in_child(path, state, images, limit=PATIENCE)

    async def work() -> None:
        (tmp_path / "world.mmdb").write_bytes(write_world(FRANCE))
        (tmp_path / "geodns.yaml").write_text("geoip: {database: world.mmdb}\ndatacenters: {ams: {coordinates: [52, 4]}}\n")
        for beside in (False, True):
            loader = Loader(tmp_path / "geodns.yaml", Server(), None, None, await Flips.open(None))
            assert (await loader.start(strict=True, beside=beside)).ok
            assert (await loader.load()).ok

    monkeypatch.setattr(loading, "compile_in_child", compile_in_child)
    asyncio.run(work())
    assert asked == [False, True, True, True]
