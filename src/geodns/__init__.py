"""geodns: the address of the nearest healthy datacenter, and why."""

__version__ = "0.1.0"
