"""The words for what the tables hold as numbers: ranks of pools, types of members.

Knows how reports and explanations say them. Knows nothing of either.
"""

from __future__ import annotations

from .snapshot import DEAD, DRAINED, LIVE, UP
from .wire.constants import AAAA, CNAME, A

TYPE_WORDS = {A: "A", AAAA: "AAAA", CNAME: "CNAME"}
RANK_WORDS = {UP: "up", LIVE: "live", DRAINED: "drained", DEAD: "dead"}
