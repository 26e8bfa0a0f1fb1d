"""`server.workers` in a whole daemon: how many threads read at each address, and that all of them do."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.adapters import needs_ipv6
from tests.snapshots import query_of
from tests.test_daemon import PATIENCE, Site, running

pytest.importorskip("geodns.native.udp", reason="no compiler, so no native engine")

QUERIES = 60  # of one flow: that one of two threads has fewer than ten of them is as likely as 3e-8
ROUNDS = 10  # on a busy machine a thread finds the next query before it could sleep: then more are needed
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells what each thread did")


def count_waits(process: int) -> dict[str, int]:
    """How often each thread for UDP has gone to sleep, by its number: once at least for each query that it woke for."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        if (task / "comm").read_text().strip() == "geodns-udp":
            (line,) = [line for line in (task / "status").read_text().splitlines() if line.startswith("voluntary")]
            found[task.name] = int(line.split()[1])
    return found


def ask_often(address: str, port: int) -> None:
    """QUERIES of one flow, one after the other. A client that is connected takes no reply from another address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as client:
        client.settimeout(PATIENCE)
        client.connect((address, port))
        for number in range(QUERIES):
            query = number.to_bytes(2, "big") + query_of("static.example.com")[2:]
            client.send(query)
            reply = client.recv(1000)
            assert reply[:2] == query[:2] and socket.inet_aton("192.0.2.9") in reply


@needs_ipv6
@pytest.mark.parametrize(
    ("listen", "asked"),
    [
        (("127.0.0.1", "127.0.0.2", "[::1]"), (("127.0.0.1",), ("127.0.0.2",), ("::1",))),
        (("0.0.0.0", "[::]"), (("127.0.0.1", "127.9.9.9"), ("::1",))),
    ],
    ids=["addresses", "wildcards"],
)
def test_two_threads_at_each_address_share_what_one_client_asks(
    tmp_path: Path, listen: tuple[str, ...], asked: tuple[tuple[str, ...], ...]
) -> None:
    """Whichever of them answers, it does so from the address that was asked."""
    site = Site(tmp_path)
    site.listen = "[" + ", ".join(f'"{address}:{site.port}"' for address in listen) + "], workers: 2"
    site.write()
    with running(site, environ={"GEODNS_PURE": ""}) as daemon:
        for addresses in asked:
            before = count_waits(daemon.process.pid)
            assert len(before) == 2 * len(listen)
            for _ in range(ROUNDS):
                for address in addresses:
                    ask_often(address, site.port)
                after = count_waits(daemon.process.pid)
                woken = sum(after[thread] >= waits + 10 for thread, waits in before.items())
                if woken == 2:
                    break
            assert woken == 2, (before, after)
