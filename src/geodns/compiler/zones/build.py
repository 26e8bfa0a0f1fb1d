"""The way from a loaded configuration to the zones block.

Knows the order of work. Knows nothing of how each step is done.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...config.loaded import Loaded
from ...errors import Complaint, Severity
from ...image_zones import write_zones
from ..naming import Naming
from .checks import check_loops, check_view
from .drafts import Draft, Where, build_draft, drafts_by_apex
from .graph import build_graph
from .records import Written
from .services import build_services, check_services, find_targets
from .view import build_view


def build_zones(
    loaded: Loaded, naming: Naming | None, last_serials: Mapping[str, int] | None = None
) -> tuple[bytes, list[Complaint]]:
    """The zones block and all complaints; no octets where one of them is an error, or without *naming*.

    *last_serials* are the serials served last, by zone (absolute, lower case, final dot). Reads master files; raises
    nothing for whatever stands in the configuration or in them. Without *naming* (the configuration has errors of its
    own) it only complains.
    """
    config = loaded.config
    where = _where(loaded)
    drafts = drafts_by_apex([_draft(loaded, apex, where, (last_serials or {}).get(apex)) for apex in config.zones])
    view = build_view(drafts)
    targets = {name: find_targets(config, name) for name in config.services}
    complaints = [
        *(complaint for draft in drafts.values() for complaint in draft.complaints),
        *check_services(config, where),
        *check_view(view, targets),
        *check_loops(view, targets),
    ]
    if naming is None or loaded.broken or any(complaint.severity is Severity.ERROR for complaint in complaints):
        return b"", complaints
    services, pools = build_services(config, naming)
    return write_zones(build_graph(view, services, pools, naming.shape)), complaints


def _where(loaded: Loaded) -> Where:
    def where(*path: object) -> Written:
        return Written(loaded.places.find(path), loaded.places.text(path))

    return where


def _draft(loaded: Loaded, apex: str, where: Where, last_serial: int | None) -> Draft:
    whole = not any(
        path[:1] == ("zones",) and (len(path) < 2 or str(path[1]).lower().rstrip(".") == apex.rstrip("."))
        for path in loaded.broken
    )
    zone = loaded.config.zones[apex]
    return build_draft(apex, zone, lambda *path: where("zones", apex, *path), last_serial, whole, loaded.reader)
