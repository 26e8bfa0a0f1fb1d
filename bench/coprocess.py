#!/usr/bin/env python3
"""A pipe backend as one writes it in an evening: what `bench/pipe.py` measures the shim against.

Knows a table of names with an address each, and says it at once. Geography, health and everything else are what it lacks.
"""

import sys

ZONE = "example.com"
TABLE = {f"n{number}.{ZONE}": "192.0.2.1" for number in range(200)}
SOA = f"ns1.{ZONE}. hostmaster.{ZONE}. 1 3600 600 604800 60"


def answer(line: str) -> str:
    """The block for one line."""
    fields = line.rstrip("\n").split("\t")
    if fields[0] == "HELO":
        return "OK\ttrivial\n"
    if fields[0] != "Q" or len(fields) < 6:
        return "FAIL\n"
    name, kind = fields[1], fields[3]
    if kind == "SOA" and name.lower() == ZONE:
        return f"DATA\t0\t1\t{name}\tIN\tSOA\t3600\t1\t{SOA}\nEND\n"
    if kind in {"A", "ANY"} and name.lower() in TABLE:
        return f"DATA\t1\t1\t{name}\tIN\tA\t30\t1\t{TABLE[name.lower()]}\nEND\n"
    return "END\n"


def main() -> None:
    """Answer until the end of standard input."""
    for line in sys.stdin:
        sys.stdout.write(answer(line))
        sys.stdout.flush()


main()
