"""Files to `Loaded`: reads, merges includes, validates, and says everything that is wrong at once.

Knows files, includes and the order of work. `compose` knows YAML, `model` the keys, `check` what they mean together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import Complaint, ConfigError, Place, Severity
from .check import check_config
from .files import Files
from .include import Source, gather
from .loaded import Loaded, is_wrong, sort_complaints
from .model import Config, Server
from .model_checks import CHECK_TYPES
from .places import Places, Step, prune, walk
from .tree import Entries, make_entries
from .words import is_misspelt, tell

DEFAULT_FILES = ("geodns.yaml", "/etc/geodns/geodns.yaml")


def find_config(given: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The file to read: *given*, else GEODNS_CONFIG, ./geodns.yaml, /etc/geodns/geodns.yaml; or `ConfigError`."""
    if given is not None:
        return given
    if environ.get("GEODNS_CONFIG"):
        return Path(environ["GEODNS_CONFIG"])
    for name in DEFAULT_FILES:
        if Path(name).exists():
            return Path(name)
    text = f"no configuration: give -c FILE, set GEODNS_CONFIG, or write {' or '.join(DEFAULT_FILES)}"
    raise ConfigError((Complaint(Severity.ERROR, Place("geodns.yaml"), "", text),))


def load_config(path: Path, reader: Files | None = None) -> Loaded:
    """Read *path* with all that it names, from *reader* (default: the disk).

    `ConfigError` has every complaint, those of `check_config` included.
    """
    loaded = read_config(path, reader)
    if not is_wrong(loaded.complaints):
        return loaded
    raise ConfigError(sort_complaints((*loaded.complaints, *check_config(loaded)), loaded.files))


def read_config(path: Path, reader: Files | None = None) -> Loaded:
    """Like `load_config`, but what is wrong is left out of the result and told in its complaints.

    For those who want to go on and find more. `ConfigError` only if there is nothing to go on with.
    """
    source = gather(path, reader)
    if source.root is None:
        raise ConfigError(sort_complaints(source.complaints, source.files))
    config, complaints, broken = _validate(source)
    everything = sort_complaints((*source.complaints, *complaints), source.files)
    return Loaded(config, everything, Places(source.root, source.moved), tuple(source.files), broken, source.reader)


def load_server(path: Path, reader: Files | None = None) -> Server:
    """Only `server`, for the sockets at start; nothing behind it is read. `ConfigError` as for the whole."""
    source = Source(path, reader)
    root = source.compose_file(path, only="server")
    if root is None or "server" not in root:
        if is_wrong(source.complaints):
            raise ConfigError(tuple(source.complaints))
        return Server()
    source.root = make_entries(root.place)
    source.root["server"], source.root.keys_at["server"] = root["server"], root.keys_at["server"]
    config, complaints, _ = _validate(source)
    if is_wrong((*source.complaints, *complaints)):
        raise ConfigError(sort_complaints((*source.complaints, *complaints), source.files))
    return config.server


def _validate(source: Source) -> tuple[Config, list[Complaint], frozenset[tuple[Step, ...]]]:
    """The model of what is right, complaints about what is not, and which parts were left out.

    What is wrong is cut out at the nearest key and the rest is read again, until the rest is right: so the checks of
    meaning can run over it, and one run tells all.
    """
    assert source.root is not None
    data, places = source.root, Places(source.root, source.moved)
    complaints: list[Complaint] = []
    broken: set[tuple[Step, ...]] = set()
    while True:
        try:
            return Config.model_validate(data), complaints, frozenset(broken)
        except ValidationError as failure:
            errors = failure.errors(include_url=False)
        if not broken:
            told = {complaint.place for complaint in source.complaints}
            every = [_complain(places, error) for error in errors if not is_misspelt(error, errors)]
            complaints = [complaint for complaint in every if complaint.place not in told]
        cuts = {cut for error in errors if (cut := _nearest_key(data, _written(error["loc"])))}
        if not cuts:  # the top itself is wrong: nothing can be kept
            return Config(), complaints, frozenset({()})
        broken |= cuts
        data = prune(data, cuts)


def _written(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A path as pydantic gives it, without the tag of the checks' union."""
    if len(location) > 2 and location[0] == "checks" and location[2] in CHECK_TYPES:
        return (*location[:2], *location[3:])
    return location


def _nearest_key(data: Entries, path: tuple[int | str, ...]) -> tuple[Step, ...]:
    """The written steps to the innermost *key* on *path*; never a list's item, or later indices would shift."""
    steps = walk(data, path)[2]
    while steps and isinstance(steps[-1], int):
        steps = steps[:-1]
    return steps


def _complain(places: Places, error: Any) -> Complaint:
    path = _written(error["loc"])
    if error["type"] == "extra_forbidden":
        return Complaint(Severity.ERROR, places.find_key(path), "", tell(error))
    return places.error(path, tell(error))
