"""Compiles src_pyx: modules of kinesis_fast, and the library that Fluent Bit opens.

pyproject.toml has everything else about the package.

The environment variable KINESIS_FAST_BUILD selects the kind of build:
- `release`: the default;
- `sanitize`: with ASan and UBSan; preload libasan to run it;
- `fuzz`: the same with clang, and with the coverage counters that a fuzzer needs;
- `threads`: with TSan; preload libtsan to run it;
- `coverage`: gcov counts the lines of the .pyx files;
- `portable`: only the kernels that run on any CPU;
- `unoptimized`: compiled as quickly as possible.
"""

import os
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

SOURCES = Path("src_pyx")
EXPORTS = SOURCES / "exports.map"
HOST_SOURCES = SOURCES / "host"
HOST_LIBRARY = "kinesis_fast.host.out_kinesis"
USES_ZLIB = "kinesis_fast._core.codec"
# The host process may have another zlib, so ours is linked statically where its archive exists.
ZLIB_FLAGS = (["-l:libz.a"], ["-lz"])
ZLIB_PROBE = """
#include <zlib.h>
int PyInit_probe(void) { return deflateReset(0); }
"""
STABLE_ABI_MACRO, STABLE_ABI_TAG = ("Py_LIMITED_API", "0x030B0000"), "cp311"
SANITIZERS = "-fsanitize=address,undefined"
FUZZER = "-fsanitize=fuzzer-no-link,address,undefined"  # clang only

# kind of build -> (compiler flags, linker flags)
# Never use -Ofast: it would change the floating-point mode of the whole host process.
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
        [],  # the fuzzer provides the runtimes of the sanitizers
    ),
    "threads": (["-O1", "-g", "-fsanitize=thread"], ["-fsanitize=thread"]),
    "portable": (["-O3", "-g0", "-DKF_PORTABLE"], []),
    "unoptimized": (["-O0", "-g0"], []),
    "coverage": (["-O0", "-g", "--coverage"], ["--coverage"]),
}

kind = os.environ.get("KINESIS_FAST_BUILD") or "release"
if kind not in FLAGS:
    sys.exit(f"KINESIS_FAST_BUILD is {kind!r}; allowed: {', '.join(FLAGS)}")
compile_flags, link_flags = FLAGS[kind]

# The host process may use another C++ library, so ours is linked statically and not exported.
static_runtime = ["-static-libstdc++", "-static-libgcc"] if sys.platform == "linux" else []

# The stable ABI works with every Python from 3.11 on, except the free-threaded interpreters.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")
# Each kind of build has its own directory, so that builds do not mix their object files.
build_base = Path("build", kind if stable_abi else f"{kind}-free-threaded")


def extension(source: Path) -> Extension:
    """Describe the module of one .pyx file; its name follows from its path below src_pyx."""
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
    """Describe the library for Fluent Bit: plain C, not linked to Python, never unmapped."""
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
    """Finds zlib, and gives the library for Fluent Bit a plain name: it is not a Python module."""

    def build_extensions(self) -> None:
        """Build all extensions, after zlib was found for the one that needs it."""
        for built in self.extensions:
            if built.name == USES_ZLIB:
                built.extra_link_args = [*self.zlib_flags(built), *built.extra_link_args]
        super().build_extensions()

    def zlib_flags(self, user: Extension) -> Sequence[str]:
        """Return the flags that link zlib, or end the build and say what is missing."""
        with tempfile.TemporaryDirectory() as directory:
            probe = Path(directory, "probe.c")
            probe.write_text(ZLIB_PROBE, encoding="utf-8")
            for flags in ZLIB_FLAGS:
                try:
                    objects = self.compiler.compile(
                        [str(probe)], output_dir=directory, extra_postargs=["-fPIC"]
                    )
                    self.compiler.link_shared_object(
                        objects,
                        str(Path(directory, "probe.so")),
                        extra_postargs=[*flags, *user.extra_link_args],
                    )
                except (CompileError, LinkError):
                    continue
                return flags
        sys.exit(
            "kinesis-fast needs zlib and its header zlib.h to be built; install them (Debian: "
            "zlib1g-dev, Fedora: zlib-devel, Alpine: zlib-dev)"
        )

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of the file that an extension is built into."""
        if fullname == HOST_LIBRARY or fullname == HOST_LIBRARY.rpartition(".")[2]:
            return str(Path(*fullname.split("."))) + ".so"
        return str(super().get_ext_filename(fullname))


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        host_library(),
        *cythonize(
            [extension(path) for path in sorted(SOURCES.glob("kinesis_fast/**/*.pyx"))],
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
