"""``python -m geodns``: the same as the console script.

Knows nothing but its name.
"""

import sys

from .entry import main

if __name__ == "__main__":
    sys.exit(main())
