"""Options that are allowed and that the operator is warned about."""

import pytest
from parsed_options import REQUIRED, parse
from zones import SetZone

from kinesis_fast.config import OutputConfig


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
        ({"metrics_listen": "0.0.0.0:9402"}, "metrics_listen is open to other hosts"),
        ({"metrics_listen": "[::]:9402"}, "metrics_listen is open to other hosts"),
        ({"metrics_listen": "10.0.0.1:9402"}, "metrics_listen is open to other hosts"),
        ({"auto_retry_requests": "false"}, "auto_retry_requests false has no effect"),
    ],
)
def test_other_warnings(options: dict[str, str], text: str) -> None:
    (warning,) = parse(**options).warnings()
    assert text in warning


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/London", "Asia/Kolkata", "<+00>0<+01>"])
@pytest.mark.parametrize(
    ("layout", "sign"),
    [("%FT%TZ", "Z"), ("%H%%Z ", "Z"), ("%T UTC", "UTC"), ("%FT%T+00:00", "+00:00")],
)
def test_warning_about_local_times_that_claim_to_be_utc(
    set_zone: SetZone, zone: str, layout: str, sign: str
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
    set_zone: SetZone, zone: str, layout: str
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


@pytest.mark.parametrize("address", ["9402", "127.0.0.1:9402", "127.9.9.9:1", "[::1]:9402"])
def test_no_warning_about_metrics_on_loopback(address: str) -> None:
    assert parse(metrics_listen=address).warnings() == []
