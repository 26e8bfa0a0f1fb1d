"""The packaged GeoIP file: where it lies, and what its licence asks us to say.

Knows the files in `builtin/`. Knows nothing of what is in the database; see `builtin/README.md` for how it was made and how
accurate it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

NAME = "geoip.mmdb"


@dataclass(frozen=True, slots=True)
class Notice:
    """What CC BY 4.0 section 3(a) asks for: who made it, where from, under which licence, that and how it was changed.

    `edition` is the month of the source, "2026-06"; `source` the package that it came in.
    """

    attribution: str
    link: str
    licence: str
    licence_link: str
    changes: str
    edition: str
    source: str

    def __str__(self) -> str:
        """One line for a terminal."""
        return (
            f"{self.attribution} ({self.link}), {self.licence} ({self.licence_link}), edition {self.edition}. {self.changes}"
        )


def database_path() -> Path:
    """The packaged database. The package is always installed as files, so it has a path."""
    return Path(str(files("geodns").joinpath("builtin", NAME)))


@cache
def notice() -> Notice:
    """The notice that belongs to the packaged database."""
    return Notice(**json.loads(files("geodns").joinpath("builtin", "notice.json").read_text(encoding="utf-8")))
