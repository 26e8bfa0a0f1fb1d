"""Metrics as Prometheus reads them.

Knows the collector that prometheus-client writes out, and how a scrape leaves the interpreter to the queries. Knows nothing
of what the numbers mean (`families`, `families_state`). `scrape` runs in a thread, one at a time: its caller sees to that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import cast

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from .families import TRAFFIC, Family, Reading, Row, Sources
from .families_state import HEALTH, PROGRAM

PORTION = 50  # lines written between two rests: about 1 ms
RESTS = 3.0  # so many times as long as a portion took the thread rests after it
LONGEST_REST = 0.01  # seconds: what counts is this thread's own time, and waiting for the interpreter is in it
FAMILIES = (*PROGRAM, *TRAFFIC, *HEALTH)
PROCESS = ProcessCollector(registry=None)  # CPU, memory, open files of the daemon, from /proc


def scrape(sources: Sources) -> tuple[str, bytes]:
    """Content type and octets of /metrics.

    Takes some 15 us a line, and up to three times that in rests: without them it would hold up queries for its whole length,
    since a thread that works makes every system call of the main thread wait for the interpreter.
    """
    return CONTENT_TYPE_LATEST, generate_latest(_Page(Reading(sources, sources.counters.read()), _Pace()))


class _Pace:
    """Lets the other threads work in between."""

    def __init__(self) -> None:
        self._lines, self._began = 0, time.monotonic()

    def rest(self) -> None:
        """One more line was written."""
        self._lines += 1
        if self._lines % PORTION == 0:
            time.sleep(min(RESTS * (time.monotonic() - self._began), LONGEST_REST))
            self._began = time.monotonic()


class _Page(Collector):
    """All families of one reading; their lines are made while they are written."""

    def __init__(self, reading: Reading, pace: _Pace) -> None:
        self._reading, self._pace = reading, pace

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            # prometheus-client adds the ending of a counter's name itself
            metric = Metric(family.name.removesuffix("_total"), family.text, family.kind)
            metric.samples = cast(list[Sample], self._write(family))
            yield metric
        yield from PROCESS.collect()

    def _write(self, family: Family) -> Iterator[Sample]:
        for row in family.read(self._reading):
            yield write_sample(family, row)
            self._pace.rest()


def write_sample(family: Family, row: Row) -> Sample:
    """One line of *family*."""
    ending, values, number = row
    names: Iterable[str] = (*family.labels, "le") if ending == "_bucket" else family.labels
    return Sample(family.name + ending, dict(zip(names, values, strict=True)), number)
