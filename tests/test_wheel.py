"""The wheel: with a compiler it holds the native engine, without a compiler or without Cython it is whole all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from geodns import native

ROOT = Path(__file__).parents[1]
PAPERS = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
COMPILER = shutil.which(os.environ.get("CC", "cc"))
EXTENSIONS = {path.stem for path in native.FOLDER.glob("*.pyx")}
PATIENCE = 600.0  # seconds, where Cython has everything to do and many others are at work

Build = Callable[[str], Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build a wheel from a copy of the sources with the compiler that is named, and unpack it; gives the folder.

    What Cython made of the sources before is taken over where it is there.
    """
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info"))
    for name in PAPERS:
        shutil.copy2(ROOT / name, source)
    if (ROOT / "build" / "cython").is_dir():
        shutil.copytree(ROOT / "build" / "cython", source / "build" / "cython", ignore=shutil.ignore_patterns("*.html"))

    def build_with(compiler: str) -> Path:
        words = f"setup.py -q build_ext --parallel 2 bdist_wheel --dist-dir {tmp_path / 'dist'}"
        environ = os.environ | {"CC": compiler, "PYTHONPATH": str(tmp_path / "before")}
        done = subprocess.run(
            [sys.executable, *words.split()],
            cwd=source,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (wheel,) = (tmp_path / "dist").glob("*.whl")
        zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
        return tmp_path / "unpacked"

    return build_with


def find_extensions(unpacked: Path) -> set[str]:
    """The names of the extensions in a wheel."""
    return {path.name.split(".")[0] for path in (unpacked / "geodns" / "native").glob("*.so")}


def say_version(unpacked: Path) -> str:
    """What `geodns --version` says where the wheel is installed; natively only if the engine can be loaded."""
    environ = {name: value for name, value in os.environ.items() if name != "GEODNS_PURE"} | {"PYTHONPATH": str(unpacked)}
    program = f"import geodns.entry as e; assert e.__file__.startswith({str(unpacked)!r}); e.main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"], cwd=unpacked, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_with_a_compiler_the_wheel_holds_every_extension(build: Build, tmp_path: Path) -> None:
    """The compiler is the real one, told at last not to spend time on speed."""
    if COMPILER is None:
        pytest.skip("no compiler")
    hasty = tmp_path / "hasty"
    hasty.write_text(f'#!/bin/sh\nexec {COMPILER} "$@" -O0\n')
    hasty.chmod(0o755)
    unpacked = build(str(hasty))
    assert find_extensions(unpacked) == EXTENSIONS
    assert "native" in say_version(unpacked)


def test_without_a_compiler_the_wheel_is_whole_and_pure(build: Build) -> None:
    unpacked = build("/nowhere/cc")
    assert find_extensions(unpacked) == set()
    assert "pure" in say_version(unpacked)


def test_without_cython_the_wheel_is_whole_and_pure(build: Build, tmp_path: Path) -> None:
    before = tmp_path / "before" / "Cython"
    before.mkdir(parents=True)
    (before / "__init__.py").write_text("raise ImportError('there is no Cython here')\n")
    unpacked = build("cc")
    assert find_extensions(unpacked) == set()
    assert "pure" in say_version(unpacked)
