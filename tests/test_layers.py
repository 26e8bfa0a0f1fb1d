"""The import rule: who may import whom, and the one door of each third party.

The rule in words stands in CONTRIBUTING.md; here it is a table. A module that is in no line of it fails, so that whoever
adds one says where it belongs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "geodns"
DATA_PLANE = ("answer", "lookup", "pick", "ranges", "snapshot", "image", "wire", "server", "publish", "native", "engine")
CONTROL_PLANE = ("config", "geo", "health", "compiler")
OPEN_TO_ALL = ("wire", "errors", "metrics", "__init__")  # layer 0, and the version
BLOCKS = ("snapshot", "ranges", "pick", "image")
# Module (or package) to what it may import beside layer 0 and itself; the longest match counts. None: anything below it.
RULE: dict[str, tuple[str, ...] | None] = {
    "__init__": (),
    "wire": (),
    "errors": (),
    "metrics": (),
    "odds": (),
    "snapshot": (),
    "ranges": ("snapshot",),
    "pick": ("snapshot",),
    "image": ("snapshot", "ranges", "slices"),
    "config": ("geo.iso",),  # codes are checked against the ISO lists, which are tables
    "geo": ("config.model", "loops"),
    "health": ("config.model", "config.scalars", "ask", "report", "slices"),
    "ask": ("config.model",),
    "compiler": ("config", "geo", "health.state", "health.targets", "threads", "loops", "slices", *BLOCKS),
    "loops": ("native",),  # two of its modules, which import nothing of ours
    "lookup": BLOCKS,
    "answer": ("lookup", *BLOCKS),
    "native": ("answer", "lookup", *BLOCKS),
    "engine": ("native",),
    "publish": ("native", "engine", "answer", "lookup", *BLOCKS),
    "server": ("native", "engine", "answer", "lookup", "publish", "report", "jsonform", *BLOCKS),
    "logs": (),
    "report": (),
    "watch": (),
    "state_lock": (),
    "client": ("tokens",),
    "tokens": (),
    "jsonform": (),
    "jsonread": (),
    "threads": (),
    "slices": (),
    "pacing": ("slices",),
    "flips": None,
    "loading": None,
    "parts": None,
    "settings": None,
    "pipe": ("backend_only",),
    "backend_only": (),
    "backend_only_life": None,
    "words": ("snapshot",),
    "querylog": None,
    "roots": ("engine", "native", "threads", *BLOCKS),
    "explanation": (),
    "present": None,
    "locate": None,
    "databases": None,
    "explain": None,
    "forecast": None,
    "ranks": None,
    "served": None,
    "control": None,
    "daemon": None,
    "cli": None,
    "entry": None,
    "__main__": ("entry",),
}
ONLY_FROM = {"daemon": ("entry", "cli"), "cli": ("entry",), "entry": ("__main__",), "control": ("daemon", "parts", "cli")}
DOORS = {
    "pydantic": ("config",),
    "yaml": ("config",),
    "maxminddb": ("geo",),
    "geoip2": ("geo",),
    "dns": ("config.check", "compiler.zones"),
    "dnslib": ("ask",),
    "aiohttp": ("health.probes", "server.http"),
    "yarl": ("health.probes",),  # the URLs of aiohttp
    "prometheus_client": ("server.exposition",),
    "typer": ("cli",),
    "rich": ("cli",),
}


class Import(NamedTuple):
    """One import: who, where, and what; `target` is relative to geodns, or the top name of somebody else's package."""

    module: str
    line: str
    target: str
    ours: bool


def is_inside(module: str, part: str) -> bool:
    """Is *module* the module or package *part*? `image_maps` and `explain_name` count as `image` and `explain`."""
    return module == part or module.startswith((f"{part}.", f"{part}_"))


def name_module(path: Path) -> str:
    """``server.udp`` for src/geodns/server/udp.py; a package is itself."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def read_imports(path: Path) -> Iterator[Import]:
    """Every import in *path*, those inside functions and for types alone too."""
    module = name_module(path)
    package = path.relative_to(SRC).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        line = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {module}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, line, alias.name.split(".")[0], ours=False)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield Import(module, line, (node.module or "").split(".")[0], ours=False)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                inner = SRC.joinpath(*base, alias.name)
                found = [*base, alias.name] if inner.with_suffix(".py").exists() or inner.is_dir() else base
                yield Import(module, line, ".".join(found) or "__init__", ours=True)


IMPORTS = [found for path in sorted(SRC.rglob("*.py")) for found in read_imports(path)]
MODULES = sorted(name_module(path) for path in SRC.rglob("*.py"))


def find_line(module: str) -> str:
    """The line of RULE that *module* falls under; "" for none."""
    return max((part for part in RULE if is_inside(module, part)), key=len, default="")


def test_every_module_has_its_layer() -> None:
    assert [module for module in MODULES if not find_line(module)] == [], "say in RULE where they belong"


def test_imports_go_down() -> None:
    wrong = []
    for found in IMPORTS:
        part = find_line(found.module)
        allowed = RULE.get(part, ())
        if not found.ours or allowed is None or any(is_inside(found.target, a) for a in (part, *allowed, *OPEN_TO_ALL)):
            continue
        wrong.append(f"{found.line} imports {found.target}, may import {', '.join((*allowed, *OPEN_TO_ALL))}")
    assert wrong == []


def test_nothing_imports_what_knows_everybody() -> None:
    wrong = [
        f"{found.line} imports {found.target}, which is for {', '.join(ONLY_FROM[part])} alone"
        for found in IMPORTS
        for part in ONLY_FROM
        if found.ours
        and is_inside(found.target, part)
        and not any(is_inside(found.module, a) for a in (part, *ONLY_FROM[part]))
    ]
    assert wrong == []


def test_the_data_plane_never_imports_the_control_plane() -> None:
    """The one law above all, so that no line of RULE can soften it."""
    wrong = [
        f"{found.line} imports {found.target}"
        for found in IMPORTS
        if found.ours
        and any(is_inside(found.module, part) for part in DATA_PLANE)
        and any(is_inside(found.target, part) for part in CONTROL_PLANE)
    ]
    assert wrong == []


def test_third_parties_have_one_door_each() -> None:
    wrong = [
        f"{found.line} imports {found.target}, whose door is {', '.join(DOORS.get(found.target, ('nowhere',)))}"
        for found in IMPORTS
        if not found.ours
        and found.target not in sys.stdlib_module_names
        and not any(is_inside(found.module, door) for door in DOORS.get(found.target, ()))
    ]
    assert wrong == []


def test_nothing_is_imported_by_name_at_run_time() -> None:
    """What a test that reads imports cannot see must not be there."""
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted(SRC.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "__import__(" in line or "import_module(" in line
    ]
    assert wrong == []


def modules_after(statement: str) -> set[str]:
    """What `sys.modules` holds after *statement* in a fresh interpreter, without what was there before."""
    program = f"import sys; before = set(sys.modules)\n{statement}\nprint('\\n'.join(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


ADAPTERS = sorted(
    f"geodns.{module}"
    for module in MODULES
    if any(is_inside(module, part) for part in DATA_PLANE)
    and not any(is_inside(module, door) for door in ("server.http", "server.exposition"))
    and (module != "server.native_udp" or find_spec("geodns.native.udp"))  # without a compiler nobody imports it
)


def test_serving_loads_the_standard_library_and_our_own_code_only() -> None:
    """Each module of the data plane alone: what it pulls in through others counts too."""
    loaded = modules_after(f"import {', '.join(ADAPTERS)}")
    assert set(ADAPTERS) <= loaded
    strangers = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"geodns"}
    assert {name for name in strangers if not name.startswith("_")} <= {"cython_runtime"}, "a name that extensions make up"
    assert sorted(name for name in loaded if any(is_inside(name, f"geodns.{part}") for part in CONTROL_PLANE)) == []


@pytest.mark.parametrize("adapter", ["udp", "tcp"])
def test_an_adapter_alone_loads_no_control_plane(adapter: str) -> None:
    loaded = modules_after(f"import geodns.server.{adapter}")
    assert sorted(name for name in loaded if any(is_inside(name, f"geodns.{part}") for part in CONTROL_PLANE)) == []


def test_the_console_script_starts_light() -> None:
    """`geodns pipe` is started once per PowerDNS thread: neither typer nor rich nor pydantic."""
    loaded = {name.split(".")[0] for name in modules_after("import geodns.entry")}
    assert loaded & {"typer", "rich", "pydantic", "yaml", "dns", "aiohttp", "maxminddb"} == set()
