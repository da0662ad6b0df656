"""The fuzz targets accept correct results and reject wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import answer_target
import cbor_target
import encode_target
import http_target
import pytest
from encode_checks import check_counts, check_entries, check_skipped, check_tally
from encoded import Entry
from exact_memory import exact
from invariants import Limits, check_batches
from mutations import CHANGES, MAX_BYTES, mutated
from oracle import Outcome, outcomes
from targets import TARGETS

from kinesis_fast._core import kernels
from kinesis_fast.delivery.retry import SETTLED, Verdict
from kinesis_fast.delivery.retry import Outcome as Answered
from kinesis_fast.transport import Response

FIRST = (0,) * (encode_target.N_HEAD - 1)  # the selection for each option
CHUNK = b"\x92\x01\x81\xa1a\x01" * 3 + b"\x92\x02\x07" + b"\x92"


@pytest.fixture(autouse=True)
def level_in_use() -> Iterator[None]:
    """Restore the kernel level, which the target changes for the whole process."""
    level = kernels.level()
    yield
    kernels.use_level(level)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_and_some_mutations_pass(name: str) -> None:
    target = TARGETS[name]
    pool = list(target.seeds())
    rng = Random(0)
    for data in (*pool, *(mutated(rng, pool) for _ in range(200)), b""):
        target.run(data)


def test_mutations_are_the_same_in_each_run() -> None:
    pool = list(TARGETS["answer"].seeds())
    first, second = ([mutated(rng, pool) for _ in range(500)] for rng in (Random(7), Random(7)))
    assert first == second
    assert len(set(first)) > 400
    assert max(map(len, first)) <= MAX_BYTES


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_changes_something_and_works_on_empty_input(
    change: Callable[..., bytes],
) -> None:
    rng = Random(3)
    for data in (b"", b"\x92\x01\x80"):
        assert {change(rng, data, [data, CHUNK]) for _ in range(50)} - {data} or data == b""


# --- wrong results are noticed -------------------------------------------------------------------


def encoded() -> tuple[list[Entry], list[Outcome]]:
    setup = encode_target.setup_of(FIRST)
    with exact(CHUNK) as view:
        entries = encode_target.drained(setup.requests(view), setup.limits)
    return entries, outcomes(CHUNK, setup.config)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entries: entries[1:],
        lambda entries: [*entries, entries[-1]],
        lambda entries: entries[::-1],
        lambda entries: [entries[0]._replace(data=b'{"a":2}'), *entries[1:]],
        lambda entries: [entries[0]._replace(partition_key="short"), *entries[1:]],
    ],
)
def test_wrong_records_are_noticed(spoil: Callable[[list[Entry]], Sequence[Entry]]) -> None:
    entries, events = encoded()
    config = encode_target.setup_of(FIRST).config
    check_entries(entries, events, config)
    with pytest.raises(AssertionError):
        check_entries(spoil(entries), events, config)


@pytest.mark.parametrize(
    "wrong", [{"records": 2}, {"skipped_not_map": 0}, {"malformed_at": 3}, {"resumed": 1}]
)
def test_wrong_counters_are_noticed(wrong: dict[str, int]) -> None:
    setup = encode_target.setup_of(FIRST)
    with exact(CHUNK) as view:
        stream = setup.requests(view)
        list(stream)
        tally, skipped = stream.take_tally(), stream.take_skipped()
        events = outcomes(CHUNK, setup.config)
        check_tally(tally, events, events, 0)
        check_skipped(skipped, CHUNK, events)
        check_counts(5, setup.requests(view), tally)
        with pytest.raises(AssertionError):
            check_tally(tally._replace(**wrong), events, events, 0)
        with pytest.raises(AssertionError):
            check_skipped(skipped[1:], CHUNK, events)
        with pytest.raises(AssertionError):
            check_counts(4, setup.requests(view), tally)


def test_a_request_that_was_closed_too_early_is_noticed() -> None:
    first, second, *_ = encoded()[0]
    check_batches([[first, second]], Limits(1024, 1024))
    check_batches([[first], [second]], Limits(1024, 20))
    with pytest.raises(AssertionError):
        check_batches([[first], [second]], Limits(1024, 1024))


@pytest.mark.parametrize(
    "verdict", [Verdict(Answered.PARTIAL, [1]), Verdict(Answered.RETRY_ALL, reason="no"), SETTLED]
)
def test_a_wrong_verdict_is_noticed(verdict: Verdict) -> None:
    body = b'{"FailedRecordCount":1,"Records":[{"ErrorCode":"x"},{"SequenceNumber":"1"}]}'
    with pytest.raises(AssertionError):
        answer_target.check(verdict, 200, body, 2)


@pytest.mark.parametrize(
    "verdict", [Verdict(Answered.PARTIAL, [1]), Verdict(Answered.RETRY_ALL, reason="no"), SETTLED]
)
def test_a_wrong_verdict_about_cbor_is_noticed(verdict: Verdict) -> None:
    body = b"\xa1gRecords\x82\xa1iErrorCodeax\xa1nSequenceNumbera1"
    with pytest.raises(AssertionError):
        cbor_target.check(verdict, Response(200, cbor_target.HEADERS, body), 2)


def test_a_response_that_depends_on_its_pieces_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = http_target.read

    def short(stream: bytes, size: int) -> Any:
        ending = read(stream, size)
        return ending if size > 20 else http_target.Ending(None, "broken")

    http_target.run(next(http_target.seeds()))
    monkeypatch.setattr(http_target, "read", short)
    with pytest.raises(AssertionError):
        http_target.run(next(http_target.seeds()))
