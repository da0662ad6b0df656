"""The counters of an output: each change keeps the balance."""

from collections.abc import Callable
from typing import Any

import pytest

from kinesis_fast._core.tally import Tally
from kinesis_fast.stats import COUNTERS, SKIP_REASONS, ChunkAccount, Counters, Stats

PLAIN = Tally(*[5, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0])
SKIPPED = Tally(*[5, 1, 2, 3, 4, 1, 99, 6, 7, 8, 9, 10, 11, 12])
SETTLED = ("delivered", "skipped", "dead", "pending", "returned")


def changed(stats: Stats) -> dict[str, int]:
    """Return the counters that are not 0, and assert that the account is balanced."""
    plain: dict[str, int] = stats
    assert plain["in"] == sum(plain[name] for name in SETTLED)
    assert plain["skipped"] == sum(plain[name] for name in SKIP_REASONS)
    return {name: value for name, value in plain.items() if value}


@pytest.fixture
def counters() -> Counters:
    return Counters()


def taken_over(counters: Counters, n_records: int) -> ChunkAccount:
    account = ChunkAccount(counters)
    account.taken_over(n_records)
    return account


def test_all_counters_start_at_zero(counters: Counters) -> None:
    assert counters.snapshot() == dict.fromkeys(COUNTERS, 0)
    assert len(set(COUNTERS)) == len(COUNTERS) == 27


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: a.delivered(2, 30), {"pending": 1, "delivered": 2, "bytes_delivered": 30}),
        (lambda a: a.dead(1), {"pending": 2, "dead": 1}),
        (lambda a: a.close(), {"returned": 3}),
        (lambda a: a.close("dead"), {"dead": 3}),
        (lambda a: a.throttled(), {"pending": 3, "throttles": 1}),
        (lambda a: a.resumed(4), {"pending": 3, "resumed": 4}),
    ],
)
def test_each_change_keeps_the_balance(
    counters: Counters, change: Callable[[ChunkAccount], None], expected: dict[str, int]
) -> None:
    change(taken_over(counters, 3))
    assert changed(counters.snapshot()) == {"in": 3, **expected}


def test_bytes_of_chunks(counters: Counters) -> None:
    counters.chunk(50)
    assert changed(counters.snapshot()) == {"bytes_in": 50}


def test_what_the_encoder_found(counters: Counters) -> None:
    account = ChunkAccount(counters)
    account.encoded(PLAIN.records)
    assert changed(counters.snapshot()) == {"in": 5, "pending": 5}
    account.skipped(SKIPPED)
    reasons: tuple[str, ...] = SKIP_REASONS
    found: dict[str, int] = {
        **{"in": 21, "pending": 10, "skipped": 11},
        **dict(zip(reasons, (1, 2, 3, 4, 1), strict=True)),
        **{"group_markers": 6, "truncated": 7, "bad_times": 8, "nan_values": 9},
        **{"random_keys": 10, "no_data_keys": 11},
    }
    assert changed(counters.snapshot()) == found
    assert (account.n_in, account.n_pending) == (21, 10)


def test_the_records_of_a_chunk_that_was_taken_over_count_once(counters: Counters) -> None:
    account = taken_over(counters, 5 + 5 + 11)
    account.encoded(PLAIN.records)
    account.skipped(SKIPPED)
    after = changed(counters.snapshot())
    assert (after["in"], after["pending"], after["skipped"]) == (21, 10, 11)


def test_changes_that_grow_while_they_are_read(counters: Counters) -> None:
    """They have a fixed place on the stack, whatever the numbers run when they are read."""

    class Number:
        def __index__(self) -> int:
            names.append(names.pop(0))
            del changes[names[-1]]
            changes[names[-1]] = self
            return 1

    names = list(COUNTERS)
    changes: dict[str, Any] = dict.fromkeys(names, Number())
    with pytest.raises((ValueError, RuntimeError)):
        counters.add(changes)
    assert changed(counters.snapshot()) == {}


def test_attempts(counters: Counters) -> None:
    account = ChunkAccount(counters)
    account.attempted(0)
    account.attempted(7)
    assert changed(counters.snapshot()) == {"requests": 2, "retried": 7}
    account.not_attempted(7)
    assert changed(counters.snapshot()) == {"requests": 1}


def test_what_an_exception_kept_from_being_counted(counters: Counters) -> None:
    account = ChunkAccount(counters)
    account.encoded(10)
    account.delivered(4, 40)
    account.correct(n_left=90, n_brought=100)  # 10 are settled, 4 of them are counted
    assert changed(counters.snapshot()) == {
        **{"in": 100, "pending": 90, "delivered": 10, "bytes_delivered": 40},
    }
    account.close()
    account.close("dead")
    assert counters.snapshot()["returned"] == 90
    assert counters.snapshot()["dead"] == 0


def test_two_chunks_have_their_own_shares(counters: Counters) -> None:
    first, second = taken_over(counters, 3), taken_over(counters, 5)
    first.close()
    assert (first.n_pending, second.n_pending) == (0, 5)
    assert changed(counters.snapshot()) == {"in": 8, "pending": 5, "returned": 3}


def test_a_snapshot_stays_as_it_is(counters: Counters) -> None:
    before = counters.snapshot()
    taken_over(counters, 1)
    assert before["in"] == 0
    assert isinstance(before, Stats)
    assert repr(before).startswith("{'in': 0, 'delivered': 0,")
