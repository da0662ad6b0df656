"""The tests that run under emulation, and those that are left out."""

from __future__ import annotations

from collections.abc import Iterator

LEFT_OUT: dict[str, tuple[str, ...]] = {}


def chosen() -> list[str]:
    """Return the arguments for pytest."""
    arguments = ["tests/core", "tests/host"]
    for nodes, _ in left_out():
        for node in nodes:
            option = "--deselect" if "::" in node else "--ignore"
            arguments.append(f"{option}={node}")
    return arguments


def left_out() -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the files and tests that are left out, and the reason."""
    for reason, nodes in LEFT_OUT.items():
        yield nodes, reason
