"""Scenarios: a configuration, a small world and steps, run against anything that answers DNS.

Knows the file format (docs/design/0001, "Tests"), and how a step's world, files and health come to life. Knows nothing of
what is right in a reply (`tests.replies`) or of how a packet travels (`tests.transports`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import yaml
from tests.course import Course
from tests.replies import Asker, Surprise, ask, check_reply, check_shares, is_reachable
from tests.world import Record, write_world

from geodns.compiler.build import Built, assemble, build
from geodns.compiler.choices import build_choices
from geodns.errors import Place
from geodns.health.state import Condition, Verdict
from geodns.snapshot import Snapshot, Zones

DATA = Path(__file__).parent / "data"
SCENARIO_KEYS = {"title", "world", "asn", "files", "config", "health", "steps", "world_options"}
STEP_KEYS = {"query", "client", "peer", "draw", "expect", "shares", "hop", "grid", "edns", "health", "times"}
COURSE_KEYS = {"probe", "override", "elapse"}  # steps of one key, as it is called in `Course`
EXPECT_KEYS = {"rcode", "aa", "answer", "one_of", "authority", "additional", "scope", "ttl", "soa_ttl", "count"}


class Transport(Asker, Protocol):
    """One way to put a question to a snapshot."""

    def publish(self, built: Built, snapshot: Snapshot) -> None:
        """Answer from *snapshot* from now on."""


class Lined(dict[str, Any]):
    """A mapping that knows its line."""

    line: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One document of a scenario file."""

    path: Path
    number: int
    body: Lined

    @property
    def name(self) -> str:
        """``tiny-world: the nearest of two``."""
        return f"{self.path.stem}: {self.body['title']}"


def read_scenarios(path: Path) -> list[Scenario]:
    """All documents of *path*; scalars stay text, so that `NO` is Norway here too."""
    found = [_construct(node) for node in yaml.compose_all(path.read_text(), yaml.SafeLoader)]
    for body in found:
        _check_keys(path, body, SCENARIO_KEYS)
        for step in body["steps"]:
            _check_keys(path, step, COURSE_KEYS if COURSE_KEYS & set(step) else STEP_KEYS)
            _check_keys(path, step.get("expect", {}), EXPECT_KEYS)
    return [Scenario(path, number, body) for number, body in enumerate(found)]


def _construct(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        lined = Lined({key.value: _construct(value) for key, value in node.value})
        lined.line = node.start_mark.line + 1
        return lined
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item) for item in node.value]
    return node.value


def _check_keys(path: Path, body: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(body) - known:
        line = getattr(body, "line", 0)
        raise Surprise(f"{Place(str(path), line)}: unknown key {sorted(unknown)}, expected some of {sorted(known)}")


def build_scenario(scenario: Scenario, folder: Path) -> tuple[Built, Snapshot]:
    """The configuration of *scenario*, written to *folder* and compiled; and its snapshot with everybody up."""
    built = build(write_folder(scenario, folder), None)
    return built, assemble(built, {})


def publish(scenario: Scenario, transport: Transport, built: Built, healthy: Snapshot, wanted: Mapping[str, Any]) -> None:
    """Let *transport* answer from *healthy* under the health that is *wanted*, as the daemon would after a health event."""
    choices = build_choices(healthy.zones, find_health(scenario, healthy.zones, wanted))
    transport.publish(built, replace(healthy, choices=choices))


def run_scenario(scenario: Scenario, transport: Transport, built: Built, healthy: Snapshot) -> None:
    """Take every step, beginning with everybody up but for `health`. Raises Surprise at the first that goes otherwise."""
    for step in take_steps(scenario, transport, built, healthy):
        with _placed(scenario, step):
            if "shares" in step:
                check_shares(step, transport)
            elif transport.exact or is_reachable(step):
                for _ in range(int(step.get("times", "1"))):
                    check_reply(step, ask(step, transport, int(step.get("draw", "0"), 0)))


def take_steps(scenario: Scenario, transport: Transport, built: Built, healthy: Snapshot) -> Iterator[Lined]:
    """Publish what the steps say of health, one after the other; yields each question when it is its turn.

    With the first `probe`, `override` or `elapse` begins a course of its own, in which nobody was probed yet.
    """
    publish(scenario, transport, built, healthy, scenario.body.get("health", {}))
    course: Course | None = None
    for step in scenario.body["steps"]:
        if "query" in step:
            yield step
            continue
        with _placed(scenario, step):
            if COURSE_KEYS & set(step):
                course = course or Course(built)
                for name, given in step.items():
                    getattr(course, name)(given)
                choices = build_choices(healthy.zones, course.health())
                transport.publish(built, replace(healthy, choices=choices))
            else:
                publish(scenario, transport, built, healthy, step["health"])


@contextmanager
def _placed(scenario: Scenario, step: Lined) -> Iterator[None]:
    """A Surprise within tells the step's file and line."""
    try:
        yield
    except Surprise as surprise:
        raise Surprise(f"{Place(str(scenario.path), step.line)}: {surprise}") from None


def write_folder(scenario: Scenario, folder: Path) -> Path:
    """World, files and configuration of *scenario* in *folder*; returns the configuration's path."""
    body, options = scenario.body, {k: _option(v) for k, v in scenario.body.get("world_options", {}).items()}
    _place_world(folder / "world.mmdb", body.get("world", {}), options)
    if "asn" in body:
        _place_world(folder / "asn.mmdb", body["asn"], {"database_type": "Test-ASN"})
    for name, text in body.get("files", {}).items():
        (folder / name).write_text(text)
    config: str = body["config"]
    if not any(line.startswith("geoip:") for line in config.splitlines()):
        config += "\ngeoip: {database: world.mmdb}\n"
    path = folder / "geodns.yaml"
    path.write_text(config)
    return path


def _place_world(path: Path, world: str | Mapping[str, Any], options: dict[str, Any]) -> None:
    octets = (DATA / world).read_bytes() if isinstance(world, str) else write_world(_records(world), **options)
    path.write_bytes(octets)


def _records(world: Mapping[str, Any]) -> dict[str, Record]:
    return {network: None if record in ("", "~", "null") else _typed(record) for network, record in world.items()}


def _typed(record: Mapping[str, Any]) -> dict[str, Any]:
    typed: dict[str, Any] = dict(record)
    if "coordinates" in typed:
        typed["coordinates"] = [None if text in ("~", "null") else float(text) for text in typed["coordinates"]]
    if "asn" in typed:
        typed["asn"] = int(typed["asn"])
    return typed


def _option(text: str) -> Any:
    return {"true": True, "false": False}.get(text, int(text) if text.isdigit() else text)


def find_health(scenario: Scenario, zones: Zones, wanted: Mapping[str, Any]) -> dict[tuple[str, str, str], Condition]:
    """Conditions by member for ``{service/datacenter/member pattern: state}``; later patterns win.

    A state is ``up``, ``down``, ``unknown``, ``drained`` (and up), ``drained down``, with ``in 12`` behind it where the
    verdict flips in so many seconds.
    """
    members = [(plan.service, plan.datacenter, member.text) for plan in zones.pools for member in plan.members]
    health: dict[tuple[str, str, str], Condition] = {}
    for pattern, state in wanted.items():
        matching = [key for key in members if fnmatch.fnmatchcase("/".join(key), pattern)]
        if not matching:
            raise Surprise(f"{scenario.path}: no member matches {pattern!r}; there are {['/'.join(m) for m in members]}")
        words, until = state.split(), None
        if "in" in words:
            until, words = float(words[-1]), words[: words.index("in")]
        verdict = next((Verdict(word) for word in words if word != "drained"), Verdict.UP)
        health |= dict.fromkeys(matching, Condition(verdict, "drained" in words, until))
    return health
