"""Finds the shared library of the Python that runs this file.

Run as a script by the plugin's library, with the interpreter of the environment that the package is
installed in; imports nothing of the package. Prints `libpython=PATH`; or says what is missing and
how to get it, and exits with status 1.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)


def candidates() -> Iterator[Path]:
    """Where the library may lie, the likeliest first.

    LIBDIR is what this Python was configured with; one that was moved has its library beside its
    prefix. Distributions have a directory for each architecture.
    """
    architecture = sysconfig.get_config_var("MULTIARCH") or ""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:  # a static build; its distribution may have the library separately
        version = sysconfig.get_config_var("LDVERSION") or sysconfig.get_python_version()
        name = f"libpython{version}.so.1.0"
    for directory in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix, "lib")):
        if directory:
            yield Path(directory, name)
            yield Path(directory, architecture, name)


def is_file(path: Path) -> bool:
    """Whether there is such a file for this user; False as well where it may not be looked for."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def libpython() -> Path | None:
    """The shared library of this Python, None when it is not installed."""
    return next(filter(is_file, candidates()), None)


def how_to_get() -> str:
    """What to do when it is not there."""
    version = sysconfig.get_python_version()
    looked_for = ", ".join(dict.fromkeys(map(str, candidates())))
    return (
        f"Python {version} has no shared library here (looked for {looked_for}). "
        f"On Debian and Ubuntu: apt-get install libpython{version}; on Fedora and Red Hat: "
        f"dnf install python{version}-libs; a Python of your own has to be configured with "
        "--enable-shared. Or name the file with the option libpython"
    )


def main() -> int:
    """Print the answer; the exit status is 1 when it is an error."""
    if sys.version_info < OLDEST:
        print(f"Python {sysconfig.get_python_version()} is too old: 3.11 or later is needed")
        return 1
    path = libpython()
    print(f"libpython={path}" if path else how_to_get())
    return 0 if path else 1


if __name__ == "__main__":
    sys.exit(main())
