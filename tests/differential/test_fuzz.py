"""The fuzzer of both engines: it runs, and it sees what it is there to see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tests.differential.engines  # noqa: F401  (which skips this where nothing can be built)

ROOT = Path(__file__).parents[2]
# What becomes of a reply, among those that came together.
FAULTS = {
    "an octet": "reply[:-1] + bytes((reply[-1] ^ 1,)) if reply and len(found) == 33 and i == 32 else reply",
    "silence": "None if len(found) == 64 and i == 63 else reply",
}
PROGRAM = """
import runpy, sys
from geodns.native import trial
ask = trial.attempt_together
def spoilt(*arguments):
    found = ask(*arguments)
    return [(result, {fault}) for i, (result, reply) in enumerate(found)]
trial.attempt_together = spoilt
sys.argv = ["fuzz_native.py", "--packets", "3000", "--seed", "5"]
runpy.run_path("fuzz/fuzz_native.py", run_name="__main__")
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_engines_agree_for_a_moment() -> None:
    done = run(PROGRAM.format(fault="reply"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("3000 packets, seeds 5 to 5, ")
    assert done.stdout.endswith(": 0 differences\n")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen_and_named_with_its_seed(fault: str) -> None:
    done = run(PROGRAM.format(fault=FAULTS[fault]))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "seed 5: " in done.stdout
    assert done.stdout.endswith(": 1 differences\n")


def test_a_count_that_is_missing_is_seen() -> None:
    """The tally is the last argument, and the native engine must have counted whatever it answered."""
    forget = "    arguments[-1][max(range(len(arguments[-1])), key=arguments[-1].__getitem__)] -= 1\n    return"
    done = run(PROGRAM.replace("    return", forget).format(fault="reply"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "tallies differ in slots" in done.stdout
