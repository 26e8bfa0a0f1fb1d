"""From `zones:` and master files to the zones block, and every complaint that a zone checker would have.

Knows, module by module: `records` what one record is and where it was written; `values` the text of rdata; `master`
master files; `drafts` what one zone holds, YAML over file; `view` what stands where when all zones are seen together;
`checks` the complaints; `services` services and pools; `graph` the tables. `presentation` is the way back to text. dnspython
is used in here and nowhere else of the compiler.
"""

from .build import build_zones

__all__ = ["build_zones"]
