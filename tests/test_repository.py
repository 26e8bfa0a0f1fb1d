"""What must hold for the repository as a whole: papers, licences, openings of modules, nothing of anybody's machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from geodns.compiler.naming import name_parts
from geodns.compiler.zones import build_zones
from geodns.config.check import check_config
from geodns.config.load import read_config

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "geodns"
MODULES = sorted(SRC.rglob("*.py"))
# Put together here, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join(
        ("/" + "work/", "/" + "root/", "/" + r"home/[a-z]+/", "/" + "tmp/h/", "shared/" + r"(?:design|reference|testdata)")
    )
)
SHOUTED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
BANNER = re.compile(r"^\s*#\s*[-=#*]{3,}")
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "handler", "context", "misc", "data"}
LONGEST_MODULE = 450


def tracked_files() -> list[Path]:
    """What git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def find_lines(paths: list[Path], pattern: re.Pattern[str]) -> list[str]:
    """``file:line: text`` of every line that *pattern* matches; files that are no text are passed over."""
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{i}: {line.strip()[:120]}" for i, line in enumerate(lines, 1) if pattern.search(line)
        ]
    return found


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    files = [path for path in tracked_files() if "tests/data" not in path.as_posix()]
    assert find_lines(files, MACHINE_PATHS) == []


def test_nothing_is_left_for_later() -> None:
    sources = [path for path in tracked_files() if path.suffix == ".py" and path != Path(__file__)]
    assert find_lines(sources, SHOUTED) == []
    assert find_lines(sources, BANNER) == [], "a section that wants a banner wants to be a function, or a module"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_says_what_it_knows(path: Path) -> None:
    text = path.read_text()
    opening = ast.get_docstring(ast.parse(text)) or ""
    assert opening, f"{path.relative_to(ROOT)} has no opening"
    if path.name not in {"__init__.py", "__main__.py"}:
        assert "Knows" in opening, f"{path.relative_to(ROOT)}: the opening does not say what the module knows"
    assert path.stem not in VAGUE, f"{path.relative_to(ROOT)}: the name says where a thing was put, not what it is"
    assert len(text.splitlines()) <= LONGEST_MODULE, f"{path.relative_to(ROOT)} is longer than {LONGEST_MODULE} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_public_names_say_what_they_mean(path: Path) -> None:
    tree = ast.parse(path.read_text())
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not (isinstance(node, ast.ClassDef) and _is_plain_model(node))
    ]
    assert silent == []


def _is_plain_model(node: ast.ClassDef) -> bool:
    """A section of the configuration, whose keys are explained in docs/reference."""
    return any(isinstance(base, ast.Name) and base.id == "Frozen" for base in node.bases)


def test_licences_stand_beside_what_they_speak_of() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    for word in ("geodns", "DB-IP", "CC BY 4.0"):
        assert word in notice, f"NOTICE does not mention {word}"
    for path in ("maxmind/LICENSE-APACHE", "maxmind/LICENSE-MIT", "dns-packets/LICENSE.md"):
        assert (ROOT / "tests" / "data" / path).stat().st_size > 500


def test_the_papers_are_there() -> None:
    for name in (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "Makefile",
        "Dockerfile",
        "deploy/geodns.service",
    ):
        assert (ROOT / name).stat().st_size > 100, name


def test_design_pages_have_numbers_of_their_own_and_are_found() -> None:
    pages = [page.name for page in (ROOT / "docs" / "design").glob("*.md")]
    assert len({name[:4] for name in pages}) == len(pages)
    sources = [path for path in tracked_files() if path.suffix in {".py", ".md", ".yaml"}]
    mentioned = {found for path in sources for found in re.findall(r"docs/design/(\d{4}[a-z0-9-]*)", path.read_text())}
    missing = [name for name in mentioned if not any(page.startswith(name) for page in pages)]
    assert sorted(missing) == []


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_loads_without_a_complaint(path: Path) -> None:
    """But the age of its data, of which `build` speaks; an example with a warning teaches the warning."""
    if path.name == "networks.yaml":  # a `networks_file`, which complete.yaml names
        return
    loaded = read_config(path)
    assert [str(complaint) for complaint in (*loaded.complaints, *check_config(loaded))] == []
    block, complaints = build_zones(loaded, name_parts(loaded.config))
    assert [str(complaint) for complaint in complaints] == []
    assert block
