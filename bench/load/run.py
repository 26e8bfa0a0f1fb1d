#!/usr/bin/env python3
"""Start geodns pinned to CPU 0 with the configuration of this folder, and measure it beside its peers with compare.py.

    run.py [--pure] [arguments of compare.py, such as --bar pure --rounds 9 --only pdns]

Knows how to start and stop our server. Knows nothing of how it is measured.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from bench.load import compare  # noqa: E402

PORT = 5300


def write_config(folder: Path, database: str) -> Path:
    """The configuration of this folder with *database* and a state folder of its own."""
    text = (HERE / "geodns.yaml").read_text()
    path = folder / "geodns.yaml"
    path.write_text(
        text.replace("server:\n", f"server:\n  state: {folder}/state\n", 1) + f"geoip: {{database: {database}}}\n"
    )
    (folder / "state").mkdir()
    return path


def main() -> int:
    """Exit status of compare.py."""
    arguments = [a for a in sys.argv[1:] if a != "--pure"]
    environment = dict(os.environ, GEODNS_PURE="1") if "--pure" in sys.argv else dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), compare.database(None))
        command = ["taskset", "-c", "0", sys.executable, "-m", "geodns", "serve", "-c", str(config)]
        server = subprocess.Popen(command, env=environment)
        try:
            if not compare.ready(compare.Server(compare.OURS, PORT, str(server.pid))):
                return 1
            ours = f"{PORT}:{server.pid}"
            return subprocess.run(
                [sys.executable, str(HERE / "compare.py"), "--ours", ours, *arguments], check=False
            ).returncode
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)


if __name__ == "__main__":
    sys.exit(main())
