"""The exec probe: a program and its exit status.

Knows processes, groups and pipes: how a program is started, listened to, and ended with all that it started. Knows nothing
of what programs check.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ...config.model_checks import ExecCheck
from ..targets import Target
from .finding import Finding, Unable, failed, one_line, passed

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHUNK = 65536  # octets read at once; so much fits into a pipe, too
TAIL = 1024  # octets that are kept of what a program prints
NOTABLE_WAIT = 0.05  # seconds; who waited longer for its turn is told of it


class Programs:
    """Runs programs, at most *at_once* of them. A program that cannot even be killed keeps its place until it ends."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, "exec")
        self._running: set[Running] = set()

    async def probe(self, target: Target, check: ExecCheck) -> tuple[Finding, float]:
        """Run the program; with what it says, for how many seconds it ran. Waiting for a place is not part of them.

        Raises Unable where it cannot be started.
        """
        asked = time.monotonic()
        await self._places.acquire()
        began = time.monotonic()
        try:
            running = Running(check.command, _environment(target))
        except BaseException:
            self._places.release()
            raise
        found = await self._watch(running, check.timeout)
        ended = time.monotonic()
        if began - asked > NOTABLE_WAIT:
            text = f"{found.text} (waited {began - asked:.1f} s; at most {self._at_once} programs run at once)"
            found = found._replace(text=text)
        return found, ended - began

    async def _watch(self, running: Running, timeout: float) -> Finding:
        """Wait until the program ends, but not longer than *timeout* seconds. Whoever cancels us ends the program."""
        loop = asyncio.get_running_loop()
        self._running.add(running)
        ending = loop.run_in_executor(self._threads, running.wait)
        ending.add_done_callback(lambda _: self._places.release())
        loop.add_reader(running.pipe, self._listen, running)
        try:
            await asyncio.wait((ending,), timeout=timeout)
        finally:
            loop.remove_reader(running.pipe)
            running.kill()
            self._running.discard(running)
            line = running.close()
        if not ending.done():
            return failed(f"not ended within {timeout:g} s, killed" + (f": {line}" if line else ""))
        return _judge(ending.result(), line)

    @staticmethod
    def _listen(running: Running) -> None:
        if not running.read():  # it may close what it prints to and run on; the end would be told again and again
            asyncio.get_running_loop().remove_reader(running.pipe)

    def close(self) -> None:
        """Kill what runs, and start nothing more."""
        for running in self._running:
            running.kill()
        self._threads.shutdown(wait=False)


class Running:
    """One program that runs, in a session and so in a process group of its own."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str]) -> None:
        """Start it. Raises Unable."""
        self.pipe, theirs = os.pipe()
        os.set_blocking(self.pipe, False)
        self._tail = b""
        self._lock = threading.Lock()
        try:
            self._process = subprocess.Popen(  # noqa: S603  (the operator's program, without a shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(self.pipe)
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise Unable(f"cannot start {command[0]}: {reason}") from error
        finally:
            os.close(theirs)

    def read(self) -> bool:
        """Take what it prints, and keep the end of it; false once nothing more can come."""
        try:
            octets = os.read(self.pipe, CHUNK)
        except BlockingIOError:
            return True
        self._tail = (self._tail + octets)[-TAIL:]
        return bool(octets)

    def wait(self) -> int:
        """Wait in a thread until it ends; then end whatever it left behind, and bury it. The status, negative for signals.

        While it is not buried its number is nobody else's: that is why the group is killed first.
        """
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._kill_group()
            return self._process.wait()

    def kill(self) -> None:
        """End it and all in its group, whatever they think of it. Does nothing once it is buried."""
        with self._lock:
            if self._process.returncode is None:
                self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # PermissionError: all that is left runs as somebody else
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> str:
        """Close the pipe; the last line that it printed, for people."""
        self.read()
        os.close(self.pipe)
        lines = self._tail.decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1]) if lines else ""


def _environment(target: Target) -> dict[str, str]:
    """All that a program gets: nothing of ours, which may hold secrets."""
    return {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "GEODNS_ADDRESS": target.host,
        "GEODNS_PORT": str(target.port) if target.port else "",
        "GEODNS_MEMBER": target.member,
        "GEODNS_CHECK": target.name,
    }


def _judge(status: int, line: str) -> Finding:
    said = f": {line}" if line else ""
    if status == 0:
        return passed(f"exit status 0{said}")
    if status > 0:
        return failed(f"exit status {status}{said}")
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal
        name = f"signal {-status}"
    return failed(f"ended by {name}{said}")
