#!/usr/bin/env python3
"""A pipe backend as one writes it in an evening: what `bench/pipe.py` measures the shim against.

    coprocess.py                  answers by itself
    coprocess.py serve PATH       answers whoever connects to the socket there
    coprocess.py relay PATH       carries lines to that socket and what comes back, and looks at nothing

Knows a table of names with an address each, and says it at once. Geography, health and everything else are what it lacks.
The last two together are the least that a process between PowerDNS and the one that answers can cost.
"""

import os
import signal
import socket
import sys

READ_SIZE = 1 << 16

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


def answer_all() -> None:
    """Answer until the end of standard input."""
    for line in sys.stdin:
        sys.stdout.write(answer(line))
        sys.stdout.flush()


def serve(path: str) -> None:
    """Answer on the socket at *path*, a process for each connection."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        while True:
            connection, _ = listening.accept()
            if not os.fork():
                while octets := connection.recv(READ_SIZE):
                    connection.sendall(answer(octets.decode()).encode())
                os._exit(0)
            connection.close()


def relay(path: str) -> None:
    """Carry lines there and blocks back until the end of standard input."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        while octets := os.read(0, READ_SIZE):
            connection.sendall(octets)
            os.write(1, connection.recv(READ_SIZE))


if len(sys.argv) > 1:
    {"serve": serve, "relay": relay}[sys.argv[1]](sys.argv[2])
else:
    answer_all()
