"""Finds the shared library of the Python that runs this file.

The plugin's library runs this script with the interpreter of the environment that the package is
installed in. It imports nothing of the package. It prints `libpython=PATH`; or it says what is
missing and how to install it, and exits with status 1.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)


def candidates() -> Iterator[Path]:
    """Yield the paths where the library may be, the most likely first.

    LIBDIR is the directory that this Python was configured with. A Python that was moved has its
    library below its prefix. Distributions use a subdirectory per architecture.
    """
    architecture = sysconfig.get_config_var("MULTIARCH") or ""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:  # a static build; the distribution may package the library separately
        version = sysconfig.get_config_var("LDVERSION") or sysconfig.get_python_version()
        name = f"libpython{version}.so.1.0"
    for directory in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix, "lib")):
        if directory:
            yield Path(directory, name)
            yield Path(directory, architecture, name)


def is_file(path: Path) -> bool:
    """Return whether this is a file that the user may access."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def libpython() -> Path | None:
    """Return the path of the shared library of this Python, or None if it is not installed."""
    return next(filter(is_file, candidates()), None)


def how_to_get() -> str:
    """Return what is missing and how to install it."""
    version = sysconfig.get_python_version()
    looked_for = ", ".join(dict.fromkeys(map(str, candidates())))
    return (
        f"Python {version} has no shared library here (looked for {looked_for}). "
        f"On Debian and Ubuntu: apt-get install libpython{version}. On Fedora and Red Hat: "
        f"dnf install python{version}-libs. If you build Python yourself: configure it with "
        "--enable-shared. Or set the option libpython to the path of the library"
    )


def objection() -> str | None:
    """Return why Fluent Bit cannot use this Python and what to do, None if it can."""
    version = sysconfig.get_python_version()
    if sys.version_info < OLDEST:
        return f"Python {version} is too old: 3.11 or later is required"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return (
            f"Python {version} is free-threaded here, and in Fluent Bit a Python with a GIL is "
            f"required: install the package in an environment of python{version} instead of "
            f"python{version}t"
        )
    return None if libpython() else how_to_get()


def main() -> int:
    """Print the path or the error; return the exit status, 1 after an error."""
    problem = objection()
    print(problem or f"libpython={libpython()}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
