"""The counters of an output: each change keeps the balance."""

from collections.abc import Callable

import pytest

from kinesis_fast._core.tally import Tally
from kinesis_fast.stats import COUNTERS, SKIP_REASONS, Counters, Stats

PLAIN = Tally(*[5, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0])
SKIPPED = Tally(*[5, 1, 2, 3, 4, 1, 99, 6, 7, 8, 9, 10, 11])
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


def test_all_counters_start_at_zero(counters: Counters) -> None:
    assert counters.snapshot() == dict.fromkeys(COUNTERS, 0)
    assert len(set(COUNTERS)) == len(COUNTERS) == 22


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.delivered(2, 30), {"pending": 1, "delivered": 2, "bytes_delivered": 30}),
        (lambda c: c.dead(1), {"pending": 2, "dead": 1}),
        (lambda c: c.returned(3), {"returned": 3}),
        (lambda c: c.returned_unread(4), {"in": 7, "pending": 3, "returned": 4}),
        (lambda c: c.throttled(), {"pending": 3, "throttles": 1}),
        (lambda c: c.chunk(50), {"pending": 3, "bytes_in": 50}),
    ],
)
def test_each_change_keeps_the_balance(
    counters: Counters, change: Callable[[Counters], None], expected: dict[str, int]
) -> None:
    counters.taken_over(3)
    change(counters)
    assert changed(counters.snapshot()) == {"in": 3, **expected}


def test_what_the_encoder_found(counters: Counters) -> None:
    counters.encoded(PLAIN, counted=False)
    assert changed(counters.snapshot()) == {"in": 5, "pending": 5}
    counters.encoded(SKIPPED, counted=False)
    reasons: tuple[str, ...] = SKIP_REASONS
    found: dict[str, int] = {
        **{"in": 21, "pending": 10, "skipped": 11},
        **dict(zip(reasons, (1, 2, 3, 4, 1), strict=True)),
        **{"group_markers": 6, "truncated": 7, "bad_times": 8, "nan_values": 9},
        **{"random_keys": 10, "resumed": 11},
    }
    assert changed(counters.snapshot()) == found
    counters.taken_over(5 + 16)
    counters.encoded(PLAIN, counted=True)
    counters.encoded(SKIPPED, counted=True)
    after = changed(counters.snapshot())
    assert (after["in"], after["pending"], after["skipped"]) == (42, 20, 22)


def test_attempts(counters: Counters) -> None:
    counters.attempt(0)
    counters.attempt(7)
    assert changed(counters.snapshot()) == {"requests": 2, "retried": 7}
    counters.attempt_not_made(7)
    assert changed(counters.snapshot()) == {"requests": 1}


def test_a_snapshot_stays_as_it_is(counters: Counters) -> None:
    before = counters.snapshot()
    counters.taken_over(1)
    assert before["in"] == 0
    assert isinstance(before, Stats)
    assert repr(before).startswith("{'in': 0, 'delivered': 0,")
