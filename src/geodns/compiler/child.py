"""The daemon's side of the compiler's process: started, bounded in time, listened to.

Knows processes and pipes. Knows nothing of what is compiled. By exec and never by fork: a forked child would go on
receiving queries on the sockets that it inherited. It dies with its parent, whose end of its stdin then closes.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from pathlib import Path

from ..errors import GeodnsError
from ..threads import in_thread
from .handover import Handover, Old, Refusal, pack_old, refuse, unpack

COMPILE_LIMIT = 900.0  # seconds: several times what the largest databases take on a slow machine
PORTION = 1 << 16  # octets written at once, which is what a pipe holds


async def compile_in_child(
    path: Path,
    state: Path | None,
    images: Path | None,
    *,
    old: Old | None = None,
    last_good: bool = False,
    nice: bool = False,
    limit: float = COMPILE_LIMIT,
) -> Handover | Refusal:
    """Compile the configuration at *path* in a process of its own; whatever goes wrong is a `Refusal`, never a hang.

    With *old* it is compared with what is served; with *last_good* the copies kept in *state* are compiled in place of the
    files. With *nice* it leaves the processor to whoever answers queries. Cancelling ends the process too.
    """
    sent = pack_old(old) if old else b""
    command = [sys.executable, "-P", "-m", "geodns.compiler", str(path)]
    command += [f"--state={state}"] if state else []
    command += [f"--images={images}"] if images else []
    command += [f"--old={len(sent)}"] if sent else []
    command += ["--last-good"] if last_good else []
    command += ["--nice"] if nice else []
    try:
        # A group of its own, so that ^C ends us alone; but no session: niceness counts for nothing between sessions where
        # the kernel groups tasks by them (sched(7), autogroup).
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, process_group=0
        )
    except OSError as error:
        return Refusal((f"cannot start the compiler, {sys.executable}: {error.strerror}",), 1)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(limit):
            await _send(process.stdin, sent)
            octets = await process.stdout.read()
            status = await process.wait()
    except TimeoutError:
        return Refusal((f"compiling took more than {limit:g} s and was stopped",), 1)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status != 0:
        return Refusal((f"the compiler {_describe(status)}",), 1)
    try:
        return await _unpack(octets)
    except GeodnsError as error:
        return refuse(error)


async def _unpack(octets: bytes) -> Handover | Refusal:
    """In a thread: ten thousand members take 100 ms. The collector neither looks meanwhile, nor ever at what came of it.

    What is frozen goes with its last reference, since it is without cycles. Raises GeodnsError.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        outcome = await in_thread(unpack, octets)
        gc.freeze()
        return outcome
    finally:
        if enabled:
            gc.enable()


async def _send(stdin: asyncio.StreamWriter, octets: bytes) -> None:
    """Write *octets* in portions, since a writer that holds megabytes moves them all at each step.

    A child that has ended takes no more; its status says why.
    """
    view = memoryview(octets)
    try:
        for start in range(0, len(view), PORTION):
            stdin.write(view[start : start + PORTION])
            await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return


def _describe(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    hint = " (out of memory?)" if -status == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-status).name}{hint}"
