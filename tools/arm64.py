"""Build the wheel for arm64 and test it, on an x86-64 with Debian, by emulation.

    python tools/arm64.py [-- ARGUMENT...]

It needs the cross-compiler (Debian: apt-get install g++-aarch64-linux-gnu), Linux 6.7 or later, and
user namespaces. Everything else comes from the package sources that apt-get and pip use on this
machine: Debian's Python for arm64 with its headers, QEMU, and what the tests need. It is unpacked
into .arm64, so nothing is installed and no setting of the machine changes.

arm64_tests.py says which tests run, and why others do not; arguments replace those for pytest. The
time that something takes under emulation says nothing about the speed of a processor.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from arm64_system import System, UnavailableError
from arm64_tests import LEFT_OUT, runs

TREE = Path(__file__).resolve().parent.parent
BASE = TREE / ".arm64"
INSIDE = Path(__file__).resolve().parent / "arm64_inside.sh"
COMPILERS = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++")
PIP = (sys.executable, "-m", "pip", "--quiet")
# Wheels for these platforms run in the system.
PLATFORMS = ("linux_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64")
NAMESPACES = ("--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
IN_PARALLEL = ("--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = argparse.ArgumentParser(description="Test kinesis_fast for arm64 by emulation.")
    parser.add_argument("arguments", nargs="*", help="for pytest, instead of the usual runs")
    options = parser.parse_args(arguments)
    try:
        check_machine()
        system = System(BASE)
        system.prepare()
        check_emulation(system)
        install(system, build(system))
    except UnavailableError as error:
        print(f"arm64: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"arm64: this failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return test(system, options.arguments)


def check_machine() -> None:
    """Raise UnavailableError if a program is missing, or there is nothing to emulate."""
    if os.uname().machine == "aarch64":
        raise UnavailableError("this machine is an arm64; run `make test`")
    missing = [name for name in COMPILERS if shutil.which(name) is None]
    if missing:
        raise UnavailableError(
            f"{missing[0]} is missing (Debian: apt-get install g++-aarch64-linux-gnu)"
        )
    for name in ("apt-get", "dpkg", "dpkg-deb", "tar", "unshare", "mount", "chroot"):
        if shutil.which(name) is None:
            raise UnavailableError(f"{name} is missing; this works on Debian and its relatives")


def check_emulation(system: System) -> None:
    """Raise UnavailableError if no program for arm64 starts in the system."""
    command = inside(system, ["/usr/bin/true"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(
            f"no program for arm64 starts here: {done.stderr.strip()}\n"
            "This needs user namespaces, and a Linux (6.7 or later) with binfmt_misc in them."
        )


def build(system: System) -> Path:
    """Build the wheel and return its path."""
    print("arm64: building the wheel", flush=True)
    wheels = BASE / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    c, cxx = (f"{name} --sysroot={system.root}" for name in COMPILERS)
    environment = {
        **os.environ,
        **{"CC": c, "CXX": cxx, "LDSHARED": f"{c} -shared", "LDCXXSHARED": f"{cxx} -shared"},
        "CFLAGS": f"-I{system.python_headers}",
        # Let the Python of this machine believe that it is the one in the system.
        "PYTHONPATH": str(system.build_settings.parent),
        "_PYTHON_SYSCONFIGDATA_NAME": system.build_settings.stem,
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
    }
    command = [*PIP, "wheel", "--no-build-isolation", "--no-deps", "-w", str(wheels), "."]
    subprocess.run(command, cwd=TREE, env=environment, check=True)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def install(system: System, wheel: Path) -> None:
    """Install the wheel, and what the tests need if that has changed."""
    platforms = [f"--platform={name}" for name in PLATFORMS]
    pip = [*PIP, "install", "--upgrade", "--target", str(system.packages), *platforms]
    pip += ["--only-binary=:all:", "--python-version", system.python_version]
    needs = (TREE / "pyproject.toml").read_text()
    if system.remembers("packages", needs):
        subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
        return
    print("arm64: installing what the tests need", flush=True)
    shutil.rmtree(system.packages, ignore_errors=True)
    subprocess.run([*pip, f"{wheel}[test]"], check=True)
    system.remember("packages", needs)


def test(system: System, arguments: Sequence[str]) -> int:
    """Run pytest with these arguments, or all runs; returns 1 if one fails."""
    if arguments:
        return run_pytest(system, arguments)
    for file, reason in LEFT_OUT.items():
        print(f"arm64: left out: {file}: {reason}")
    status = 0
    for run in runs():
        print(f"arm64: {run.title}", flush=True)
        status |= run_pytest(system, run.arguments)
    return 1 if status else 0


def run_pytest(system: System, arguments: Sequence[str]) -> int:
    """Run pytest in the system; returns its exit status."""
    pytest = ["/usr/bin/python3", "-P", "-m", "pytest", "-p", "no:cacheprovider", *IN_PARALLEL]
    return subprocess.run(inside(system, [*pytest, *arguments]), check=False).returncode


def inside(system: System, command: Sequence[str]) -> list[str]:
    """Return the command line that runs a command in the system."""
    places = map(str, (INSIDE, system.root, TREE, system.emulator))
    return ["unshare", *NAMESPACES, "sh", *places, *command]


if __name__ == "__main__":
    sys.exit(main())
