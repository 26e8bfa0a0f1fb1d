"""A daemon's desk without a daemon: a compiled configuration, a real roster, and snapshots that follow it at once.

Knows what `control.Desk` asks for. Knows nothing of sockets, probes or files of the state.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from geodns.compiler.build import assemble, build
from geodns.compiler.choices import build_choices
from geodns.compiler.images import write_image
from geodns.control import Control
from geodns.health.overrides import Override
from geodns.health.roster import Moment, Roster
from geodns.health.state import Outcome, Verdict
from geodns.health.targets import build_targets
from geodns.loading import LoadReport
from geodns.report import BackendReport, ConfigReport, ProberReport, Status
from geodns.settings import make_settings

from .scenes import CONFIG, write_scene

CHECKED = CONFIG.replace(
    "services:\n  www:\n    check: off",
    "checks: {web: {type: tcp, port: 80, rise: 1, fall: 1}}\nservices:\n  www:\n    check: web",
)
STARTED = 1000.0  # seconds since 1970


class FakeDesk:
    """What operations see of a daemon; `control` is the one that sits at it."""

    def __init__(self, folder: Path, config: str = CHECKED) -> None:
        self.path = write_scene(folder, config)
        self.images = folder / "images"
        self.built = build(self.path, None)
        self.config = self.built.loaded.config
        self.images.mkdir()
        write_image(self.images, self.built.digest, self.built.maps)
        self.engine, self.pid, self.started, self.listen, self.publishes = "pure", 4711, STARTED, ("127.0.0.1:5300",), 0
        self.settings = make_settings(self.config.server)
        self.plan = build_targets(self.config)
        self.roster = Roster((), (), self.moment())
        self.roster.adopt(self.plan, self.config.health, self.moment())
        self.snapshot = assemble(self.built)
        self.loads: list[tuple[bool, float | None]] = []
        self.load_report = LoadReport(True, (), "1 zone")
        self.is_ready = True
        self.control = Control(self)
        self.publish()

    @staticmethod
    def moment() -> Moment:
        return Moment(time.monotonic(), time.time())

    def publish(self) -> None:
        """A snapshot by what the roster knows now."""
        choices = build_choices(self.snapshot.zones, self.roster.health())
        self.snapshot = replace(self.snapshot, choices=choices)
        self.publishes += 1
        self.control.published(self.snapshot)

    def probe(self, *down: str) -> None:
        """A result of every target: those of the hosts *down* fail."""
        verdicts = {key: Verdict.DOWN if target.host in down else Verdict.UP for key, target in self.plan.targets.items()}
        outcomes = [Outcome(key, verdict, True, "it said", 0.02) for key, verdict in verdicts.items()]
        self.roster.observe(outcomes, self.moment())
        self.publish()

    def ready(self) -> bool:
        return self.is_ready

    def config_report(self) -> ConfigReport:
        return ConfigReport(str(self.path), "ab" * 16, STARTED, "2 zones", False, True, STARTED, (), ())

    def backend_report(self) -> BackendReport:
        return BackendReport("/run/geodns/backend.sock", 4, 0, 0)

    def prober_report(self) -> ProberReport:
        return ProberReport(True, STARTED, 0, len(self.plan.targets), 0.012, self.roster.frozen())

    async def put(self, override: Override) -> None:
        self.roster.put(override, self.moment())
        self.publish()

    async def end(self, target: str, kinds: Collection[str]) -> None:
        self.roster.end(target, kinds, self.moment())
        self.publish()

    async def load(self, *, dry_run: bool, max_move: float | None) -> LoadReport:
        self.loads.append((dry_run, max_move))
        return self.load_report

    async def scrape(self, status: Status) -> tuple[str, bytes]:
        return "text/plain", f"geodns_publishes {status.publishes}\n".encode()
