"""The account of `send`: every record of the input in one row."""

from collections import Counter

from kinesis_fast.cli.account import Account


def account(
    n_bad_lines: int = 0, n_unsent: int = 0, unread_from: int | None = None, **stats: int
) -> Account:
    return Account(Counter(stats), 1_500_000, n_bad_lines, n_unsent, unread_from)


def test_rows_of_nothing_are_left_out() -> None:
    counters = {"in": 12_000, "delivered": 12_000, "requests": 1, "bytes_delivered": 2_000_000}
    assert list(account(**counters).lines()) == [
        "in              12,000   1.5 MB read",
        "delivered       12,000   2.0 MB, 1 request",
        "delivered 12000 of 12000",
    ]
    assert account(**counters).is_complete


def test_every_record_is_in_a_row_and_what_was_given_back_counts_once() -> None:
    counters = {
        **{"in": 90, "returned": 40, "delivered": 30, "dead": 4, "pending": 5, "skipped": 11},
        **{"skipped_not_map": 8, "skipped_no_log_key": 3, "truncated": 1, "requests": 7},
        **{"nan_values": 2},
        **{"retried": 2, "throttles": 1, "bytes_delivered": 999},
    }
    lines = list(account(n_bad_lines=6, n_unsent=7, unread_from=12345, **counters).lines())
    assert lines == [
        "in                  63   1.5 MB read",
        "delivered           30   999 bytes, 7 requests, 2 sent again, 1 throttling response",
        "skipped             11   8 not map, 3 no log key",
        "bad lines            6   not sent",
        "dead                 4   refused by the service, or given up after retries",
        "unknown              5   not acknowledged by the end; they may have arrived",
        "not sent             7   read, but not handed to the service",
        "cut to max_record_size: 1 record",
        "became null, as no finite double holds it: 2 numbers",
        "the input was not read from byte 12,345 on",
        "delivered 30 of 63",
    ]


def test_what_is_in_the_spool_is_said_to_be_kept() -> None:
    counters = Counter({"in": 5, "pending": 5})
    lines = list(Account(counters, 100, 0, 0, None, {}, "/spool").lines())
    assert lines[2] == "spooled              5   kept in /spool; the next start sends them"
    assert not Account(counters, 100, 0, 0, None, {}, "/spool").is_complete


def test_records_of_an_earlier_run_are_told_apart() -> None:
    counters = Counter({"in": 8, "delivered": 8})
    account = Account(counters, 100, 0, 0, None, {}, "/spool", n_earlier=3)
    first, *_ = account.lines()
    assert (
        first
        == "in                   8   100 bytes read, and 3 records of an earlier run in the spool"
    )
    assert account.is_complete


def test_chunks_of_an_earlier_run_that_were_not_read_are_told() -> None:
    account = Account(Counter(), 0, 0, 0, None, {}, "/spool", n_unread_chunks=2)
    kept = "kept in /spool: 2 chunks of an earlier run; the next start sends them"
    assert kept in list(account.lines())
    assert not account.is_complete


def test_what_was_changed_in_lines_is_told_and_no_failure() -> None:
    counters = Counter({"in": 5, "delivered": 5})
    told = Account(counters, 100, 0, 0, None, {"bytes, now U+FFFD": 1200, "others": 0})
    assert "bytes, now U+FFFD: 1,200" in list(told.lines())
    assert not any("others" in line for line in told.lines())
    assert told.is_complete


def test_records_that_the_options_leave_out_are_no_failure() -> None:
    assert account(skipped=3, skipped_no_log_key=2, skipped_not_map=1).is_complete
    assert not account(skipped=1, skipped_malformed=1).is_complete
    assert not account(dead=1).is_complete
    assert not account(pending=1).is_complete
    assert not account(n_bad_lines=1).is_complete
    assert not account(n_unsent=1).is_complete
    assert not account(unread_from=0).is_complete
