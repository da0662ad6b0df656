"""Compiles src_pyx: the modules of kinesis_fast._core, and the library that Fluent Bit opens.

All else about the package stands in pyproject.toml.

KINESIS_FAST_BUILD in the environment picks the kind of build: `release` (the default), `sanitize`
(ASan + UBSan; run it with libasan preloaded), `fuzz` (the same by clang, with the counters that a
fuzzer follows), `threads` (TSan; run it with libtsan preloaded), `coverage` (gcov counts lines of
the .pyx files) or `portable` (the kernels for a CPU that is not known, whatever this one is).
"""

import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("src_pyx")
EXPORTS = SOURCES / "exports.map"
HOST_SOURCES = SOURCES / "host"
HOST_LIBRARY = "kinesis_fast.host.out_kinesis"
STABLE_ABI_MACRO, STABLE_ABI_TAG = ("Py_LIMITED_API", "0x030B0000"), "cp311"
SANITIZERS = "-fsanitize=address,undefined"
FUZZER = "-fsanitize=fuzzer-no-link,address,undefined"  # clang only

# kind of build -> (flags to compile with, flags to link with)
# Never -Ofast: it would switch the floating-point mode of the whole host process.
FLAGS: dict[str, tuple[list[str], list[str]]] = {
    "release": (["-O3", "-g0"], []),
    "sanitize": (
        [
            *("-O1", "-g", "-DKF_EXACT_BUFFERS", SANITIZERS, "-fno-sanitize-recover"),
            *("-fno-wrapv", "-fno-omit-frame-pointer"),
        ],
        [SANITIZERS],
    ),
    "fuzz": (
        [
            *("-O1", "-g", "-DKF_EXACT_BUFFERS", FUZZER, "-fno-sanitize=function"),
            *("-fno-sanitize-recover=all", "-fno-wrapv", "-fno-omit-frame-pointer"),
        ],
        [],  # the fuzzer brings the runtimes of the sanitizers
    ),
    "threads": (["-O1", "-g", "-fsanitize=thread"], ["-fsanitize=thread"]),
    "portable": (["-O3", "-g0", "-DKF_PORTABLE"], []),
    "coverage": (["-O0", "-g", "--coverage"], ["--coverage"]),
}

kind = os.environ.get("KINESIS_FAST_BUILD") or "release"
if kind not in FLAGS:
    sys.exit(f"KINESIS_FAST_BUILD is {kind!r}; allowed: {', '.join(FLAGS)}")
compile_flags, link_flags = FLAGS[kind]

# A host process may bring a C++ library of its own: ours is linked in, and none of it is exported.
static_runtime = ["-static-libstdc++", "-static-libgcc"] if sys.platform == "linux" else []

# The stable ABI serves every Python from 3.11 on, but not the free-threaded interpreters.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")
# Each kind of build has its own directory, so that none picks up another's objects.
build_base = Path("build", kind if stable_abi else f"{kind}-free-threaded")


def extension(source: Path) -> Extension:
    """Describe the module compiled from one .pyx file, named after its place below src_pyx."""
    return Extension(
        ".".join(source.relative_to(SOURCES).with_suffix("").parts),
        [str(source)],
        language="c++",
        include_dirs=[str(SOURCES)],
        depends=[str(EXPORTS), *(str(path) for path in sorted(SOURCES.glob("kernels/*.h*")))],
        define_macros=[STABLE_ABI_MACRO] if stable_abi else [],
        py_limited_api=stable_abi,
        extra_compile_args=["-std=c++17", "-fvisibility=hidden", *compile_flags],
        extra_link_args=[*static_runtime, f"-Wl,--version-script={EXPORTS}", *link_flags],
    )


def host_library() -> Extension:
    """Describe the library for Fluent Bit: plain C, no Python in it, never unmapped."""
    exports = HOST_SOURCES / "exports.map"
    return Extension(
        HOST_LIBRARY,
        [str(path) for path in sorted(HOST_SOURCES.glob("*.c"))],
        depends=[str(exports), *(str(path) for path in sorted(HOST_SOURCES.glob("*.h")))],
        extra_compile_args=["-std=c11", "-fvisibility=hidden", "-pthread", *compile_flags],
        extra_link_args=[
            *("-static-libgcc", "-pthread", "-ldl", "-Wl,-z,nodelete", "-Wl,-z,now"),
            f"-Wl,--version-script={exports}",
            *link_flags,
        ],
    )


class BuildExt(build_ext):
    """Gives the library for Fluent Bit its plain name: it is no module of Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of what is built of an extension."""
        if fullname == HOST_LIBRARY or fullname == HOST_LIBRARY.rpartition(".")[2]:
            return str(Path(*fullname.split("."))) + ".so"
        return str(super().get_ext_filename(fullname))


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        host_library(),
        *cythonize(
            [extension(path) for path in sorted(SOURCES.glob("kinesis_fast/_core/*.pyx"))],
            build_dir=str(build_base / "cython"),
            include_path=[str(SOURCES)],
            emit_linenums=kind == "coverage",
            compiler_directives={"language_level": 3, "freethreading_compatible": True},
        ),
    ],
    options={
        "build": {"build_base": str(build_base)},
        "build_ext": {"parallel": os.cpu_count()},
        "bdist_wheel": {"py_limited_api": STABLE_ABI_TAG} if stable_abi else {},
    },
)
