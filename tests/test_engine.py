"""Which engine answers, and that what was built is what lies there."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from geodns import engine, native

SOURCES = sorted(path.stem for path in native.FOLDER.glob("*.pyx"))
COMPILER = shutil.which(os.environ.get("CC", "cc"))


@pytest.fixture
def afresh() -> Iterator[None]:
    """The engine is looked for again, and once more by whoever comes next."""
    engine.find.cache_clear()
    yield
    engine.find.cache_clear()


def test_what_was_built_was_built_from_what_lies_there() -> None:
    """Every extension, in a process of its own, so that none is missed and none stays. With a compiler all are there."""
    program = (
        "import importlib, sys\n"
        "from geodns.native import find_stale\n"
        "modules = [importlib.import_module(f'geodns.native.{name}') for name in sys.argv[1:]]\n"
        "print(*find_stale(*modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, *SOURCES], capture_output=True, text=True, check=False)
    if COMPILER is None and "ModuleNotFoundError" in done.stderr:
        pytest.skip("no compiler, so no extension")
    assert (done.stdout, done.stderr) == ("\n", ""), "build again: make test, or python setup.py build_ext --inplace"


@pytest.mark.parametrize(("said", "expected"), [("1", "pure"), ("yes", "pure"), ("0", None), ("", None)])
def test_the_environment_forces_the_reference(said: str, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEODNS_PURE", raising=False)
    found = engine.name()
    monkeypatch.setenv("GEODNS_PURE", said)
    assert engine.name() == (expected or found)
    assert (engine.load() is None) == (engine.name() == engine.PURE)


def test_another_source_makes_an_extension_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own, or one that all share; that of another extension does not matter."""
    for name, text in {"one.pyx": "1", "two.pyx": "2", "shared.pxd": "3"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    built = {
        name: SimpleNamespace(__name__=f"geodns.native.{name}", SOURCE_DIGEST=native.find_digest(tmp_path, name))
        for name in ("one", "two")
    }
    assert native.find_stale(*built.values()) == []
    (tmp_path / "one.pyx").write_text("other")
    assert native.find_stale(*built.values()) == ["one"]
    (tmp_path / "shared.pxd").write_text("other")
    assert native.find_stale(*built.values()) == ["one", "two"]
    (tmp_path / "one.pyx").unlink()
    assert native.find_stale(built["one"]) == [], "an installed wheel has no sources"


@pytest.mark.usefixtures("afresh")
def test_a_stale_engine_is_not_used_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if engine.load() is None:
        pytest.skip("not built, or the reference was asked for")
    engine.find.cache_clear()
    monkeypatch.setattr(engine, "find_stale", lambda *extensions: ["answer"])
    with caplog.at_level(logging.WARNING):
        assert engine.load() is None
    assert engine.name() == engine.PURE
    assert "answer: built from other sources" in caplog.text


@pytest.mark.usefixtures("afresh")
def test_an_extension_that_cannot_be_loaded_is_told_and_one_that_is_missing_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("GEODNS_PURE", raising=False)
    monkeypatch.setitem(sys.modules, "geodns.native.answer", None)
    monkeypatch.delattr(native, "answer", raising=False)
    with caplog.at_level(logging.WARNING):
        assert engine.load() is None
    assert caplog.text == ""
