"""What the parts of a configuration mean together: references, names, weights.

Knows `Loaded`. Does no input or output, and does not read rdata.
"""

from __future__ import annotations

from ..errors import Complaint
from .load import Loaded


def check_config(loaded: Loaded) -> list[Complaint]:
    """Everything that the model alone cannot see."""
    return []
