"""OutputConfig: defaults, names, texts, secrets; what the errors about names say."""

import dataclasses
from typing import Any

import pytest
from parsed_options import REQUIRED, error_of, parse

from kinesis_fast.config import OPTIONS, OutputConfig, option_names
from kinesis_fast.errors import ConfigError, KinesisFastError
from kinesis_fast.storage.spool.identity import identity_of

MIB = 1024 * 1024


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
        "protocol": "json",
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
        "metrics_listen": None,
        "metrics_file": None,
        "stats_interval": None,
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


def test_describe_lists_the_effective_options() -> None:
    assert OutputConfig.from_options(REQUIRED).describe() == (
        "region=us-west-2 stream=logs append_newline=false time_key_format=%Y-%m-%dT%H:%M:%S "
        "time_zone=local http_request_timeout=30 max_record_size=1048576 max_in_flight=4 "
        "transport=auto protocol=json experimental_concurrency=0 "
        "experimental_concurrency_retries=4 "
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


@pytest.mark.parametrize("address", ["127.0.0.1:9402", "[::1]:9402", "0.0.0.0:80"])
def test_the_address_of_metrics_is_shown_as_it_is_given(address: str) -> None:
    config = parse(metrics_listen=address)
    assert f" metrics_listen={address} " in config.describe()
    assert (
        parse(metrics_listen="9402").describe() == parse(metrics_listen="127.0.0.1:9402").describe()
    )
