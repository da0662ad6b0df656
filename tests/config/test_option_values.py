"""Good and bad values of every option, and what the errors say."""

from typing import Any

import pytest
from botocore.session import Session
from parsed_options import error_of, parse

from kinesis_fast.config import OPTIONS

MIB = 1024 * 1024
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
    ("metrics_listen", "9402", ("127.0.0.1", 9402)),
    ("metrics_listen", "localhost:9402", ("127.0.0.1", 9402)),
    ("metrics_listen", "0.0.0.0:1", ("0.0.0.0", 1)),
    ("metrics_listen", "[0:0::1]:65535", ("::1", 65535)),
    ("metrics_file", "/var/lib/node/kinesis.prom", "/var/lib/node/kinesis.prom"),
    ("stats_interval", "60", 60),
    ("stats_interval", "0", 0),
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
    *(
        ("metrics_listen", text, "not an IP address")
        for text in (
            "host:9402",
            "*:9402",
            ":9402",
            "::1:9402",
            "[::1:9402",
            "[127.0.0.1]:1",
            "a:b:1",
        )
    ),
    *(
        ("metrics_listen", text, "not a port from 1 to 65535")
        for text in ("0", "65536", "127.0.0.1:", "9402/metrics", "127.0.0.1", "-1", "٣", "9 402")
    ),
    ("metrics_file", "metrics.prom", "not an absolute path"),
    ("metrics_file", "/var/metrics/", "the path of a directory"),
    ("metrics_file", "/a\0b", "contains a NUL"),
    ("stats_interval", "-1", "out of range"),
    ("stats_interval", "86401", "out of range"),
    ("stats_interval", "1m", "not a whole number"),
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


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_good_values(name: str, text: str, value: Any) -> None:
    parsed = getattr(parse(**{name: text}), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("name", ["endpoint", "sts_endpoint"])
@pytest.mark.parametrize(("text", "value"), GOOD_ENDPOINTS)
def test_good_endpoints(name: str, text: str, value: str) -> None:
    assert getattr(parse(**{name: text}), name) == value


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


def test_the_region_of_an_arn_must_be_the_region() -> None:
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/logs"
    assert "ARN in option stream says 'eu-west-1'" in error_of(stream=arn)
    assert parse(stream=arn, region="eu-west-1").stream == arn
