"""The encoder's compiled limits equal those of limits.py, as measured from its output."""

from __future__ import annotations

from chunks import event, output_config
from encoded import drain
from wire import NIL, array, mapping, string

from kinesis_fast import RecordEncoder, limits


def test_records_and_bytes_of_a_request() -> None:
    small = RecordEncoder(output_config()).requests(event({}) * 2000)
    assert next(small).n_records == limits.MAX_RECORDS_PER_REQUEST

    data = event({"a": "x" * (64 * limits.KIB - len('{"a":""}') - limits.RANDOM_KEY_LENGTH)}) * 400
    for option, expected in (
        (limits.DEFAULT_MAX_RECORD_BYTES, limits.MAX_REQUEST_BYTES),
        (limits.DEFAULT_MAX_RECORD_BYTES + 1, limits.MAX_LARGE_REQUEST_BYTES),
    ):
        encoder = RecordEncoder(output_config(max_record_size=str(option)))
        assert next(encoder.requests(data)).n_bytes == expected


def test_bytes_of_a_record() -> None:
    chunk = event({"a": "x" * (limits.MAX_RECORD_BYTES + 1)})
    assert output_config().max_record_size == limits.DEFAULT_MAX_RECORD_BYTES

    for n_bytes in (
        limits.MIN_MAX_RECORD_BYTES,
        limits.DEFAULT_MAX_RECORD_BYTES,
        limits.MAX_RECORD_BYTES,
    ):
        config = output_config(max_record_size=str(n_bytes))
        (entry,) = drain(chunk, config).entries
        assert len(entry.data) + limits.RANDOM_KEY_LENGTH == n_bytes
        assert entry.data.endswith(limits.TRUNCATION_SUFFIX)


def test_partition_keys() -> None:
    units = limits.MAX_PARTITION_KEY_UTF16_UNITS
    with_key = drain(event({"pk": "x" * 1000}), output_config(partition_key="pk"))
    without = drain(event({}), output_config())

    assert len(with_key.entries[0].partition_key) == units
    assert len(without.entries[0].partition_key) == limits.RANDOM_KEY_LENGTH


def test_nesting() -> None:
    def nested(n_levels: int) -> bytes:
        body = mapping([(string(b"a"), b"\x91" * (n_levels - 1) + NIL)])
        return array([b"\x01", body])

    assert drain(nested(limits.MAX_NESTING), output_config()).tally == {"records": 1}
    assert drain(nested(limits.MAX_NESTING + 1), output_config()).tally == {"skipped_too_deep": 1}


def test_the_longest_time_format() -> None:
    n = limits.MAX_TIME_FORMAT_LENGTH
    for layout, text in (
        ("%L" * (n // 2), "000" * (n // 2)),
        ("%s" + "x" * (n - 2), "1" + "x" * (n - 2)),
        ("%99s" * (n // 4), ("1".rjust(99, "0")) * (n // 4)),
    ):
        options = {"time_key": "t", "log_key": "t", "time_key_format": layout}
        (entry,) = drain(event({}, 1), output_config(options)).entries
        assert entry.data.decode().replace(" ", "0") == text
