"""Log lines: one each, harmless, and readable by what they are for."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from geodns.logs import JsonLines, TextLines


def record(text: str, level: int = logging.WARNING, *, failing: bool = False) -> logging.LogRecord:
    failure = None
    if failing:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            failure = sys.exc_info()
    made = logging.LogRecord("geodns.daemon", level, "daemon.py", 1, "%s", (text,), failure)
    made.created, made.msecs = 1_795_000_000.25, 250.0
    return made


def test_text_has_time_and_level() -> None:
    assert TextLines(journal=False).format(record("hello")) == "2026-11-18T11:06:40.250Z warning hello"


def test_journal_has_the_priority_instead() -> None:
    lines = TextLines(journal=True)
    assert lines.format(record("hello")) == "<4>hello"
    assert lines.format(record("hello", logging.ERROR)) == "<3>hello"
    assert all(line.startswith("<3>") for line in lines.format(record("x", logging.ERROR, failing=True)).splitlines())


def test_json_has_everything() -> None:
    said = json.loads(JsonLines().format(record("hello", failing=True)))
    assert said.pop("traceback").endswith("ValueError: two\nlines")
    assert said == {"time": "2026-11-18T11:06:40.250Z", "level": "warning", "source": "geodns.daemon", "message": "hello"}


@given(st.text())
def test_never_more_than_one_line_whatever_is_logged(text: str) -> None:
    for formatter in (TextLines(journal=False), TextLines(journal=True), JsonLines()):
        line = formatter.format(record(text))
        assert line.isprintable()
        assert line.encode()


def test_level_and_warnings_of_python() -> None:
    code = """
import logging, warnings
from geodns.logs import set_up_log
set_up_log("warning", "json")
logging.getLogger("x").info("quiet")
logging.getLogger("x").warning("loud")
warnings.warn("from a library")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert said[0] == "loud"
    assert "from a library" in said[1]
    assert len(said) == 2
