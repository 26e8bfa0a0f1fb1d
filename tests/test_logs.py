"""Log lines: one each, harmless, and readable by what they are for."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from geodns.logs import LINES_MOST, PACE, RESERVED, JsonLines, Repetition, TextLines


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


def with_extra(extra: dict[str, object], text: str = "hello", name: str = "geodns.daemon") -> logging.LogRecord:
    return logging.getLogger(name).makeRecord(name, logging.INFO, "x.py", 1, text, (), None, extra=extra)


def test_fields_stand_beside_the_text_in_json_and_nowhere_in_text() -> None:
    made = with_extra({"fields": {"service": "www", "live": 2, "since": None, "rank": object, "members": ("a", "b")}})
    said = json.loads(JsonLines().format(made))
    assert {key: said[key] for key in said if key not in RESERVED} == {
        "service": "www", "live": 2, "since": None, "rank": str(object), "members": ["a", "b"],
    }  # fmt: skip
    assert TextLines(journal=True).format(made) == "<6>hello"


@given(st.dictionaries(st.sampled_from(RESERVED) | st.text(), st.text() | st.integers() | st.none()))
def test_fields_never_hide_what_every_line_has(fields: dict[str, object]) -> None:
    line = JsonLines().format(with_extra({"fields": fields}))
    said = json.loads(line)
    assert said["message"] == "hello"
    assert said["level"] == "info"
    assert line.isprintable()
    assert set(fields.values()) <= set(said.values())


def test_lines_that_are_seldom_come_once_a_minute_with_a_count() -> None:
    now = [100.0]
    repetition = Repetition(lambda: now[0])
    lines = TextLines(journal=True)

    def say(**extra: object) -> str | None:
        made = with_extra(extra)
        return lines.format(made) if repetition.filter(made) else None

    assert [say(seldom=True) for _ in "abc"] == ["<6>hello", None, None]
    assert [say(), say()] == ["<6>hello"] * 2, "others come as often as they like"
    now[0] += PACE
    assert say(seldom=True) == "<6>hello (2 more since the last such line)"
    now[0] += PACE
    assert say(seldom=True) == "<6>hello"


def test_what_differs_in_a_strangers_part_alone_is_the_same_line() -> None:
    repetition = Repetition(lambda: 0.0)
    passed = []
    for number in range(5):
        made = record(f"198.51.100.{number}")
        made.seldom = True
        passed.append(repetition.filter(made))
    assert passed == [True, False, False, False, False]


def test_libraries_are_seldom_up_to_the_end_of_their_first_line() -> None:
    repetition = Repetition(lambda: 0.0)
    texts = ["out of files\nsocket: 1", "out of files\nsocket: 2", "other"]
    assert [repetition.filter(with_extra({}, text, "asyncio")) for text in texts] == [True, False, True]
    assert [repetition.filter(with_extra({}, text, "aiohttp.server")) for text in texts] == [True, False, True]


def test_what_is_remembered_of_lines_is_bounded() -> None:
    repetition = Repetition(lambda: 0.0)
    for number in range(LINES_MOST + 50):
        assert repetition.filter(with_extra({}, f"line {number}", "asyncio"))
    assert len(repetition._lines) == LINES_MOST
    assert not repetition.filter(with_extra({}, f"line {LINES_MOST}", "asyncio")), "the newest are known"


def test_repetition_holds_for_the_log_that_is_set_up() -> None:
    code = """
import logging
from geodns.logs import set_up_log
set_up_log("info", "json")
for number in range(3):
    logging.getLogger("x").info("refused %s", number, extra={"seldom": True, "fields": {"number": number}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert (said["message"], said["number"]) == ("refused 0", 0)
