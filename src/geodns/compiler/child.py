"""The daemon's side of the compiler's process: started, bounded in time, listened to.

Knows processes and pipes. Knows nothing of what is compiled. By exec and never by fork: a forked child would go on
receiving queries on the sockets that it inherited. It dies with its parent, whose end of its stdin then closes.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from ..errors import GeodnsError
from .handover import Handover, Refusal, refuse, unpack

COMPILE_LIMIT = 900.0  # seconds: several times what the largest databases take on a slow machine


async def compile_in_child(
    path: Path, state: Path | None, images: Path | None, limit: float = COMPILE_LIMIT
) -> Handover | Refusal:
    """Compile the configuration at *path* in a process of its own; whatever goes wrong is a `Refusal`, never a hang.

    Cancelling ends the process too.
    """
    command = [sys.executable, "-P", "-m", "geodns.compiler", str(path)]
    command += [f"--state={state}"] if state else []
    command += [f"--images={images}"] if images else []
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        return Refusal((f"cannot start the compiler, {sys.executable}: {error.strerror}",), 1)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(limit):
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
        return unpack(octets)
    except GeodnsError as error:
        return refuse(error)


def _describe(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    hint = " (out of memory?)" if -status == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-status).name}{hint}"
