"""OutputConfig: good and bad values of every option, and what the errors say."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from botocore.session import Session

from kinesis_fast.config import OPTIONS, OutputConfig, option_names
from kinesis_fast.errors import ConfigError, KinesisFastError
from kinesis_fast.storage.spool.identity import identity_of

REQUIRED = {"region": "us-west-2", "stream": "logs"}
MIB = 1024 * 1024


def parse(**options: str) -> OutputConfig:
    return OutputConfig.from_options({**REQUIRED, **options})


def error_of(**options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(**options)
    return str(caught.value)


def test_defaults() -> None:
    config = OutputConfig.from_options(REQUIRED)

    assert dataclasses.asdict(config) == {
        "region": "us-west-2",
        "stream": "logs",
        "partition_key": (),
        "data_keys": (),
        "log_key": None,
        "replace_dots": None,
        "append_newline": False,
        "time_key": None,
        "time_key_format": "%Y-%m-%dT%H:%M:%S",
        "time_zone": "local",
        "role_arn": None,
        "external_id": None,
        "sts_endpoint": None,
        "endpoint": None,
        "profile": None,
        "http_request_timeout": 30.0,
        "max_record_size": MIB,
        "max_in_flight": 4,
        "transport": "auto",
        "experimental_concurrency": 0,
        "experimental_concurrency_retries": 4,
        "spool_dir": None,
        "spool_max_bytes": 1_000_000_000,
        "dead_letter_dir": None,
        "dead_letter_max_bytes": 64_000_000,
        "compression": "none",
        "compression_level": None,
        "aggregation": False,
        "simple_aggregation": False,
        "aggregation_max_size": None,
        "aggregation_buckets": 64,
        "auto_retry_requests": True,
    }


def test_the_table_has_a_row_for_each_field() -> None:
    assert option_names() == [field.name for field in dataclasses.fields(OutputConfig)]
    assert [option.name for option in OPTIONS] == option_names()


def test_the_options_that_identify_a_spool() -> None:
    assert {option.name for option in OPTIONS if option.identifies_spool} == {
        *("region", "stream", "endpoint", "profile", "role_arn"),
        *("partition_key", "data_keys", "log_key", "replace_dots", "append_newline"),
        *("time_key", "time_key_format", "time_zone", "max_record_size"),
        *("compression", "aggregation", "simple_aggregation"),
    }


def test_the_identity_of_a_spool_has_no_secrets() -> None:
    config = parse(endpoint="https://user:password@host/path", data_keys="a, b")
    identity = identity_of(config)
    assert identity["endpoint"] == "https://***@host/path"
    assert identity["data_keys"] == "a,b"
    assert identity["log_key"] == ""


def test_texts_about_an_option() -> None:
    for option in OPTIONS:
        assert option.help.endswith("."), option.name
        assert option.summary.endswith("."), option.name
        assert "`" not in option.help, option.name
    summaries = {option.name: option.summary for option in OPTIONS}
    assert summaries["region"] == "The AWS region of the stream."
    assert summaries["append_newline"].endswith("ends with a newline. Default: false.")
    assert summaries["partition_key"].endswith(" Default: random.")
    assert summaries["spool_max_bytes"].endswith(" Default: 1G.")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("10M", "10M"), ("10000K", "10M"), ("1.5G", "1500M"), ("2G", "2G"), ("10000001", "10000001")],
)
def test_sizes_are_shown_short(text: str, shown: str) -> None:
    config = parse(spool_max_bytes=text)
    assert f" spool_max_bytes={shown} " in config.describe()
    assert parse(spool_max_bytes=shown) == config


def test_every_default_text_parses_to_the_default() -> None:
    for option in OPTIONS:
        if option.default_text:
            assert option.parse(option.default_text) == option.default, option.name


def test_a_config_cannot_be_changed() -> None:
    config = OutputConfig.from_options(REQUIRED)
    for name in option_names():
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, name, "x")


GOOD: list[tuple[str, str, Any]] = [
    ("region", "eu-central-1", "eu-central-1"),
    ("region", "us-gov-east-1", "us-gov-east-1"),
    ("region", "fips-us-gov-west-1", "fips-us-gov-west-1"),
    ("region", "us-east-1-fips", "us-east-1-fips"),
    ("region", "xx-newplace-12", "xx-newplace-12"),
    ("stream", "a", "a"),
    ("stream", "My_stream.v1-2", "My_stream.v1-2"),
    ("stream", "x" * 128, "x" * 128),
    (
        "stream",
        "arn:aws:kinesis:us-west-2:123456789012:stream/logs",
        "arn:aws:kinesis:us-west-2:123456789012:stream/logs",
    ),
    ("partition_key", "host", ("host",)),
    ("partition_key", "kubernetes->pod_name", ("kubernetes", "pod_name")),
    ("partition_key", "n->m->pk", ("n", "m", "pk")),
    ("partition_key", "logs", ("logs",)),
    ("partition_key", "log->id", ("log", "id")),
    ("partition_key", "a-b>c", ("a-b>c",)),
    ("partition_key", "a -> b", ("a ", " b")),
    ("data_keys", "log", ("log",)),
    ("data_keys", " a, b ", ("a", "b")),
    ("data_keys", "a,b,a,", ("a", "b")),
    ("data_keys", "with space,ключ", ("with space", "ключ")),
    ("log_key", "log", "log"),
    ("log_key", " log", " log"),
    ("replace_dots", "-", "-"),
    ("replace_dots", " ", " "),
    ("replace_dots", "..", ".."),
    *(("append_newline", text, True) for text in ("true", "True", "ON", "yes", "1")),
    *(("append_newline", text, False) for text in ("false", "FALSE", "off", "No", "0")),
    ("time_key", "@timestamp", "@timestamp"),
    ("time_key_format", "%Y|%L|%f|%z|%Z", "%Y|%L|%f|%z|%Z"),
    ("time_key_format", "no specifier", "no specifier"),
    ("role_arn", "arn:aws:iam::123456789012:role/writer", "arn:aws:iam::123456789012:role/writer"),
    (
        "role_arn",
        "arn:aws-us-gov:iam::123456789012:role/path/to/writer",
        "arn:aws-us-gov:iam::123456789012:role/path/to/writer",
    ),
    ("external_id", "abc:DEF/1=2", "abc:DEF/1=2"),
    ("profile", "my profile", "my profile"),
    ("http_request_timeout", "0", 0.0),
    ("http_request_timeout", "5", 5.0),
    ("http_request_timeout", "2.5", 2.5),
    ("http_request_timeout", "86400", 86400.0),
    ("max_record_size", "1024", 1024),
    ("max_record_size", str(10 * MIB), 10 * MIB),
    ("max_in_flight", "1", 1),
    ("max_in_flight", "32", 32),
    ("transport", "Direct", "direct"),
    ("transport", "botocore", "botocore"),
    ("experimental_concurrency", "0", 0),
    ("experimental_concurrency", "10", 10),
    ("experimental_concurrency_retries", "0", 0),
    ("experimental_concurrency_retries", "100", 100),
    ("spool_dir", "/var/spool/kinesis", "/var/spool/kinesis"),
    ("spool_dir", "/var/spool/kinesis//", "/var/spool/kinesis"),
    ("spool_dir", "/", "/"),
    ("dead_letter_dir", "/var/log/dead letters", "/var/log/dead letters"),
    ("spool_max_bytes", "10000000", 10_000_000),
    ("spool_max_bytes", "10M", 10_000_000),
    ("spool_max_bytes", "512m", 512_000_000),
    ("spool_max_bytes", "20000k", 20_000_000),
    ("spool_max_bytes", "2.5GB", 2_500_000_000),
    ("spool_max_bytes", "1gb", 1_000_000_000),
    ("spool_max_bytes", "1000000G", 10**15),
    ("dead_letter_max_bytes", "1M", 1_000_000),
    ("compression", "none", "none"),
    ("compression", "None", "none"),
    *(("compression", text, text.lower()) for text in ("gzip", "zlib", "ZSTD", "Snappy")),
    ("aggregation", "false", False),
    ("aggregation", "OFF", False),
    ("aggregation", "true", True),
    ("simple_aggregation", "On", True),
    ("aggregation_max_size", "1024", 1024),
    ("aggregation_max_size", str(MIB), MIB),
    *(("aggregation_buckets", str(2**power), 2**power) for power in range(11)),
    ("auto_retry_requests", "true", True),
    ("auto_retry_requests", "off", False),
]

GOOD_ENDPOINTS = [
    ("https://kinesis.us-west-2.amazonaws.com", "https://kinesis.us-west-2.amazonaws.com"),
    ("kinesis.us-west-2.amazonaws.com", "https://kinesis.us-west-2.amazonaws.com"),
    ("localhost:4567", "https://localhost:4567"),
    ("http://127.0.0.1:4567", "http://127.0.0.1:4567"),
    ("HTTP://localhost", "http://localhost"),
    ("http://[::1]:4567", "http://[::1]:4567"),
    ("[::1]", "https://[::1]"),
    ("https://proxy.example/kinesis/", "https://proxy.example/kinesis/"),
    ("https://user:secret@proxy.example", "https://user:secret@proxy.example"),
    ("host.example.", "https://host.example."),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_good_values(name: str, text: str, value: Any) -> None:
    parsed = getattr(parse(**{name: text}), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("name", ["endpoint", "sts_endpoint"])
@pytest.mark.parametrize(("text", "value"), GOOD_ENDPOINTS)
def test_good_endpoints(name: str, text: str, value: str) -> None:
    assert getattr(parse(**{name: text}), name) == value


BAD = [
    ("region", "us west 2", "cannot be the name of a region"),
    ("region", " us-west-2", "cannot be the name of a region"),
    ("region", "us-west-2\n", "cannot be the name of a region"),
    ("region", "-us", "cannot be the name of a region"),
    ("region", "US-WEST-2", "cannot be the name of a region"),
    ("region", "us-west", "cannot be the name of a region"),
    ("region", "uswest2", "cannot be the name of a region"),
    ("region", "aws-global", "cannot be the name of a region"),
    ("region", "us-east-1a", "the name of a zone; its region is us-east-1;"),
    ("region", "us-gov-west-1b", "the name of a zone; its region is us-gov-west-1;"),
    ("region", "us-west-2-lax-1a", "the name of a zone; its region is us-west-2;"),
    ("stream", "/topic", "cannot be the name of a stream"),
    ("region", "üs-west-2", "cannot be the name of a region"),
    ("stream", "my stream", "cannot be the name of a stream"),
    ("stream", "x" * 129, "cannot be the name of a stream"),
    ("stream", "logs\n", "cannot be the name of a stream"),
    ("stream", "strëam", "cannot be the name of a stream"),
    ("stream", "arn:aws:kinesis:us-west-2:12345678901:stream/logs", "not the ARN of a stream"),
    ("stream", "arn:aws:kinesis:us-west-2:123456789012:stream/", "not the ARN of a stream"),
    ("stream", "arn:aws:firehose:us-west-2:123456789012:stream/logs", "not the ARN of a stream"),
    (
        "stream",
        "arn:aws:kinesis:us-west-2:123456789012:stream/logs/consumer/c:1",
        "not the ARN of a stream",
    ),
    ("partition_key", "log", "cannot group records"),
    ("partition_key", "->a", "is empty"),
    ("partition_key", "a->", "is empty"),
    ("partition_key", "a->->b", "is empty"),
    ("partition_key", "->", "is empty"),
    ("partition_key", "->".join(["a"] * 129), "nested deeper than 128"),
    ("data_keys", ",", "contains no key"),
    ("data_keys", "  ", "contains no key"),
    ("log_key", "\ud800", "not valid UTF-8"),
    *(("append_newline", text, "not a boolean") for text in ("y", "2", " true", "enabled", "t")),
    ("time_key_format", "%Y-%Q", "'%Q' at position 4 is unknown"),
    ("time_key_format", "%Y" * 129, "longer than 256"),
    ("role_arn", "writer", "not the ARN of a role"),
    ("role_arn", "arn:aws:iam::123456789012:user/writer", "not the ARN of a role"),
    ("role_arn", "arn:aws:iam::123456789012:role/a b", "not the ARN of a role"),
    ("external_id", "x", "not allowed"),
    ("external_id", "with space", "not allowed"),
    ("external_id", "x" * 1225, "not allowed"),
    *(
        ("http_request_timeout", text, "not a decimal number")
        for text in ("1e3", "٣", "1_000", "nan", "inf", "30s", " 30", ".5", "5.", "+5")
    ),
    *(
        ("http_request_timeout", text, "out of range")
        for text in ("-1", "-0.5", "0.0001", "86401", "9" * 400)
    ),
    *(
        ("max_record_size", text, "not a whole number")
        for text in ("1e6", "1MiB", "1_048_576", "٣", "1048576.0", "0x400", "1 048 576", "nan")
    ),
    *(
        ("max_record_size", text, "out of range")
        for text in ("0", "1023", str(10 * MIB + 1), "-1", "9" * 5000)
    ),
    ("max_in_flight", "0", "out of range"),
    ("max_in_flight", "33", "out of range"),
    ("transport", "udp", "not one of the allowed values"),
    ("experimental_concurrency", "11", "out of range"),
    ("experimental_concurrency", "-1", "out of range"),
    ("experimental_concurrency", "two", "not a whole number"),
    ("experimental_concurrency_retries", "-1", "out of range"),
    ("experimental_concurrency_retries", "1000001", "out of range"),
    ("spool_dir", "spool", "not an absolute path"),
    ("spool_dir", "~/spool", "not an absolute path"),
    ("spool_dir", "/a\0b", "contains a NUL"),
    ("dead_letter_dir", "./dead", "not an absolute path"),
    *(
        ("spool_max_bytes", text, "it is not a size")
        for text in (
            "1T",
            "1 G",
            "1KiB",
            "-1",
            "1e9",
            "٣G",
            "G",
            "B",
            "20000000B",
            "1..5G",
            "1\u212a",
        )
    ),
    *(
        ("spool_max_bytes", text, "out of range")
        for text in ("0", "9999999", "9999k", "1000001G", "9" * 5000 + "G")
    ),
    ("dead_letter_max_bytes", "999k", "out of range"),
    *(
        ("compression", text, "not one of the allowed values")
        for text in ("lz4", "gz", "gzip ", "true", "arrow")
    ),
    ("compression_level", "best", "not a whole number"),
    ("compression_level", "-1", "out of range"),
    ("compression_level", "23", "out of range"),
    ("aggregation", "maybe", "not a boolean"),
    ("simple_aggregation", "kpl", "not a boolean"),
    ("aggregation_max_size", "50K", "not a whole number"),
    ("aggregation_max_size", "1023", "out of range"),
    ("aggregation_max_size", str(10 * MIB + 1), "out of range"),
    *(("aggregation_buckets", text, "not a power of two") for text in ("3", "63", "1000")),
    *(("aggregation_buckets", text, "out of range") for text in ("0", "2048", "-64")),
    ("aggregation_buckets", "2^6", "not a whole number"),
    ("auto_retry_requests", "sometimes", "not a boolean"),
]

BAD_ENDPOINTS = [
    ("ftp://host", "neither http nor https"),
    ("://host", "neither http nor https"),
    ("http://", "has no host"),
    ("https:///path", "has no host"),
    (":4567", "has no host"),
    ("http://user@", "has no host"),
    ("http://host:0", "not a port from 1 to 65535"),
    ("http://host:65536", "not a port from 1 to 65535"),
    ("http://host:", "not a port from 1 to 65535"),
    ("http://host:http", "not a port from 1 to 65535"),
    ("http://host:٣", "not a port from 1 to 65535"),
    ("http://a:1:2", "not a port from 1 to 65535"),
    ("http:/host", "not a port from 1 to 65535"),
    ("http://my host", "is not a host"),
    (" http://host", "neither http nor https"),
    ("http://host\n", "is not a host"),
    ("http://hö.example", "is not a host"),
    ("http://a_b", "'a_b' has an underscore, and botocore connects to no such host; use an alias"),
    ("http://my_host.example:4567/x", "'my_host.example' has an underscore"),
    ("http://a_b c", "is not a host"),
    ("http://a..b", "is not a host"),
    ("http://-a", "is not a host"),
    ("http://[::1", "is not a host"),
    ("http://[localhost]", "is not a host"),
    ("http://[fe80::1%eth0]", "is not a host"),
    ("http://[::1]x:80", "is not a host"),
    ("http://host/?q=1", "query, a fragment or a character"),
    ("http://host/#f", "query, a fragment or a character"),
    ("http://host?q=1", "is not a host"),
    ("http://host/a b", "query, a fragment or a character"),
    ("http://host/a\tb", "query, a fragment or a character"),
]


@pytest.mark.parametrize(("name", "text", "reason"), BAD)
def test_bad_values(name: str, text: str, reason: str) -> None:
    message = error_of(**{name: text})

    allowed = next(option.allowed for option in OPTIONS if option.name == name)
    assert message.startswith(f"option {name} is '")
    assert reason in message
    assert message.endswith(f"; allowed: {allowed}")
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize("name", ["endpoint", "sts_endpoint"])
@pytest.mark.parametrize(("text", "reason"), BAD_ENDPOINTS)
def test_bad_endpoints(name: str, text: str, reason: str) -> None:
    message = error_of(**{name: text})

    assert message.startswith(f"option {name} is '")
    assert reason in message
    assert "allowed: an http:// or https:// URL" in message
    assert message.isprintable()


def test_every_region_of_every_partition_is_known() -> None:
    partitions = Session().get_component("data_loader").load_data("partitions")["partitions"]
    regions = [name for partition in partitions for name in partition["regions"]]
    regions = [name for name in regions if not name.endswith("-global")]
    assert {"us-east-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1"} < {*regions}
    assert [parse(region=name).region for name in regions] == regions


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("region", "ru-central1"),
        ("region", "us-east-1a"),
        ("region", "Local"),
        ("stream", "/ru-central1/b1gx/etn0/logs"),
        ("stream", 'a "quoted" strëam\\ of 1,000 \U0001f600'),
        ("stream", "x" * 1000),
        ("stream", "arn:aws:kinesis:us-west-2:123456789012:stream/logs"),
    ],
)
def test_names_of_compatible_services(name: str, text: str) -> None:
    assert getattr(parse(**{name: text}, endpoint="http://localhost:4567"), name) == text
    assert getattr(parse(**{name: text}, endpoint="localhost"), name) == text


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("region", "us east", "cannot be the name of a region"),
        ("region", "a.b", "cannot be the name of a region"),
        *(("stream", f"a{c}b", "cannot be the name of a str") for c in "\0\t\n\x1f\x7f\x80\x9f"),
        ("stream", "arn:aws:kinesis:us-west-2:1:stream/logs", "is not the ARN of a stream"),
    ],
)
def test_what_no_service_can_have(name: str, text: str, reason: str) -> None:
    message = error_of(**{name: text}, endpoint="http://localhost:4567")
    assert f"it {reason}" in message
    assert "with option endpoint, " in message


def test_an_error_is_a_value_error_of_this_package() -> None:
    with pytest.raises(ValueError, match="out of range") as caught:
        parse(max_record_size="0")
    assert isinstance(caught.value, KinesisFastError)
    assert caught.value.__cause__ is None


def test_an_error_shows_the_value_escaped_and_cut() -> None:
    message = error_of(stream="a\x1b[31m\n" + "b" * 100_000)

    assert "option stream is 'a\\x1b[31m\\nbbb" in message
    assert "bbb...'" in message
    assert len(message) < 400


@pytest.mark.parametrize("missing", ["region", "stream"])
@pytest.mark.parametrize("empty", [True, False])
def test_region_and_stream_are_required(missing: str, empty: bool) -> None:
    options = {**REQUIRED, missing: ""}
    if not empty:
        del options[missing]

    with pytest.raises(ConfigError, match=f"option {missing} is missing; allowed: "):
        OutputConfig.from_options(options)


@pytest.mark.parametrize("name", [name for name in option_names() if name not in REQUIRED])
def test_an_empty_text_counts_as_absent(name: str) -> None:
    assert parse(**{name: ""}) == OutputConfig.from_options(REQUIRED)


def test_names_in_any_case() -> None:
    config = OutputConfig.from_options(
        {"Region": "us-west-2", "STREAM": "logs", "Append_Newline": "on"}
    )
    assert config == parse(append_newline="true")


def test_the_same_option_in_two_cases() -> None:
    with pytest.raises(ConfigError, match="option region is given twice"):
        OutputConfig.from_options({**REQUIRED, "REGION": "us-west-2"})
    assert OutputConfig.from_options({**REQUIRED, "REGION": ""}).region == "us-west-2"


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("regin", "region"),
        ("Partition-Key", "partition_key"),
        ("timekey_format", "time_key_format"),
        ("delivery_stream", "stream"),
        ("concurrency", "experimental_concurrency"),
    ],
)
def test_an_unknown_option_suggests_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OutputConfig.from_options({given: "x"})
    assert str(caught.value) == f"option '{given}' is unknown; did you mean {nearest}?"


def test_an_unknown_option_that_resembles_none_lists_all() -> None:
    message = error_of(**{"zzz\n": ""})
    assert message == f"option 'zzz\\n' is unknown; the options are {', '.join(option_names())}"


@pytest.mark.parametrize("value", [None, True, 5, b"x", ("a",)])
def test_values_must_be_texts(value: object) -> None:
    options: dict[str, Any] = {**REQUIRED, "time_key": value}
    with pytest.raises(ConfigError, match=f"option time_key is of type {type(value).__name__};"):
        OutputConfig.from_options(options)


def test_names_must_be_texts() -> None:
    options: dict[Any, str] = {**REQUIRED, 5: "x"}
    with pytest.raises(ConfigError, match="option '5' is unknown"):
        OutputConfig.from_options(options)


def test_the_region_of_an_arn_must_be_the_region() -> None:
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/logs"
    assert "ARN in option stream says 'eu-west-1'" in error_of(stream=arn)
    assert parse(stream=arn, region="eu-west-1").stream == arn


def test_describe_lists_the_effective_options() -> None:
    assert OutputConfig.from_options(REQUIRED).describe() == (
        "region=us-west-2 stream=logs append_newline=false time_key_format=%Y-%m-%dT%H:%M:%S "
        "time_zone=local http_request_timeout=30 max_record_size=1048576 max_in_flight=4 "
        "transport=auto experimental_concurrency=0 experimental_concurrency_retries=4 "
        "spool_max_bytes=1G dead_letter_max_bytes=64M compression=none aggregation=false "
        "simple_aggregation=false aggregation_buckets=64 auto_retry_requests=true"
    )


def test_describe_writes_values_as_they_are_given() -> None:
    line = parse(
        partition_key="kubernetes->pod_name",
        data_keys="a, b",
        log_key="my key",
        replace_dots="\x1b",
        http_request_timeout="0.25",
    ).describe()

    for part in (
        "partition_key=kubernetes->pod_name",
        "data_keys=a,b",
        'log_key="my key"',
        "replace_dots=\\x1b",
        "http_request_timeout=0.25",
    ):
        assert part in line
    assert line.isprintable()


SECRETS = {
    "external_id": "do-not-show",
    "endpoint": "https://user:do-not-show@proxy.example:8443/path",
    "sts_endpoint": "http://do-not-show@localhost",
}


def test_secrets_are_masked_wherever_a_config_is_shown() -> None:
    config = parse(**SECRETS)

    assert config.external_id == "do-not-show"
    for shown in (config.describe(), repr(config), str(config), f"{config}"):
        assert "do-not-show" not in shown
        assert "external_id=***" in shown
        assert "endpoint=https://***@proxy.example:8443/path" in shown
        assert "sts_endpoint=http://***@localhost" in shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("external_id", "do-not-show "),
        ("endpoint", "https://user:do-not-show@"),
        ("endpoint", "https://user:do-not-show@host:0"),
        ("endpoint", "https://user:tell/do-not-show@host"),
        ("endpoint", "https://user:do-not-show?@host"),
        ("endpoint", "user:do-not-show://x@host"),
        ("sts_endpoint", "ftp://user:do-not-show\n@host"),
    ],
)
def test_secrets_are_masked_in_errors(name: str, text: str) -> None:
    message = error_of(**{name: text})
    assert "do-not-show" not in message
    assert "***" in message


def test_no_warnings_by_default() -> None:
    assert OutputConfig.from_options(REQUIRED).warnings() == []


@pytest.mark.parametrize(
    "options",
    [
        {"log_key": "log", "data_keys": "a,b"},
        {"log_key": "log", "data_keys": "a,b", "time_key": "time"},
        {"log_key": "a.b", "replace_dots": "_"},
        {"log_key": "a.b", "data_keys": "a.b", "replace_dots": "_"},
    ],
)
def test_warning_about_a_log_key_that_no_record_can_have(options: dict[str, str]) -> None:
    (warning,) = parse(**options).warnings()
    assert "every record will be skipped" in warning
    assert f"'{options['log_key']}'" in warning


@pytest.mark.parametrize(
    "options",
    [
        {"log_key": "log"},
        {"log_key": "log", "data_keys": "a, log"},
        {"log_key": "time", "data_keys": "a", "time_key": "time"},
        {"log_key": "a_b", "data_keys": "a.b", "replace_dots": "_"},
        {"log_key": "my_time", "data_keys": "a", "time_key": "my.time", "replace_dots": "_"},
        {"log_key": "a.b"},
        {"log_key": "a..b", "replace_dots": ".."},
    ],
)
def test_no_warning_about_a_log_key_that_a_record_can_have(options: dict[str, str]) -> None:
    assert parse(**options).warnings() == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"time_key_format": "%s"}, "no effect without time_key"),
        ({"time_zone": "utc"}, "time_zone has no effect without time_key"),
        ({"external_id": "abc"}, "no effect without role_arn"),
        ({"experimental_concurrency": "1"}, "lost if the process dies"),
        ({"spool_dir": "/spool"}, "spool_dir has no effect without experimental_concurrency"),
        ({"spool_max_bytes": "2G"}, "spool_max_bytes has no effect without spool_dir"),
        (
            {"dead_letter_max_bytes": "2M"},
            "dead_letter_max_bytes has no effect without dead_letter_dir",
        ),
        ({"partition_key": "a -> b"}, "spaces in the path of partition_key"),
        ({"compression": "gzip"}, "below about 1 KB that saves little"),
        ({"compression": "snappy", "aggregation": "true"}, "compresses each record alone"),
        (
            {"aggregation_max_size": "51200"},
            "aggregation_max_size has no effect without aggregation or simple_aggregation",
        ),
        (
            {"aggregation_buckets": "8", "partition_key": "a"},
            "aggregation_buckets has no effect without aggregation or simple_aggregation",
        ),
        (
            {"aggregation_buckets": "8", "simple_aggregation": "true"},
            "aggregation_buckets has no effect without partition_key",
        ),
        ({"auto_retry_requests": "false"}, "auto_retry_requests false has no effect"),
    ],
)
def test_other_warnings(options: dict[str, str], text: str) -> None:
    (warning,) = parse(**options).warnings()
    assert text in warning


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


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/London", "Asia/Kolkata", "<+00>0<+01>"])
@pytest.mark.parametrize(
    ("layout", "sign"),
    [("%FT%TZ", "Z"), ("%H%%Z ", "Z"), ("%T UTC", "UTC"), ("%FT%T+00:00", "+00:00")],
)
def test_warning_about_local_times_that_claim_to_be_utc(
    set_zone: Callable[[str], None], zone: str, layout: str, sign: str
) -> None:
    set_zone(zone)
    options = {"time_key": "t", "time_key_format": layout}
    (warning,) = parse(**options).warnings()
    assert warning.startswith(f"time_key_format ends in '{sign}', which means UTC")
    assert warning.endswith("set time_zone to utc")
    assert parse(**options, time_zone="UTC").warnings() == []


@pytest.mark.parametrize(
    ("zone", "layout"),
    [
        *[(zone, "%FT%TZ") for zone in ("UTC", "Etc/UTC", "Africa/Abidjan", "<+00>0")],
        *[("Asia/Kolkata", layout) for layout in ("%FT%T%Z", "%FT%T%z", "Z%T", "%s")],
    ],
)
def test_no_warning_about_times_that_are_what_they_say(
    set_zone: Callable[[str], None], zone: str, layout: str
) -> None:
    set_zone(zone)
    assert parse(time_key="t", time_key_format=layout).warnings() == []


@pytest.mark.parametrize("name", ["endpoint", "sts_endpoint"])
@pytest.mark.parametrize(
    "host",
    ["kinesis.example.com", "10.0.0.1", "[fe80::1]", "[::]", "0.0.0.0", "localhost.example.com",
     "127.0.0.1.example.com", "user:password@kinesis.example.com:4567/path", "1270.0.0.1"],
)  # fmt: skip
def test_warning_about_http_to_others(host: str, name: str) -> None:
    (warning,) = parse(**{name: f"HTTP://{host}"}).warnings()
    assert warning.startswith(f"{name} is http without TLS")
    assert "password" not in warning


@pytest.mark.parametrize("name", ["endpoint", "sts_endpoint"])
@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:4567", "http://127.1.2.3", "http://localhost", "http://LOCALHOST.:80/x",
     "http://kinesis.localhost", "http://[::1]:4567", "http://u:p@[::1]", "https://10.0.0.1",
     "kinesis.example.com"],
)  # fmt: skip
def test_no_warning_about_other_endpoints(url: str, name: str) -> None:
    assert parse(**{name: url}).warnings() == []


def test_no_warning_about_what_is_kept_on_disk() -> None:
    spool = {"spool_dir": "/spool", "spool_max_bytes": "2G", "experimental_concurrency": "1"}
    assert parse(**spool, dead_letter_dir="/dead", dead_letter_max_bytes="2M").warnings() == []
