"""How a log line looks: text for people and the journal, JSON for machines; always one line, on stderr.

Knows formats and levels. Knows nothing of what is logged.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time

# syslog(3) priorities, as the journal reads them at the start of a line: sd-daemon(3)
PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def set_up_log(level: str, form: str) -> None:
    """Send records of *level* ("info") and above to stderr as *form*: "text" or "json"."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JsonLines() if form == "json" else TextLines(journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level.upper(), handlers=[stream], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk or a closed stderr must not stop the daemon


class TextLines(logging.Formatter):
    """``2026-11-23T09:12:00.123Z warning text``; for the journal, which keeps the time itself, ``<4>text``."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        start = f"<{PRIORITY.get(record.levelno, 6)}>" if self._journal else f"{_time(record)} {record.levelname.lower()} "
        lines = [_escape(record.getMessage())]
        if record.exc_info:
            lines += map(_escape, self.formatException(record.exc_info).splitlines())
        return "\n".join(start + line for line in lines)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, source, message; traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "source": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"


def _escape(text: str) -> str:
    """*text* on one line and harmless in a terminal, whatever a peer or a file put into it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
