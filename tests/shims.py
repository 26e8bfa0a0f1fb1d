"""A shim as PowerDNS starts it, and a daemon that does with it what a test wants."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE = 10.0  # seconds until something that was waited for has failed
GREETING = b"OK\tgeodns 0 ready\n"
Reply = Sequence[bytes | None]  # pieces of what the daemon says; None closes the connection


class Shim:
    """`geodns pipe` with our ends of its standard input and output; what it says to the operator is in a file."""

    def __init__(self, *options: str, environ: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "geodns", "pipe", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=os.environ | {"PYTHONWARNINGS": "error"} | dict(environ or {}),
            pass_fds=pass_fds,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def write(self, octets: bytes) -> None:
        rest = memoryview(octets)
        while rest:
            rest = rest[self.stdin.write(rest) :]

    def read_block(self, patience: float = PATIENCE) -> bytes:
        """Up to a line that ends a block, however long it is; a line more would be in it."""
        block, deadline = b"", time.monotonic() + patience
        while not (block.endswith((b"\nEND\n", b"\nFAIL\n")) or block in {b"END\n", b"FAIL\n"} or block.startswith(b"OK")):
            assert select.select([self.stdout], [], [], max(0.0, deadline - time.monotonic()))[0], block
            octets = os.read(self.stdout.fileno(), 1 << 16)
            assert octets, block
            block += octets
        return block

    def ask(self, line: bytes, patience: float = PATIENCE) -> bytes:
        """The block for *line*."""
        self.write(line + b"\n")
        return self.read_block(patience)

    def is_silent(self, seconds: float = 0.05) -> bool:
        """Has it nothing to say, for so long?"""
        return not select.select([self.stdout], [], [], seconds)[0]

    def greet(self, abi: int = 5) -> bytes:
        return self.ask(b"HELO\t%d" % abi)

    def errors(self) -> str:
        """All that it has said to the operator."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def end(self) -> int:
        """End of its input; its exit status."""
        self.stdin.close()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.stdout.close()
        self._errors.close()


def echo(line: bytes) -> Reply:
    """A block with the name that was asked."""
    name = line.split(b"\t")[1] if b"\t" in line else line
    return (b"DATA\t0\t1\t%b\tIN\tA\t60\t1\t192.0.2.1\nEND\n" % name,)


class Daemon:
    """A daemon on the unix socket *path*: greets, and says to each line what `answer` has for it. Notes all lines."""

    def __init__(self, path: Path, answer: Callable[[bytes], Reply] = echo) -> None:
        self.path, self.answer = path, answer
        self.greeting: Reply = (GREETING,)
        self.lines: list[bytes] = []
        self.connections = 0
        self.open: list[socket.socket] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(accepted)
            self._threads.append(threading.Thread(target=self._serve, args=(accepted,)))
            self._threads[-1].start()

    def _serve(self, accepted: socket.socket) -> None:
        with suppress(OSError), accepted, accepted.makefile("rb") as lines:
            for line in lines:
                self.lines.append(line)
                for piece in self.greeting if line.startswith(b"HELO") else self.answer(line.rstrip(b"\n")):
                    if piece is None:
                        accepted.shutdown(socket.SHUT_RDWR)
                        return
                    accepted.sendall(piece)

    def hang_up(self) -> None:
        """Close all connections."""
        while self.open:
            with suppress(OSError):
                self.open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Die: nobody listens any more."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._threads[0].join(PATIENCE)
        self.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)
        self.path.unlink(missing_ok=True)


def wait_until(true: Callable[[], object], patience: float = PATIENCE) -> None:
    """Return once *true* is; fails after *patience* seconds."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def find_daemons(config: Path) -> list[int]:
    """Processes of `serve --backend-only` for *config*."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--backend-only" in words and os.fsencode(config) in words:
            found.append(int(entry.name))
    return found


def end_daemons(config: Path) -> None:
    """End them, also those that hang."""
    for process in find_daemons(config):
        os.kill(process, signal.SIGCONT)
        os.kill(process, signal.SIGTERM)
    wait_until(lambda: not find_daemons(config))
