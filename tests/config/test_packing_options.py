"""Options of aggregation and compression: levels, sizes, and what goes together."""

from collections.abc import Sequence

import pytest
from parsed_options import error_of, parse


@pytest.mark.parametrize(
    "options",
    [
        {"simple_aggregation": "true"},
        {"simple_aggregation": "true", "compression": "zstd", "append_newline": "true"},
        {"aggregation": "true", "partition_key": "a", "aggregation_buckets": "256"},
        {"aggregation": "true", "aggregation_max_size": "2048"},
        {"auto_retry_requests": "true", "compression": "none"},
    ],
)
def test_no_warning_about_what_saves(options: dict[str, str]) -> None:
    assert parse(**options).warnings() == []


@pytest.mark.parametrize(
    ("codec", "alone", "joined"),
    [("none", None, None), ("gzip", 6, 3), ("zlib", 6, 3), ("zstd", 3, 1), ("snappy", None, None)],
)
def test_the_default_level_depends_on_what_is_compressed(
    codec: str, alone: int | None, joined: int | None
) -> None:
    assert parse(compression=codec).compression_level == alone
    assert parse(compression=codec, aggregation="true").compression_level == alone
    assert parse(compression=codec, simple_aggregation="true").compression_level == joined
    if alone is not None:
        assert f" compression_level={alone} " in parse(compression=codec).describe()


@pytest.mark.parametrize(
    ("codec", "levels"),
    [
        *[(codec, range(10)) for codec in ("gzip", "zlib")],
        ("zstd", range(1, 23)),
        *[(codec, ()) for codec in ("none", "snappy")],
    ],
)
def test_each_codec_has_its_levels(codec: str, levels: Sequence[int]) -> None:
    for level in range(23):
        options = {"compression": codec, "compression_level": str(level)}
        if level in levels:
            assert parse(**options).compression_level == level
            continue
        allowed = f"{levels[0]} to {levels[-1]}" if levels else "no level"
        assert error_of(**options) == (
            f"option compression_level is '{level}', but compression is {codec}; "
            f"allowed with it: {allowed}"
        )


def test_only_one_aggregation() -> None:
    message = error_of(aggregation="true", simple_aggregation="true")
    assert message == (
        "options aggregation and simple_aggregation are both true; allowed: one of them"
    )


def test_the_size_of_an_aggregate_is_at_most_that_of_a_record() -> None:
    assert parse(aggregation="true").aggregation_max_size == 51_200
    assert parse(simple_aggregation="true").aggregation_max_size == 262_144
    small = parse(simple_aggregation="true", max_record_size="2048")
    assert small.aggregation_max_size == 2048
    large = {"aggregation_max_size": "2000000", "aggregation": "true"}
    assert error_of(**large).startswith(
        "option aggregation_max_size is '2000000', but max_record_size is 1048576; allowed: "
    )
    assert parse(**large, max_record_size="2000000").aggregation_max_size == 2_000_000
