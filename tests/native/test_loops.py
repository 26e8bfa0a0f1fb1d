"""The compiler natively against the reference, from files to the block: the same octets, or the same words."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzz import fuzz_mmdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.compiler.small import make_config
from tests.compiler.test_maps import SITES, worlds, write_files
from tests.geo.test_mmdb import BROKEN, RECORDS, SOUND
from tests.native.both import same
from tests.world import MARKER, write_world

from geodns import loops
from geodns.compiler.maps import build_maps
from geodns.compiler.naming import name_parts
from geodns.config.model import Config
from geodns.geo.builtin import database_path
from geodns.geo.place import Sources

CONFIG = make_config(
    SITES,
    maps={
        "world": {
            "rules": [
                {"asn": [1, 2, 13335], "order": ["nyc"]},
                {"country": ["GB", "SE"], "order": [{"ams": 2, "sin": 1}]},
                {"subdivision": ["US-CA"], "order": ["syd"], "only": True},
            ]
        }
    },
    networks={"81.2.69.0/25": {"coordinates": [1.0, 100.0]}, "2a00::/20": {"asn": 1}, "10.0.0.0/8": {"datacenter": "syd"}},
    services={"www": list(SITES), "two": ["nyc", "syd"]},
)


def compile_maps(config: Config, sources: Sources) -> bytes:
    return build_maps(config, name_parts(config), sources)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_always_the_block_of_the_reference(world: tuple[Config, dict[str, Any], bool]) -> None:
    config, files, shared = world
    with tempfile.TemporaryDirectory() as folder:
        sources = write_files(Path(folder), files, shared)
        assert isinstance(same(lambda: compile_maps(config, sources)), bytes)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), shared=st.booleans(), count=st.sampled_from([1, 1, 2, 5, 20]), asn=st.booleans())
def test_whatever_is_changed_the_same_block_or_words(tmp_path: Path, seed: int, shared: bool, count: int, asn: bool) -> None:
    chance = random.Random(seed)
    octets = bytearray(write_world({**RECORDS, "9.0.0.0/8": {"asn": 1}}, shared=shared, aliases=not shared))
    begin = chance.choice([0, octets.rfind(MARKER), octets.find(bytes(16))])  # the tree, the metadata, the data
    for _ in range(count):
        octets[chance.randrange(begin, len(octets))] = chance.choice([0, 1, 0x20, 0xE0, 0xFF, chance.randrange(256)])
    (tmp_path / "sound.mmdb").write_bytes(write_world({**RECORDS, "9.0.0.0/8": {"asn": 1}}))
    (tmp_path / "x.mmdb").write_bytes(octets)
    places, numbers = ("sound.mmdb", "x.mmdb") if asn else ("x.mmdb", "sound.mmdb")
    same(lambda: compile_maps(CONFIG, Sources((tmp_path / places,), tmp_path / numbers)))


@pytest.mark.parametrize("path", [*SOUND, *BROKEN], ids=lambda path: path.stem)
def test_public_databases_good_and_bad(path: Path) -> None:
    same(lambda: compile_maps(CONFIG, Sources((path,))))
    same(lambda: compile_maps(CONFIG, Sources((SOUND[0], path), path)))


def test_the_packaged_file() -> None:
    sources = Sources((database_path(),))
    assert isinstance(same(lambda: compile_maps(CONFIG, sources)), bytes)


@pytest.mark.parametrize(("value", "native"), [("1", False), ("yes", False), ("0", True), ("", True)])
def test_the_environment_can_force_the_reference(value: str, native: bool) -> None:
    program = "from geodns import loops; print(loops.are_native())"
    environ = os.environ | {"GEODNS_PURE": value}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (str(native), "")


def test_loops_of_other_sources_are_not_used() -> None:
    """A stale build says so once, and the reference compiles."""
    program = (
        "import geodns.native.walk as walk; walk.SOURCE_DIGEST = 'of yesterday'\n"
        "from geodns import loops; print(loops.are_native())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert "walk: built from other sources" in done.stderr
    assert loops.FIT


def test_fuzz_for_a_moment() -> None:
    blocks, faults = fuzz_mmdb.run(150, 1)
    assert faults == []
    assert blocks > 20


def test_the_fuzzer_sees_a_native_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    read_tree = loops.walk.read_tree
    monkeypatch.setattr(loops.walk, "read_tree", lambda *given: read_tree(*given)[::-1])
    assert fuzz_mmdb.run(20, 1)[1]
