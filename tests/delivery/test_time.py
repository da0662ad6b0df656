"""Deliveries and storage take the time from the clock that they are given."""

import ast
from collections import Counter
from pathlib import Path

import kinesis_fast

PACKAGE = Path(kinesis_fast.__file__).parent
# What measures or waits for something outside: threads of this process, locks of other processes.
FROM_THE_SYSTEM = {
    "delivery/leader_followers.py": {"monotonic": 2},
    "storage/directory.py": {"monotonic": 2, "sleep": 1},
}


def test_no_other_clock_is_read() -> None:
    """A function of `time` may be a default; called it is in two modules, besides time of day."""
    called: dict[str, Counter[str]] = {}
    for room in ("delivery", "storage"):
        for path in (PACKAGE / room).rglob("*.py"):
            names = Counter(
                node.func.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "time"
                and node.func.attr not in ("time_ns", "gmtime", "strftime")
            )
            if names:
                called[path.relative_to(PACKAGE).as_posix()] = names
    assert called == FROM_THE_SYSTEM


def test_time_is_imported_as_a_module() -> None:
    """So that the test above sees every call."""
    for room in ("delivery", "storage"):
        for path in (PACKAGE / room).rglob("*.py"):
            assert "from time import" not in path.read_text(), path
