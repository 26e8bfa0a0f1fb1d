"""What is told of the running configuration is enough to compare with it, and nothing more."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.properties.worlds import draw_world
from tests.world import write_world

from geodns.compiler.build import build
from geodns.compiler.diff import Side, compare_maps
from geodns.compiler.images import write_image
from geodns.compiler.naming import name_parts
from geodns.errors import ImageError
from geodns.image_maps import read_countries, read_maps
from geodns.jsonform import to_json
from geodns.report import Served
from geodns.served import open_served, tell_served


def serve(folder: Path, seed: int) -> tuple[Side, Served]:
    """A small world as a side of a comparison, and as its daemon would tell of it; some of it is drained."""
    chance = random.Random(seed)
    world, options = draw_world(chance)
    spec = dict(world.spec)
    for name in spec["datacenters"]:
        spec["datacenters"][name]["drain"] = chance.random() < 0.3
    folder.mkdir()
    (folder / "world.mmdb").write_bytes(write_world(world.records, **options))
    (folder / "asn.mmdb").write_bytes(write_world(world.asns, database_type="Test-ASN"))
    (folder / "geodns.yaml").write_text(to_json(spec))
    built = build(folder / "geodns.yaml", None)
    config, maps = built.loaded.config, read_maps(built.maps, "maps")
    write_image(folder, built.digest, built.maps)
    served = tell_served(folder / "geodns.yaml", config, maps, folder)
    return Side(config, name_parts(config), maps, read_countries(built.maps, "maps")), served


@pytest.mark.parametrize("seed", range(5))
def test_always_the_comparison_is_that_of_the_configuration(seed: int, tmp_path: Path) -> None:
    (one, told), (two, also) = serve(tmp_path / "one", seed), serve(tmp_path / "two", seed + 100)
    assert compare_maps(open_served(told), two) == compare_maps(one, two)
    assert compare_maps(open_served(also), one) == compare_maps(two, one)
    assert compare_maps(open_served(told), one).worst == 0


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    _, served = serve(tmp_path / "one", 1)
    with pytest.raises(ImageError, match=r"gone\.img: No such file"):
        open_served(replace(served, image=str(tmp_path / "gone.img")))
    with pytest.raises(ImageError, match="other sources"):
        open_served(replace(served, digest="00"))
    with pytest.raises(ImageError, match=r"server\.state"):
        open_served(replace(served, image=None))
    (tmp_path / "cut.img").write_bytes(Path(str(served.image)).read_bytes()[:-1])
    with pytest.raises(ImageError):
        open_served(replace(served, image=str(tmp_path / "cut.img")))
