"""How a log line looks, and how often it may come: text for people and the journal, JSON for machines; one line, on stderr.

Knows formats, levels and repetition. Knows nothing of what is logged. Whoever logs may add, without importing this module:
`extra={"fields": {...}}`, which JSON shows beside the text, and `extra={"seldom": True}` on lines that a stranger can cause:
such a line comes once a minute, then with the number of those that were left out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# syslog(3) priorities, as the journal reads them at the start of a line: sd-daemon(3)
PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

RESERVED = ("time", "level", "source", "message", "traceback")  # fields of these names would hide what every line has
PACE = 60.0  # seconds between two lines that are the same, where they are seldom
LINES_MOST = 1000  # lines of which it is known when they last came; more would be somebody's work
# Libraries that log what strangers do to their sockets: running out of files at each connection, requests that are none.
SELDOM = ("asyncio", "aiohttp")


def set_up_log(level: str, form: str) -> None:
    """Send records of *level* ("info") and above to stderr as *form*: "text" or "json"."""
    stream = logging.StreamHandler(sys.stderr)
    stream.addFilter(Repetition())
    stream.setFormatter(JsonLines() if form == "json" else TextLines(journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level.upper(), handlers=[stream], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk or a closed stderr must not stop the daemon


@dataclass(slots=True)
class Last:
    """When a line may come again (monotonic seconds), and how many were left out since it came."""

    due: float
    untold: int = 0


class Repetition(logging.Filter):
    """Lets lines that are seldom pass once every `PACE` seconds each. The same is what has one source, level and template.

    A template is text of ours, so strangers cannot make many of them; those of libraries may hold anything, and count up to
    the end of their first line.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines: OrderedDict[tuple[str, int, str], Last] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* comes. One that does, after others did not, says how many: `record.untold`."""
        if not getattr(record, "seldom", record.name.partition(".")[0] in SELDOM):
            return True
        now, key = self._clock(), (record.name, record.levelno, str(record.msg).partition("\n")[0])
        last = self._lines.pop(key, None) or Last(now)
        self._lines[key] = last
        if now < last.due:
            last.untold += 1
            return False
        record.untold = last.untold
        last.due, last.untold = now + PACE, 0
        if len(self._lines) > LINES_MOST:
            self._lines.popitem(last=False)
        return True


class TextLines(logging.Formatter):
    """``2026-11-23T09:12:00.123Z warning text``; for the journal, which keeps the time itself, ``<4>text``."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        start = f"<{PRIORITY.get(record.levelno, 6)}>" if self._journal else f"{_time(record)} {record.levelname.lower()} "
        lines = [_escape(_message(record))]
        if record.exc_info:
            lines += map(_escape, self.formatException(record.exc_info).splitlines())
        return "\n".join(start + line for line in lines)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, source, message, then the fields; traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "source": record.name,
            "message": _message(record),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            said |= {f"{name}_" if name in RESERVED else str(name): value for name, value in fields.items()}
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


def _message(record: logging.LogRecord) -> str:
    untold = getattr(record, "untold", 0)
    return f"{record.getMessage()} ({untold} more since the last such line)" if untold else record.getMessage()


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"


def _escape(text: str) -> str:
    """*text* on one line and harmless in a terminal, whatever a peer or a file put into it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
