"""How nice a load is: the rest of `loading` is told by the daemon's tests, and by tests/operation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.test_daemon import FRANCE, PATIENCE
from tests.world import write_world

from geodns import compiler, loading
from geodns.compiler.handover import Handover, Refusal
from geodns.config.model import Server
from geodns.flips import Flips
from geodns.loading import Loader


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
