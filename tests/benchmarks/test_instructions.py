"""What the gate accepts and rejects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import instructions
import pytest
from instructions import judge, report
from workloads import all_workloads

BUILT = {"compiler": "gcc 12.2.0", "cpu": "x86_64 with AVX2"}


def recorded(count: int, **different: str) -> dict[str, Any]:
    """A file with one chunk."""
    return {**BUILT, **different, "instructions": {"a": count}}


@pytest.mark.parametrize(
    ("count", "status", "remark"),
    [
        (1029, 0, ""),
        (1031, 1, "TOO MANY"),
        (950, 0, ""),
        (949, 0, "bench-gate-update"),
    ],
)
def test_tolerance(
    count: int, status: int, remark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report({"a": count}, BUILT, recorded(1000)) == status
    said = capsys.readouterr().out
    assert remark in said
    assert ("TOO MANY" in said) == (status == 1)


@pytest.mark.parametrize(("count", "status"), [(1149, 0), (1151, 1)])
def test_another_compiler_has_more_tolerance(count: int, status: int) -> None:
    assert report({"a": count}, BUILT, recorded(1000, compiler="clang 19.1.0")) == status


def test_another_cpu_is_said_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert report({"a": 9000}, BUILT, recorded(1000, cpu="aarch64")) == 0
    assert "SKIPPED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "known"), [({"a": 1}, {"a": 1, "b": 1}), ({"a": 1, "b": 1}, {"a": 1})]
)
def test_a_chunk_on_one_side_only_is_a_fault(
    counts: Mapping[str, int], known: Mapping[str, int]
) -> None:
    assert [verdict.is_fault for verdict in judge(counts, known, 0.03)] == [True, False]


def test_every_chunk_is_recorded() -> None:
    known = json.loads(instructions.BASELINE.read_text())["instructions"]
    kinds = ("plain", "shaped")
    assert set(known) == {f"{work.name}, {kind}" for work in all_workloads() for kind in kinds}


def test_the_compiler_of_the_installed_modules_is_known() -> None:
    assert instructions.built_with()["compiler"].startswith(("gcc ", "clang "))
