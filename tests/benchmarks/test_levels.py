"""What the gate of the CPU levels accepts and rejects."""

from __future__ import annotations

import pytest
from compare_encode import WrongResultError
from levels import Row, Work, at_level, check_levels
from timing import Series

from kinesis_fast._core import kernels


def row(**cpu_ns: float) -> Row:
    """A row in which each contender takes as long as said, in each of three rounds."""
    work = Work("work", list, "ns", lambda ns: ns, targets={"avx2": 2.5})
    times = {name: tuple(ns * load for load in (1, 3, 2)) for name, ns in cpu_ns.items()}
    return Row(work, {name: Series(taken, taken) for name, taken in times.items()})


def test_each_level_may_take_a_tenth_more_than_a_narrower_one() -> None:
    assert row(scalar=89, ssse3=95, avx2=98, reference=250).missed == []


def test_a_level_that_is_slower_than_any_narrower_one_is_named() -> None:
    missed = row(scalar=100, ssse3=50, avx2=60, reference=300).missed

    assert missed == ["work: avx2 is 0.83x as fast as ssse3 (target 0.9x)"]


def test_a_level_that_is_not_faster_than_the_reference_as_wanted_is_named() -> None:
    missed = row(scalar=100, ssse3=100, avx2=100, reference=240).missed

    assert missed == ["work: avx2 is 2.40x as fast as reference (target 2.5x)"]


def test_a_cpu_without_the_level_of_a_target_misses_nothing() -> None:
    assert row(scalar=100, reference=100).missed == []


def test_a_wrong_result_of_any_level_ends_the_measurement() -> None:
    wrong = kernels.levels()[-1]

    with pytest.raises(WrongResultError, match=f"work: .* {wrong} "):
        check_levels("work", lambda: kernels.level() == wrong, False)


def test_the_level_in_use_comes_back() -> None:
    best = kernels.level()

    assert at_level("scalar", kernels.level) == "scalar"
    assert kernels.level() == best
