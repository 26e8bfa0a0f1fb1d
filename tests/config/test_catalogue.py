"""Mistakes: each file of the catalogue is a configuration, and below it, after "#: ", what must be said of it.

The lines after "#: " are taken off before the file is read. "nothing to complain of" stands for no complaint.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geodns.config import compose
from geodns.config.check import check_config
from geodns.config.load import load_config
from geodns.config.loaded import sort_complaints
from geodns.errors import ConfigError

CATALOGUE = sorted((Path(__file__).parent / "catalogue").glob("*.yaml"))
MARK = "#: "


def read_case(path: Path) -> tuple[str, list[str]]:
    """The configuration, and the lines that are expected of it."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    expected = [line.removeprefix(MARK).rstrip("\n") for line in lines if line.startswith(MARK)]
    text = "".join(line for line in lines if not line.startswith(MARK))
    return text, [line for line in expected if line != "nothing to complain of"]


def complain(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said of *text* as ``geodns.yaml``, errors and warnings."""
    (folder / "geodns.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    try:
        loaded = load_config(Path("geodns.yaml"))
    except ConfigError as error:
        return [str(complaint) for complaint in error.complaints]
    return [str(complaint) for complaint in sort_complaints((*loaded.complaints, *check_config(loaded)), loaded.files)]


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_every_mistake_is_told_in_these_words(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = read_case(path)
    assert expected or "nothing to complain of" in path.read_text(encoding="utf-8")
    assert complain(text, tmp_path, monkeypatch) == expected


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_the_slow_parser_finds_mistakes_in_the_same_lines(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where PyYAML was built without libyaml, columns and some words may differ, the lines may not."""
    monkeypatch.setattr(compose, "_PARSER", yaml.SafeLoader)
    text, expected = read_case(path)
    found = complain(text, tmp_path, monkeypatch)
    assert {line.split(":")[1] for line in found} == {line.split(":")[1] for line in expected}


def test_ten_mistakes_give_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = read_case(Path(__file__).parent / "catalogue" / "ten-mistakes.yaml")
    assert len(complain(text, tmp_path, monkeypatch)) == 10


def test_the_catalogue_is_there() -> None:
    assert len(CATALOGUE) > 50
