"""The native engine, built where a compiler and Cython are; without them the package installs and works as before."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

sys.path.insert(0, "src")
from geodns.native import find_digest, find_shared

try:
    from Cython.Build import cythonize
except ImportError:
    cythonize = None

NATIVE = Path("src/geodns/native")
# A fused multiplication would round otherwise than Python does, and the maps block must be the same from both compilers.
FLAGS = ["-O2", "-ffp-contract=off", "-Wno-unused-function", "-Wno-address-of-packed-member"]
# `make sanitize`: an octet read or written out of bounds ends the process, and so does what C leaves undefined.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"] if os.environ.get("GEODNS_SANITIZE") else []
EXTENSIONS = [
    Extension(
        f"geodns.native.{path.stem}",
        [str(path)],
        depends=find_shared(NATIVE),
        define_macros=[("SOURCE_DIGEST", f'"{find_digest(NATIVE, path.stem)}"')],
        extra_compile_args=[*FLAGS, *SANITIZERS, *(["-O1", "-g1"] if SANITIZERS else [])],
        extra_link_args=SANITIZERS,
        optional=True,
    )
    for path in sorted(NATIVE.glob("*.pyx"))
]
DIRECTIVES = {
    "language_level": 3, "boundscheck": False, "wraparound": False, "initializedcheck": False, "cdivision": True,
    "freethreading_compatible": True,
}  # fmt: skip


def extensions():
    """Nothing without Cython. What a compiler cannot build is left out, since all are optional."""
    if cythonize is None:
        return []
    built = cythonize(EXTENSIONS, build_dir="build/cython", compiler_directives=DIRECTIVES)
    for extension in built:
        extension.optional = True  # Cython makes new ones, and this does not pass to them
    return built


setup(ext_modules=extensions())
