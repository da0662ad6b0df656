"""Deliveries and storage take the time from the clock that they are given."""

import ast
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import kinesis_fast

PACKAGE = Path(kinesis_fast.__file__).parent
COMPILED = Path(__file__).resolve().parents[2] / "src_pyx/kinesis_fast"
# What measures or waits for something outside: threads of this process, locks of other processes.
FROM_THE_SYSTEM = {
    "delivery/leader_followers.pyx": {"monotonic": 2},
    "storage/directory.py": {"monotonic": 2, "sleep": 1},
}


def calls_in_python(source: str) -> Iterable[str]:
    """Yield the functions of `time` that a module calls."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "time"
        ):
            yield node.func.attr


def calls_in_cython(source: str) -> Iterable[str]:
    return re.findall(r"^[^#\n]*\btime\.(\w+)\(", source, re.MULTILINE)


def test_no_other_clock_is_read() -> None:
    """A function of `time` may be a default; called it is in two modules, besides time of day."""
    called: dict[str, Counter[str]] = {}
    for room in ("delivery", "storage"):
        found = {
            path.relative_to(PACKAGE): calls_in_python(path.read_text())
            for path in (PACKAGE / room).rglob("*.py")
        }
        found |= {
            path.relative_to(COMPILED): calls_in_cython(path.read_text())
            for path in (COMPILED / room).rglob("*.pyx")
        }
        for path, names in found.items():
            counted = Counter(set_aside(names))
            if counted:
                called[path.as_posix()] = counted
    assert called == FROM_THE_SYSTEM


def set_aside(names: Iterable[str]) -> Iterable[str]:
    """Leave out what tells or shows the time of day."""
    return (name for name in names if name not in ("time_ns", "gmtime", "strftime"))
