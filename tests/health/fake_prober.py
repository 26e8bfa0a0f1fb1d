"""A process like `geodns.health.prober` whose probes do what the target's host says, for the tests of both ends.

up, down            at once
late SECONDS        up, after so long
hang SECONDS        a time-out: down, and nothing was seen
busy SECONDS        up, after so much processor time in four parts
bug                 raises
exit, stop, babble, close      the process ends, stops, sends garbage to the daemon, closes the socket and lives on
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from geodns.config.model_checks import TcpCheck
from geodns.health.prober import serve
from geodns.health.state import Outcome, Verdict
from geodns.health.targets import Target


def make_target(key: str, host: str = "up", interval: float = 0.1) -> Target:
    """A target that the probes below understand."""
    check = TcpCheck(type="tcp", port=80, interval=interval, timeout=interval)
    return Target(key, key, check, "web", host, 80, "192.0.2.1", ("ams",))


class FakeProbes:
    """Counts what is under way; `highest` is the most that ever was."""

    def __init__(self) -> None:
        self.under_way: set[str] = set()
        self.highest = self.started = 0
        self.closed = False

    async def probe(self, target: Target) -> Outcome:
        assert target.key not in self.under_way, f"{target.key} is under way twice"
        self.under_way.add(target.key)
        self.highest, self.started = max(self.highest, len(self.under_way)), self.started + 1
        try:
            return await self._probe(target)
        finally:
            self.under_way.discard(target.key)

    async def _probe(self, target: Target) -> Outcome:
        word, _, seconds = target.host.partition(" ")
        verdict, seen = Verdict.UP, True
        match word:
            case "up":
                pass
            case "down":
                verdict = Verdict.DOWN
            case "late":
                await asyncio.sleep(float(seconds))
            case "hang":
                await asyncio.sleep(float(seconds))
                verdict, seen = Verdict.DOWN, False
            case "busy":
                for _ in range(4):
                    until = time.thread_time() + float(seconds) / 4
                    while time.thread_time() < until:
                        pass
                    await asyncio.sleep(0)
            case "exit":
                os._exit(3)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "babble":
                os.write(int(sys.argv[1]), b"\0\0\0\7garbage")
            case "close":
                os.close(int(sys.argv[1]))
                while True:
                    signal.pause()
            case _:
                raise RuntimeError("what is this?")
        return Outcome(target.key, verdict, seen, f"{word} by {os.getpid()}", 0.01)

    async def close(self) -> None:
        self.closed = True


if __name__ == "__main__":
    serve(sys.argv[1:], FakeProbes)
